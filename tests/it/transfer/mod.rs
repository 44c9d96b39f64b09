//! Getting everything out of a service and into one: backups, and what other programs read and write.

mod backup;
mod chatgpt;
mod django;
mod jsonl;
mod lines;
mod resuming;
mod states;
mod targets;

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;

use crate::copy::{Place, engagement};
use crate::support::Run;

async fn run(home: &Arc<TempDir>, arguments: &[&str]) -> Run {
    engagement(home, arguments).run().await
}

/// A run that has to succeed.
async fn ran(home: &Arc<TempDir>, arguments: &[&str]) -> Run {
    let run = run(home, arguments).await;
    assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
    run
}

/// What an export says.
async fn exported(home: &Arc<TempDir>, place: &Place) -> String {
    ran(home, &["export", "--database-url", &place.url()])
        .await
        .stdout
}

fn write(home: &Arc<TempDir>, name: &str, content: &str) {
    fs::write(home.path().join(name), content).expect("a file");
}

/// Takes a file in that has to be taken in. Gives what is said about it, without the time.
async fn imported(home: &Arc<TempDir>, arguments: &[&str], to: &Place) -> String {
    let url = to.url();
    let arguments = [&["import"], arguments, &["--database-url", &url]].concat();
    told(&ran(home, &arguments).await)
}

/// What an import counts, without the time it took.
fn told(run: &Run) -> String {
    let counted = run.stdout.rsplit_once("; ").unwrap_or_else(|| panic!("{run:?}"));
    counted.0.to_owned()
}
