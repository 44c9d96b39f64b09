//! What a process of the service holds, as its system sees it.

use std::fs;

use crate::faults::{Proof, ensure};
use crate::support::Server;

/// How much the memory of a process has grown at most since it was looked at first.
pub(super) struct Memory {
    pid: u32,
    before_kib: u64,
}

impl Memory {
    /// Looks now, and forgets what was the most so far.
    pub(super) fn of(server: &Server) -> Self {
        let pid = server.pid();
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a peak to forget");
        Self {
            pid,
            before_kib: kib(pid, "VmRSS"),
        }
    }

    /// The most that it has held since, and did not before.
    pub(super) fn grown_mib(&self) -> u64 {
        kib(self.pid, "VmHWM").saturating_sub(self.before_kib) / 1024
    }

    pub(super) fn stays_within(&self, mib: u64) -> Proof<u64> {
        let grown = self.grown_mib();
        ensure(grown <= mib, || format!("grew by {grown} MiB, of {mib}"))?;
        Ok(grown)
    }
}

fn kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the state of a process");
    let line = status
        .lines()
        .find(|line| line.starts_with(name))
        .expect("a line of it");
    let number = line
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok());
    number.expect("a number")
}

/// How many files it has open, sockets among them.
pub(super) fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .expect("the server's files")
        .count()
}
