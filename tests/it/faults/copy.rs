//! SIGKILL in the middle of copying a database: the next run goes on, and the end is the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::timeout;

use super::{Dice, Proof, Violation, ensure, fails, holds, new_home, number_from_env};
use crate::copy::{Place, copy, copying, source};
use crate::support::{SOON, eventually};

/// Enough that a copy takes a while, in many batches.
const MESSAGES: usize = 30_000;

/// How many targets are tried for a death in the middle.
const TARGETS: usize = 5;

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    /// How many messages each death left at the target.
    deaths: Vec<i64>,
    undisturbed: Duration,
}

/// Where a copy goes: to a new database of this kind.
#[derive(Clone, Copy)]
enum On {
    AFile,
    AServer,
}

impl On {
    /// `None` where there is no server.
    async fn target(self, home: &Arc<TempDir>, name: &str) -> Option<Place> {
        match self {
            Self::AFile => Some(Place::file(home, name)),
            Self::AServer => Place::server().await,
        }
    }
}

/// Copies, and kills, until all has arrived. Lets `tamper` change the target after a death in the middle, then judges
/// what the runs say and leave. `None` where there is no server.
async fn prove(home: &Arc<TempDir>, on: On, dice: &mut Dice, tamper: Option<&str>) -> Proof<Option<Report>> {
    let source = source(home, MESSAGES).await;
    let everything = source.dump().await;
    let all = source.messages().await;
    let began = Instant::now();
    let first = copy(home, &source, &Place::file(home, "undisturbed.db")).await;
    let undisturbed = began.elapsed();
    ensure(first.code == Some(0), || format!("not copied: {first:?}"))?;

    for number in 0..TARGETS {
        let Some(target) = on.target(home, &format!("target-{number}.db")).await else {
            return Ok(None);
        };
        let deaths = kill_again_and_again(home, &source, &target, undisturbed, dice, tamper).await?;
        ensure(deaths.is_sorted(), || {
            format!("lost between two runs: {deaths:?}")
        })?;
        if !deaths.iter().any(|left| (1..all).contains(left)) {
            // On a busy machine all may have arrived before the first blow.
            continue;
        }
        let last = copy(home, &source, &target).await;
        ensure(last.code == Some(0) && last.stdout == first.stdout, || {
            format!("another end: {last:?} instead of {first:?}")
        })?;
        ensure(target.dump().await == everything, || {
            "the target is another".to_owned()
        })?;
        ensure(source.dump().await == everything, || {
            "the source was written".to_owned()
        })?;
        return Ok(Some(Report { deaths, undisturbed }));
    }
    Err(Violation(format!("of {TARGETS} copies, none died in the middle")))
}

/// Gives how many messages each death left.
async fn kill_again_and_again(
    home: &Arc<TempDir>,
    source: &Place,
    target: &Place,
    undisturbed: Duration,
    dice: &mut Dice,
    mut tamper: Option<&str>,
) -> Proof<Vec<i64>> {
    let all = source.messages().await;
    let mut deaths = Vec::new();
    // In the middle of copying as often as it takes, and then a few times in the middle of verifying.
    while deaths.iter().filter(|left| **left == all).count() < 3 {
        let mut copying = copying(home, source, target).launch();
        if deaths.is_empty() {
            eventually("something has arrived", SOON, async || {
                (target.messages().await > 0).then_some(())
            })
            .await;
        } else {
            let moment = undisturbed / 2_000 * u32::try_from(dice.below(1_000)).expect("a small number");
            if let Ok(status) = timeout(moment, copying.wait_exit(SOON)).await {
                ensure(status.success(), || format!("not copied: {}", copying.stderr()))?;
                break;
            }
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
    Ok(deaths)
}

/// So many copies into a fresh target, each of which is killed until it is whole.
async fn prove_again_and_again(on: On) {
    let mut dice = Dice::roll("copy");
    for _ in 0..number_from_env("ENGAGEMENT_TEST_COPIES", 3) {
        let home = new_home();
        holds(prove(&home, on, &mut dice, None).await, &home);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_to_a_server_that_is_killed_goes_on_and_ends_the_same() {
    prove_again_and_again(On::AServer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_to_a_file_that_is_killed_goes_on_and_ends_the_same() {
    prove_again_and_again(On::AFile).await;
}

/// The proof over each kind of target, in which these statements change something between two runs.
async fn fails_over(sql: &str, because: &str) {
    for on in [On::AFile, On::AServer] {
        match prove(&new_home(), on, &mut Dice::roll("control"), Some(sql)).await {
            // Without a server, the fixture has said so.
            Ok(None) => {}
            proof => fails(proof, because),
        }
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
