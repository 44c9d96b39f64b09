//! The disk fails while a commit is written: nobody is told that it worked, the process ends, the next one starts clean.
//!
//! `strace` makes the system call fail. With `-D` the server stays the direct child of the test.

use std::sync::Arc;

use rustix::process::Signal;
use tempfile::TempDir;

use super::ledger::{Ledger, Tally};
use super::load::{self, Load};
use super::{Dice, Proof, ensure, fails, holds, new_home, works_here};
use crate::support::{SOON, Server};

const IO_FAILED: i32 = 74;

/// Runs a loaded server whose n-th such call fails in each thread, then starts over the same data.
async fn prove(home: &Arc<TempDir>, call: &str, n: Option<u32>, ledger: &Ledger) -> Proof<Tally> {
    let mut dice = Dice::roll("broken disk");
    let server = Server::builder_over(home).start().await;
    let conversations = load::conversations(&server.client()).await;
    stop(server).await;

    let mut builder = Server::builder_over(home);
    if let Some(n) = n {
        let inject = format!("inject={call}:error=EIO:when={n}");
        builder = builder.under(
            "strace",
            &[
                "-D",
                "-f",
                "-q",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
                "-e",
                &inject,
            ],
        );
    }
    let mut server = builder.start().await;
    let load = Load::start(&server.client(), ledger, &conversations, &mut dice);
    if n.is_none() {
        load.finish().await;
        server.signal(Signal::TERM);
    } else {
        // The writers end when nobody answers any more, or all is answered with 503.
        tokio::time::timeout(3 * SOON, load.ended())
            .await
            .map_err(|_| super::Violation("it went on".to_owned()))?;
    }
    let status = server.wait_exit(2 * SOON).await;
    ensure(status.code() == Some(IO_FAILED), || {
        format!("ended with {status}: {}", server.stderr())
    })?;
    let said = server.stderr();
    ensure(said.contains("error: ") && said.contains("hint: "), || {
        format!("ended without a word: {said}")
    })?;

    let server = Server::builder_over(home).start().await;
    let tally = ledger.judge(&server.client(), SOON).await?;
    let check = Server::builder_over(home).arg("check").run().await;
    ensure(check.code == Some(0), || format!("damaged: {check:?}"))?;
    Ok(tally)
}

async fn stop(mut server: Server) {
    server.terminate();
    server.wait_exit(SOON).await;
}

fn strace_works() -> bool {
    let inject = [
        "-D",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:error=EIO:when=9",
        "true",
    ];
    works_here("a broken disk", "strace", &inject)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_flush_is_never_taken_for_a_commit() {
    if strace_works() {
        for n in [5, 17, 40] {
            let home = new_home();
            holds(
                prove(&home, "fsync,fdatasync", Some(n), &Ledger::default()).await,
                &home,
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_is_never_taken_for_a_commit() {
    if strace_works() {
        for n in [60, 150] {
            let home = new_home();
            holds(prove(&home, "pwrite64", Some(n), &Ledger::default()).await, &home);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_an_acknowledgement_that_never_was_is_seen() {
    if strace_works() {
        let home = new_home();
        let server = Server::builder_over(&home).start().await;
        let conversation = server.client().conversation("of a lie").await;
        stop(server).await;
        let ledger = Ledger::default();
        ledger.invent(&conversation);
        fails(prove(&home, "fsync,fdatasync", Some(17), &ledger).await, "lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_disk_that_works_is_seen() {
    fails(
        prove(&new_home(), "fsync,fdatasync", None, &Ledger::default()).await,
        "ended with",
    );
}
