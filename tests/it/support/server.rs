//! The program as a child process.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::{NamedTempFile, TempDir};
use tokio::sync::oneshot;

use super::{Client, SOON, eventually};

/// The key that opens a fresh service on loopback.
pub(crate) const DEFAULT_KEY: &str = "neuRealities_assessment";

/// A running server. Dropping it kills the process; a failing test then sees its stderr.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    home: Arc<TempDir>,
    stderr: NamedTempFile,
}

/// How to start a server. The last word on an environment variable wins; flags win over both.
pub(crate) struct Builder {
    command: Command,
    home: Arc<TempDir>,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Server {
    /// A server as it comes: every setting at its default, on a free port, with no data.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        Self::builder_over(&Arc::new(tempfile::tempdir().expect("a temporary directory")))
    }

    /// Starts over what an earlier server left in its directory (see [`Server::home`]).
    pub(crate) fn builder_over(home: &Arc<TempDir>) -> Builder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engagement"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ENGAGEMENT_") {
                command.env_remove(name);
            }
        }
        command.current_dir(home.path()).stdin(Stdio::null());
        Builder {
            command,
            home: Arc::clone(home),
        }
        .env("LISTEN", "127.0.0.1:0")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client that holds the default key.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.base_url(), Some(DEFAULT_KEY))
    }

    /// A client of the listener for metrics, where there is one.
    pub(crate) async fn watchers(&self) -> Client {
        let address = eventually("it listens for metrics", SOON, async || {
            let told = self.stderr();
            let line = told.lines().find(|line| line.contains("listening for metrics"))?;
            let (_, address) = line.rsplit_once("address=")?;
            Some(address.to_owned())
        });
        Client::new(&format!("http://{}", address.await), None)
    }

    /// The working directory: database and log. It lives as long as anyone holds it.
    pub(crate) fn home(&self) -> Arc<TempDir> {
        Arc::clone(&self.home)
    }

    /// SIGKILL: no farewell of any kind.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child to kill");
        self.child.wait().expect("the end of the child");
    }

    /// SIGTERM: please finish.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child to signal");
    }

    /// Freezes the process and returns once it stands still: SIGSTOP takes effect when the system gets round to it,
    /// and until then the process goes on.
    pub(crate) async fn freeze(&self) {
        self.signal(Signal::STOP);
        eventually("the process stands still", SOON, async || {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(Pid::from_child(&self.child)), options).expect("a child to wait for")
        })
        .await;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        eventually("the server ends", within, async || {
            self.child.try_wait().expect("a child to wait for")
        })
        .await
    }

    /// All that the server has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        read_lossy(self.stderr.path())
    }

    /// What is in the log file so far.
    pub(crate) fn log(&self) -> String {
        read_lossy(&self.home.path().join("logs/engagement.log"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail harmlessly when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- stderr of the server ---\n{}--- end of stderr ---",
                self.stderr()
            );
        }
    }
}

impl Builder {
    /// Sets `ENGAGEMENT_<name>`.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(format!("ENGAGEMENT_{name}"), value);
        self
    }

    /// Sets a variable that is not ours.
    pub(crate) fn foreign_env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Puts a file into its directory.
    pub(crate) fn file(self, name: &str, contents: &str) -> Self {
        fs::write(self.home.path().join(name), contents).expect("a file");
        self
    }

    /// Over this database, which may have other servers, too.
    pub(crate) fn on(self, url: &str) -> Self {
        self.env("DATABASE_URL", url)
    }

    /// Leaves `ENGAGEMENT_<name>` to its default.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(format!("ENGAGEMENT_{name}"));
        self
    }

    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.command.arg(arg.into());
        self
    }

    /// Gives it this to read.
    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Lets another program start ours, in its own process: `program arguments… engagement …`.
    pub(crate) fn under(self, program: &str, arguments: &[&str]) -> Self {
        let mut wrapped = Command::new(program);
        wrapped.args(arguments).arg(self.command.get_program());
        self.told_to(wrapped)
    }

    /// Another build of the program.
    pub(crate) fn program(self, program: &Path) -> Self {
        self.told_to(Command::new(program))
    }

    /// Gives a command the arguments and the environment that were meant for the program.
    fn told_to(mut self, mut command: Command) -> Self {
        command.args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.home.path()).stdin(Stdio::null());
        self.command = command;
        self
    }

    /// Runs the program to its end, for commands that do not serve.
    pub(crate) async fn run(self) -> Run {
        let stdout = NamedTempFile::new().expect("a file for stdout");
        let mut server = self.launch_into(stdout.reopen().expect("the file for stdout").into());
        // Some of them copy whole databases.
        let status = server.wait_exit(6 * SOON).await;
        Run {
            code: status.code(),
            stdout: read_lossy(stdout.path()),
            stderr: server.stderr(),
        }
    }

    /// Starts a command that does not serve, and leaves it running: it has no address.
    pub(crate) fn launch(self) -> Server {
        self.launch_into(Stdio::null())
    }

    /// ... and writes its stdout there.
    pub(crate) fn launch_into(mut self, stdout: Stdio) -> Server {
        let stderr = NamedTempFile::new().expect("a file for stderr");
        let child = self
            .command
            .stdout(stdout)
            .stderr(stderr.reopen().expect("the file for stderr"))
            .spawn()
            .expect("the program starts");
        Server {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            home: self.home,
            stderr,
        }
    }

    pub(crate) async fn start(self) -> Server {
        self.try_start().await.unwrap_or_else(|(status, stderr)| {
            panic!("the server did not start ({status}):\n{stderr}");
        })
    }

    /// Starts, or tells how the process ended instead and what it said on stderr.
    pub(crate) async fn try_start(mut self) -> Result<Server, (ExitStatus, String)> {
        let stderr = NamedTempFile::new().expect("a file for stderr");
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(stderr.reopen().expect("the file for stderr"))
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("a piped stdout");
        // From here on the child ends with its owner, whatever happens.
        let mut server = Server {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            home: self.home,
            stderr,
        };
        match tokio::time::timeout(SOON, first_line(stdout))
            .await
            .expect("the server is ready soon")
        {
            // A worker that listens nowhere.
            Some(line) if line == "working on replies\n" => Ok(server),
            Some(line) => {
                server.address = line
                    .strip_prefix("listening on http://")
                    .and_then(|address| address.trim_end().parse().ok())
                    .unwrap_or_else(|| panic!("an unexpected first line on stdout: {line:?}"));
                Ok(server)
            }
            None => Err((server.wait_exit(SOON).await, server.stderr())),
        }
    }
}

/// The first line of stdout, or `None` when there is none. The rest is read and dropped, so that the child never blocks.
async fn first_line(stdout: ChildStdout) -> Option<String> {
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        if lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            let _ = send.send(line);
        } else {
            drop(send);
        }
        let _ = lines.read_to_end(&mut Vec::new());
    });
    receive.await.ok()
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
