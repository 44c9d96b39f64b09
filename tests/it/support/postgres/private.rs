//! A server of one's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use super::install::{Install, free_port};
use super::{Address, Cluster, Watchdog, connect};
use crate::support::{SOON, eventually};

/// Whether committed data outlives the machine. It outlives the server's processes either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// As in production.
    Durable,
    /// Without a single fsync.
    Fast,
}

/// A server that nobody else uses, in a folder of its own, which goes away with this value or with the process.
pub(crate) struct PrivateCluster {
    cluster: Cluster,
    install: Install,
    durability: Durability,
    folder: PathBuf,
    port: u16,
    postmaster: Mutex<Option<Child>>,
    _watchdog: Watchdog,
}

impl Deref for PrivateCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl PrivateCluster {
    /// A server that is ready; `None` where PostgreSQL is not installed.
    pub(super) async fn start(durability: Durability) -> Option<Self> {
        let cluster = Self::in_new_folder(Install::find()?, durability);
        cluster.initialize().await;
        cluster.start_again().await;
        Some(cluster)
    }

    /// A copy that follows this server and can only be read: a streaming replica, which does not lag by itself.
    pub(crate) async fn standby(&self) -> Self {
        let standby = Self::in_new_folder(self.install.clone(), self.durability);
        let copy = standby
            .install
            .command("pg_basebackup", &standby.folder)
            .arg("-h")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string(), "-U", "postgres", "--no-password"])
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .spawn();
        let mut copy = copy.expect("pg_basebackup, which comes with PostgreSQL's server or its client");
        let status = ended("pg_basebackup ends", &mut copy).await;
        assert!(status, "pg_basebackup failed:\n{}", standby.log());
        standby.start_again().await;
        standby
    }

    fn in_new_folder(install: Install, durability: Durability) -> Self {
        let folder = install.new_folder();
        let watchdog = Watchdog::over(&folder);
        let port = free_port();
        Self {
            cluster: Cluster {
                address: Address::of_socket(&folder, port),
                tcp: Some((Ipv4Addr::LOCALHOST, port).into()),
            },
            install,
            durability,
            folder,
            port,
            postmaster: Mutex::new(None),
            _watchdog: watchdog,
        }
    }

    async fn initialize(&self) {
        let initdb = self
            .install
            .command("initdb", &self.folder)
            .args(["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"])
            .args(["--no-sync", "--no-instructions"])
            .spawn();
        let mut initdb = initdb.expect("initdb starts");
        let status = ended("initdb ends", &mut initdb).await;
        assert!(status, "initdb failed:\n{}", self.log());
    }

    fn postgres(&self) -> Command {
        let mut command = self.install.command("postgres", &self.folder);
        command
            .arg("-k")
            .arg(&self.folder)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-c", "max_connections=1000", "-c", "log_line_prefix=%m [%p] %d "])
            // In the folder, so that a server that was killed leaves none of it elsewhere.
            .args(["-c", "dynamic_shared_memory_type=mmap"]);
        if self.durability == Durability::Fast {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        command
    }

    /// Starts it after a stop or a kill, and waits until it is ready.
    pub(crate) async fn start_again(&self) {
        eventually("PostgreSQL starts", 6 * SOON, async || {
            if !self.is_running() {
                // After a kill this fails until the last orphan has let go of the shared memory.
                *self.postmaster() = Some(self.postgres().spawn().expect("postgres starts"));
            }
            self.accepts().await
        })
        .await;
    }

    /// Waits until it accepts connections, as after a crash.
    pub(crate) async fn ready(&self) {
        eventually("PostgreSQL is ready", 6 * SOON, async || self.accepts().await).await;
    }

    async fn accepts(&self) -> Option<()> {
        let client = connect(self.cluster.address.url()).await.ok()?;
        client.batch_execute("SELECT 1").await.ok()
    }

    /// Lets a role in by TCP only with its password, from a restart on. Everybody else is trusted.
    pub(crate) async fn ask_for_a_password(&self, role: &str) {
        let path = self.folder.join("data/pg_hba.conf");
        let others = fs::read_to_string(&path).expect("who is let in");
        let line = format!("host all {role} 127.0.0.1/32 scram-sha-256\n");
        fs::write(&path, line + &others).expect("who is let in");
        self.restart().await;
    }

    /// Stops it as an administrator does: transactions are rolled back and connections end ("fast").
    pub(crate) async fn stop(&self) {
        self.resume();
        self.end(Signal::INT).await;
    }

    pub(crate) async fn restart(&self) {
        self.stop().await;
        self.start_again().await;
    }

    /// SIGKILL for the postmaster alone. The others notice that by and by; [`Self::start_again`] waits for it.
    pub(crate) async fn kill_postmaster(&self) {
        let orphans = self.pid().map(children).unwrap_or_default();
        self.end(Signal::KILL).await;
        // A frozen one would never notice.
        for orphan in orphans {
            signal(orphan, Signal::CONT);
        }
    }

    /// SIGKILL for every process that serves a client: the server loses all connections and recovers from the crash.
    /// That has begun when this returns; [`Self::ready`] waits for its end.
    pub(crate) async fn kill_backends(&self) {
        self.kill_some_backends("true").await;
    }

    /// The same for a single one, which serves this database.
    pub(crate) async fn kill_a_backend(&self, database: &str) {
        let condition = format!("datname = '{database}' ORDER BY random() LIMIT 1");
        self.kill_some_backends(&condition).await;
    }

    async fn kill_some_backends(&self, condition: &str) {
        const NOTICED: &str = "all server processes terminated; reinitializing";
        let noticed_before = self.log().matches(NOTICED).count();
        let client = self.cluster.client().await;
        let backends =
            format!("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND {condition}");
        let backends = client.query(&backends, &[]).await.expect("the backends");
        for backend in backends {
            let pid = Pid::from_raw(backend.get(0)).expect("a process id");
            signal(pid, Signal::KILL);
        }
        eventually("the server notices the crash", SOON, async || {
            (self.log().matches(NOTICED).count() > noticed_before).then_some(())
        })
        .await;
    }

    /// Freezes all its processes: connections stay open, and nothing is answered.
    pub(crate) fn pause(&self) {
        let postmaster = self.pid().expect("a server that runs");
        let mut frozen = Vec::new();
        // The postmaster first, and again until there is nobody new: it may be about to fork.
        while let Some(next) = std::iter::once(postmaster)
            .chain(children(postmaster))
            .find(|pid| !frozen.contains(pid))
        {
            signal(next, Signal::STOP);
            frozen.push(next);
        }
    }

    /// Thaws what [`Self::pause`] has frozen.
    pub(crate) fn resume(&self) {
        if let Some(postmaster) = self.pid() {
            for child in children(postmaster) {
                signal(child, Signal::CONT);
            }
            signal(postmaster, Signal::CONT);
        }
    }

    /// The folder of everything: the data, the log, the socket.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn socket_dir(&self) -> &Path {
        &self.folder
    }

    /// A new file beside the data, as secret as the server wants its key to be.
    pub(crate) fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, contents).expect("a file for the server");
        self.install.hand_over(&path, 0o600);
        path
    }

    /// Changes a setting of the server, which it heeds from now on.
    pub(crate) async fn set(&self, setting: &str, value: &str) {
        let client = self.cluster.client().await;
        let set = format!("ALTER SYSTEM SET {setting} = '{value}'");
        client.batch_execute(&set).await.expect("a setting");
        let reload = client.batch_execute("SELECT pg_reload_conf()").await;
        reload.expect("a server that reads its settings");
        eventually(setting, SOON, async || {
            // The postmaster passes it on; a new session has what it has.
            let show = format!("SELECT 1 WHERE current_setting('{setting}') = '{value}'");
            let session = connect(self.cluster.address.url()).await.ok()?;
            session.query_opt(&show, &[]).await.ok()?.map(drop)
        })
        .await;
    }

    /// The Unix socket, for a proxy.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.port))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens on TCP, for a proxy.
    pub(crate) fn tcp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// All that it has said so far.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The postmaster, if it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.is_running()
            .then(|| self.postmaster().as_ref().map(Pid::from_child))
            .flatten()
    }

    fn is_running(&self) -> bool {
        let mut postmaster = self.postmaster();
        postmaster
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn postmaster(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn end(&self, with: Signal) {
        let Some(mut child) = self.postmaster().take() else {
            return;
        };
        signal(Pid::from_child(&child), with);
        ended("PostgreSQL ends", &mut child).await;
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        // Before the watchdog does it, because what ends stays a zombie until its parent looks.
        self.resume();
        if let Some(mut child) = self.postmaster().take() {
            signal(Pid::from_child(&child), Signal::QUIT);
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of PostgreSQL ---\n{}--- end of the log ---", self.log());
        }
    }
}

/// Waits for the end of a process, and says whether all was well.
async fn ended(what: &str, child: &mut Child) -> bool {
    let status = eventually(what, 3 * SOON, async || child.try_wait().expect("a child")).await;
    status.success()
}

fn signal(pid: Pid, signal: Signal) {
    // Fails where the process is gone, which is where the signal is not needed.
    let _ = kill_process(pid, signal);
}

/// The processes that a process has started and that are there.
fn children(of: Pid) -> Vec<Pid> {
    let of = of.as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_else(|_| {
        // Not Linux.
        let asked = Command::new("pgrep").args(["-P", &of.to_string()]).output();
        String::from_utf8_lossy(&asked.expect("pgrep, or /proc").stdout).into_owned()
    });
    list.split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}
