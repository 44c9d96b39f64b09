//! The command line: what it says, where it says it, and how it ends.

mod bounds;
mod chat;
pub(crate) mod checklist;
mod config;
mod postgres;
mod refusals;
mod start;
mod tools;
mod worker;

use std::sync::Arc;

use tempfile::TempDir;

use crate::support::{Builder, Run, Server};

fn home() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a temporary directory"))
}

/// The program with these arguments, in this directory.
fn engagement(home: &Arc<TempDir>, arguments: &[&str]) -> Builder {
    arguments
        .iter()
        .fold(Server::builder_over(home), |builder, argument| {
            builder.arg(argument)
        })
}

/// Asserts that a command was refused with this code, saying all of this, with a hint and nothing on stdout.
#[track_caller]
fn assert_refused(run: &Run, code: i32, says: &[&str]) {
    assert_eq!(run.code, Some(code), "{run:?}");
    for part in says.iter().chain(&["error: ", "hint: "]) {
        assert!(run.stderr.contains(part), "no {part:?} in {run:?}");
    }
    assert!(!run.stdout.contains("listening"), "{run:?}");
    assert!(!run.stdout.contains("working"), "{run:?}");
    assert!(!run.stderr.contains("panicked"), "{run:?}");
}
