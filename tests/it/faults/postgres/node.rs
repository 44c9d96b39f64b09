//! Processes of the service over one database.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Builder, SOON, Server};

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::faults) enum Duty {
    Serve,
    ServeWithoutReplies,
    Work,
}

/// One process of several. They share a directory, where each has a log of its own.
pub(in crate::faults) struct Node {
    home: Arc<TempDir>,
    url: String,
    name: String,
    duty: Duty,
    server: Server,
}

impl Deref for Node {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Node {
    pub(in crate::faults) async fn start(home: &Arc<TempDir>, url: &str, name: &str, duty: Duty) -> Self {
        let server = builder(home, url, name, duty).start().await;
        Self {
            home: Arc::clone(home),
            url: url.to_owned(),
            name: name.to_owned(),
            duty,
            server,
        }
    }

    pub(in crate::faults) fn duty(&self) -> Duty {
        self.duty
    }

    /// SIGKILL, and no sooner than that a new process in its place.
    pub(in crate::faults) async fn die_and_start_again(&mut self) {
        self.server.signal(Signal::KILL);
        self.server.wait_exit(SOON).await;
        self.server = builder(&self.home, &self.url, &self.name, self.duty)
            .start()
            .await;
    }

    /// What it has logged so far, in all its lives.
    pub(in crate::faults) fn log(&self) -> String {
        let log = fs::read(self.home.path().join(format!("{}.log", self.name))).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

fn builder(home: &Arc<TempDir>, url: &str, name: &str, duty: Duty) -> Builder {
    let builder = Server::builder_over(home)
        .on(url)
        .env("LOG_FILE", &format!("{name}.log"));
    match duty {
        Duty::Serve => builder.arg("serve"),
        Duty::ServeWithoutReplies => builder.arg("serve").arg("--no-replies"),
        Duty::Work => builder.arg("worker"),
    }
}
