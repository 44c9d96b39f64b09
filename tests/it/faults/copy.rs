//! SIGKILL in the middle of copying a database: the next run goes on, and the end is the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::timeout;

use super::{Dice, Proof, ensure, fails, holds, new_home, number_from_env};
use crate::copy::{Place, copy, copying, source};
use crate::support::SOON;

/// Enough that a copy takes a while, in many batches.
const MESSAGES: usize = 30_000;

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    /// How many messages each death left at the target.
    deaths: Vec<i64>,
    undisturbed: Duration,
}

/// Copies, and kills, until all has arrived. Lets `tamper` change the target after the first death that
/// left some of the messages there, then judges what the runs say and leave.
async fn prove(home: &Arc<TempDir>, target: &Place, dice: &mut Dice, tamper: Option<&str>) -> Proof<Report> {
    let source = source(home, MESSAGES).await;
    let everything = source.dump().await;
    let all = source.messages().await;
    let began = Instant::now();
    let first = copy(home, &source, &Place::file(home, "undisturbed.db")).await;
    let undisturbed = began.elapsed();
    ensure(first.code == Some(0), || format!("not copied: {first:?}"))?;

    let mut tamper = tamper;
    let mut deaths = Vec::new();
    // In the middle of copying as often as it takes, and then a few times in the middle of verifying.
    while deaths.iter().filter(|left| **left == all).count() < 3 {
        let mut copying = copying(home, &source, target).launch();
        let moment = undisturbed / 2_000 * u32::try_from(dice.below(1_000)).expect("a small number");
        if let Ok(status) = timeout(moment, copying.wait_exit(SOON)).await {
            ensure(status.success(), || format!("not copied: {}", copying.stderr()))?;
            break;
        }
        copying.kill();
        let left = target.messages().await;
        deaths.push(left);
        if (1..all).contains(&left)
            && let Some(sql) = tamper.take()
        {
            target.execute(sql).await;
        }
    }
    ensure(deaths.is_sorted(), || {
        format!("lost between two runs: {deaths:?}")
    })?;
    ensure(deaths.iter().any(|left| (1..all).contains(left)), || {
        format!("no death came in the middle: {deaths:?}")
    })?;

    let last = copy(home, &source, target).await;
    ensure(last.code == Some(0) && last.stdout == first.stdout, || {
        format!("another end: {last:?} instead of {first:?}")
    })?;
    ensure(target.dump().await == everything, || {
        "the target is another".to_owned()
    })?;
    ensure(source.dump().await == everything, || {
        "the source was written".to_owned()
    })?;
    Ok(Report { deaths, undisturbed })
}

/// So many copies into a fresh target, each of which is killed until it is whole.
async fn prove_again_and_again(target: impl AsyncFn(&Arc<TempDir>) -> Option<Place>) {
    let mut dice = Dice::roll("copy");
    for _ in 0..number_from_env("ENGAGEMENT_TEST_COPIES", 3) {
        let home = new_home();
        let Some(target) = target(&home).await else { return };
        holds(prove(&home, &target, &mut dice, None).await, &home);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_to_a_server_that_is_killed_goes_on_and_ends_the_same() {
    prove_again_and_again(async |_| Place::server().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_to_a_file_that_is_killed_goes_on_and_ends_the_same() {
    prove_again_and_again(async |home| Some(Place::file(home, "target.db"))).await;
}

/// The proof over each kind of target, in which these statements change something between two runs.
async fn fails_over(sql: &str, because: &str) {
    let home = new_home();
    let file = Place::file(&home, "target.db");
    let proof = prove(&home, &file, &mut Dice::roll("control"), Some(sql)).await;
    fails(proof, because);
    if let Some(server) = Place::server().await {
        let proof = prove(&new_home(), &server, &mut Dice::roll("control"), Some(sql)).await;
        fails(proof, because);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_text_that_was_changed_between_two_runs_is_seen() {
    fails_over(
        "UPDATE messages SET text = 'GRÜSSE 8' WHERE text = 'GRÜSSE 7'",
        "messages has",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_row_that_was_deleted_between_two_runs_is_seen() {
    fails_over(
        "DELETE FROM conversations WHERE description = 'nothing was said'",
        "conversations has",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_copy_that_only_claims_to_be_whole_is_seen() {
    fails_over("UPDATE copies SET finished_at = 1", "messages has").await;
}
