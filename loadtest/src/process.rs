//! The processes that are measured: starting them, their address, memory and processor time, ending them.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a process may take to say where it listens.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long it may take to end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    /// The moment of the spawn.
    pub spawned: Instant,
    /// From the spawn to the line that names the address.
    pub started_in: Duration,
}

impl Process {
    /// Starts the server under test with its data, and its log file, in `dir`.
    pub fn server(binary: &Path, dir: &Path, stderr: Option<&Path>) -> Result<Self> {
        let database = format!("sqlite:{}", dir.join("engagement.db").display());
        Self::server_on(&database, &["serve"], binary, dir, stderr)
    }

    /// Starts the server under test on this database, with these arguments, and its log file in `dir`.
    pub fn server_on(
        database: &str,
        arguments: &[&str],
        binary: &Path,
        dir: &Path,
        stderr: Option<&Path>,
    ) -> Result<Self> {
        Self::served(database, arguments, &[], binary, dir, stderr)
    }

    /// Starts the server under test with its data in `dir`, in this environment.
    pub fn server_with(
        environment: &[(&str, OsString)],
        binary: &Path,
        dir: &Path,
        stderr: Option<&Path>,
    ) -> Result<Self> {
        let database = format!("sqlite:{}", dir.join("engagement.db").display());
        Self::served(&database, &["serve"], environment, binary, dir, stderr)
    }

    /// All of these.
    pub fn served(
        database: &str,
        arguments: &[&str],
        environment: &[(&str, OsString)],
        binary: &Path,
        dir: &Path,
        stderr: Option<&Path>,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("become").arg(binary); // the same process, once it is sure to end with this one
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ENGAGEMENT_") {
                command.env_remove(name); // the machine's settings are no part of the measurement
            }
        }
        command
            .args(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .env("ENGAGEMENT_DATABASE_URL", database)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(dir);
        let errors = match stderr {
            Some(path) => File::options().create(true).append(true).open(path)?.into(),
            None => Stdio::null(),
        };
        Self::start(command, errors)
            .with_context(|| format!("{} did not start (see --stderr)", binary.display()))
    }

    /// Starts this program as the reference server, answering with the samples in `samples`.
    pub fn reference(samples: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("reference").arg("--samples").arg(samples);
        Self::start(command, Stdio::inherit()).context("the reference did not start")
    }

    /// Starts this program as the fake upstream.
    pub fn upstream() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("upstream");
        Self::start(command, Stdio::inherit()).context("the upstream did not start")
    }

    fn start(mut command: Command, stderr: Stdio) -> Result<Self> {
        let spawned = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (sender, receiver) = mpsc::channel();
        // Reads on to the end, so that the server never blocks on a full pipe.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listening on http://") {
                    sender.send((address.trim().to_owned(), spawned.elapsed())).ok();
                }
            }
        });
        let Ok((address, started_in)) = receiver.recv_timeout(START_TIMEOUT) else {
            child.kill().ok();
            let status = child.wait()?;
            bail!("no line `listening on http://…` on stdout; {status}");
        };
        let addr = address
            .trim_end_matches('/')
            .parse()
            .with_context(|| format!("address `{address}`"))?;
        Ok(Self {
            child,
            addr,
            spawned,
            started_in,
        })
    }

    /// A figure of `/proc/<pid>/status` that is given in kB, in bytes.
    pub fn memory(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib: u64 = line
            .and_then(|rest| rest.split_whitespace().next())
            .context("no such field")?
            .parse()?;
        Ok(kib * 1024)
    }

    /// Processor time of all its threads so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }

    /// SIGTERM, then waits; says how long that took.
    pub fn stop(mut self) -> Result<(ExitStatus, Duration)> {
        let begin = Instant::now();
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        while begin.elapsed() < STOP_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, begin.elapsed()));
            }
            thread::sleep(Duration::from_millis(2));
        }
        bail!("still running {STOP_TIMEOUT:?} after SIGTERM");
    }

    /// SIGKILL, then waits.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sees to it that this process does not outlive the one that started it, however that one ends.
pub fn end_with_parent() -> Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Turns this process into another program that ends with the one that started it; returns only when it cannot.
pub fn turn_into(program: &Path, arguments: &[OsString]) -> Result<()> {
    end_with_parent()?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// Processor time of this program so far.
pub fn own_cpu() -> Duration {
    cpu_of("self")
}

fn cpu_of(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold spaces; user and system time are the 12th and 13th field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// A directory that is removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it inside `base`, which should be on a real disk: a commit costs nothing in memory.
    pub fn new(base: &Path, name: &str) -> Result<Self> {
        let path = base.join(format!("{name}-{}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path.canonicalize()?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
