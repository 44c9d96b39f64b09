//! The faults that the service must survive, each brought about from outside.
//!
//! Every file holds a proof: it provokes the fault, judges what came of it, and gives a report or a [`Violation`].
//! A test asserts that the proof holds. A control tampers with the world (the files, the signals, the settings, the
//! ledger, the server that answers) and asserts that the very same proof fails: a proof that cannot fail proves
//! nothing.
//!
//! Randomness comes from a printed seed; `ENGAGEMENT_TEST_SEED` repeats it. A run that fails keeps its directory.

mod backup;
mod broken_disk;
mod copy;
mod corpus;
mod disk_full;
mod kill;
mod ledger;
mod load;
mod locked;
mod malformed;
mod postgres;
mod retries;
mod secrets;
mod slow;
mod stop;
mod streams;

use std::fmt::{self, Debug, Display};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::skip;

/// What a proof comes to.
type Proof<T> = Result<T, Violation>;

/// A promise that was broken, and how.
#[derive(Debug)]
struct Violation(String);

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Goes on only if the promise was kept.
fn ensure(kept: bool, broken: impl FnOnce() -> String) -> Proof<()> {
    if kept { Ok(()) } else { Err(Violation(broken())) }
}

/// The directory that a server works in.
fn new_home() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a temporary directory"))
}

/// Asserts that a proof holds and shows what was seen. The directory of a failure is kept.
#[track_caller]
fn holds<T: Debug>(proof: Proof<T>, home: &Arc<TempDir>) {
    match proof {
        Ok(report) => eprintln!("{report:?}"),
        Err(violation) => {
            std::mem::forget(Arc::clone(home));
            panic!("{violation}\n(kept: {})", home.path().display());
        }
    }
}

/// Asserts that a proof fails and says why with these words, in a world that was tampered with.
#[track_caller]
fn fails<T: Debug>(proof: Proof<T>, because: &str) {
    match proof {
        Ok(report) => panic!("the proof did not see it: {report:?}"),
        Err(Violation(reason)) => assert!(reason.contains(because), "{reason:?} does not say {because:?}"),
    }
}

/// A number from the environment, for runs that are longer than those of every day.
fn number_from_env(name: &str, usual: usize) -> usize {
    std::env::var_os(name).map_or(usual, |number| {
        number
            .to_str()
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{name} is no number"))
    })
}

/// Randomness that can be repeated (xorshift64*).
struct Dice(u64);

impl Dice {
    /// From `ENGAGEMENT_TEST_SEED` or a fresh seed; prints which.
    fn roll(test: &str) -> Self {
        let fresh = RandomState::new().build_hasher().finish() >> 16;
        let seed = number_from_env("ENGAGEMENT_TEST_SEED", usize::try_from(fresh).expect("64 bits"));
        eprintln!("{test}: ENGAGEMENT_TEST_SEED={seed}");
        Self::of(seed as u64)
    }

    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below this number.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("a small number")
    }
}

/// The database in a server's directory, opened by somebody else than the server.
fn database(home: &Path) -> Connection {
    Connection::open(home.join("engagement.db")).expect("the database opens")
}

/// Whether a tool of the system works here. If not, says so loudly, or fails where tests are to insist.
fn works_here(what: &str, program: &str, arguments: &[&str]) -> bool {
    let run = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if run.is_ok_and(|status| status.success()) {
        return true;
    }
    skip(&format!("{what} needs `{program}`, which does not work here"));
    false
}
