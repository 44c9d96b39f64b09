//! SIGKILL at random moments under load: what was acknowledged is there, once, and answered, once.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::ledger::{Ledger, Tally};
use super::load::{self, Load};
use super::{Dice, Proof, database, ensure, fails, holds, new_home, number_from_env};
use crate::support::{SOON, Server, eventually};

/// Promised is a second; a busy test machine may take longer.
const READY_WITHIN: Duration = Duration::from_secs(8);

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    cycles: usize,
    killed_while_starting: usize,
    slowest_start: Duration,
    tally: Tally,
}

/// Kills a loaded server again and again, lets `tamper` at the files after each death (counted from 1), then judges.
async fn prove(
    home: &Arc<TempDir>,
    cycles: usize,
    dice: &mut Dice,
    patience: Duration,
    mut tamper: impl FnMut(usize, &Path, &Ledger),
) -> Proof<Report> {
    let ledger = Ledger::default();
    let server = Server::builder_over(home).start().await;
    let conversations = load::conversations(&server.client()).await;
    server.kill();

    let mut slowest_start = Duration::ZERO;
    let mut killed_while_starting = 0;
    for cycle in 1..=cycles {
        if dice.below(5) == 0 {
            // Dropping a server that is not ready yet kills it just as hard.
            let moment = Duration::from_millis(dice.next() % 40);
            if timeout(moment, Server::builder_over(home).start()).await.is_err() {
                killed_while_starting += 1;
            }
        }
        let began = Instant::now();
        let mut server = Server::builder_over(home).env("LOG_FILE", "off").start().await;
        slowest_start = slowest_start.max(began.elapsed());
        let acked_before = ledger.acked();
        let load = Load::start(&server.client(), &ledger, &conversations, dice);
        eventually("something is acknowledged", 3 * SOON, async || {
            (ledger.acked() >= acked_before + load::WRITERS).then_some(())
        })
        .await;
        sleep(Duration::from_micros(dice.next() % 100_000)).await;
        server.signal(Signal::KILL);
        server.wait_exit(SOON).await;
        load.ended().await;
        tamper(cycle, home.path(), &ledger);
    }
    ensure(slowest_start < READY_WITHIN, || {
        format!("late: ready only after {slowest_start:?}")
    })?;

    let server = Server::builder_over(home).start().await;
    let tally = ledger.judge(&server.client(), patience).await?;
    Ok(Report {
        cycles,
        killed_while_starting,
        slowest_start,
        tally,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled_by_sigkill() {
    let home = new_home();
    let cycles = number_from_env("ENGAGEMENT_TEST_KILL_CYCLES", 100);
    let proof = prove(&home, cycles, &mut Dice::roll("kill"), 6 * SOON, |_, _, _| {}).await;
    holds(proof, &home);
}

/// The proof over three deaths, of which the last is followed by some SQL that changes one row of everything it touches.
async fn prove_over(sql: &str) -> Proof<Report> {
    let sql = sql.to_owned();
    prove(
        &new_home(),
        3,
        &mut Dice::roll("control"),
        Duration::from_secs(2),
        move |death, home, _| {
            if death == 3 {
                change(&database(home), &sql);
            }
        },
    )
    .await
}

fn change(db: &Connection, sql: &str) {
    for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
        let changed = db
            .execute(statement, ())
            .unwrap_or_else(|error| panic!("{error} in {statement}"));
        let is_change = ["INSERT", "UPDATE", "DELETE"]
            .iter()
            .any(|verb| statement.trim_start().starts_with(verb));
        assert!(changed > 0 || !is_change, "nothing to tamper with: {statement}");
    }
}

#[tokio::test]
async fn control_a_deleted_log_is_a_loss() {
    let tamper = |death, home: &Path, _: &Ledger| {
        if death == 3 {
            fs::remove_file(home.join("engagement.db-wal")).expect("a write-ahead log");
            fs::remove_file(home.join("engagement.db-shm")).expect("its index");
        }
    };
    let proof = prove(&new_home(), 3, &mut Dice::roll("control"), SOON, tamper).await;
    fails(proof, "lost");
}

#[tokio::test]
async fn control_an_older_copy_is_a_loss() {
    let copy = tempfile::tempdir().expect("a directory");
    let tamper = |death, home: &Path, _: &Ledger| {
        for file in ["engagement.db", "engagement.db-wal"] {
            let (live, copied) = (home.join(file), copy.path().join(file));
            match death {
                1 => fs::copy(live, copied).expect("a copy"),
                2 => 0,
                _ => fs::copy(copied, live).expect("a copy put back"),
            };
        }
        if death == 3 {
            fs::remove_file(home.join("engagement.db-shm")).expect("the log's index");
        }
    };
    let proof = prove(&new_home(), 3, &mut Dice::roll("control"), SOON, tamper).await;
    fails(proof, "lost");
}

#[tokio::test]
async fn control_an_acknowledgement_that_never_was_is_a_loss() {
    let tamper = |death, _: &Path, ledger: &Ledger| {
        if death == 3 {
            let conversation = ledger.conversations().pop_first().expect("a conversation");
            ledger.invent(&conversation);
        }
    };
    let proof = prove(&new_home(), 3, &mut Dice::roll("control"), SOON, tamper).await;
    fails(proof, "lost");
}

/// A copy of one message, as the last of its conversation.
const COPY: &str = "
    CREATE TEMP TABLE doubled AS SELECT * FROM messages WHERE role = 'ROLE' AND (role = 'user' OR reply_to IS NOT NULL) LIMIT 1;
    UPDATE doubled SET id = randomblob(16),
        seq = (SELECT last_seq + 1 FROM conversations WHERE conversations.id = conversation_id);
    INSERT INTO messages SELECT * FROM doubled;
    UPDATE conversations SET last_seq = last_seq + 1, ROLE_count = ROLE_count + 1
        WHERE id = (SELECT conversation_id FROM doubled)";

#[tokio::test]
async fn control_a_doubled_message_is_seen() {
    fails(prove_over(&COPY.replace("ROLE", "user")).await, "doubled");
}

#[tokio::test]
async fn control_a_doubled_answer_is_seen() {
    let copy = COPY.replace("ROLE", "assistant");
    fails(
        prove_over(&format!("DROP INDEX messages_one_answer; {copy}")).await,
        "answered twice",
    );
}

#[tokio::test]
async fn control_a_missing_answer_is_seen() {
    let sql = "
        CREATE TEMP TABLE gone AS SELECT id, conversation_id FROM messages WHERE role = 'assistant' LIMIT 1;
        DELETE FROM messages WHERE id = (SELECT id FROM gone);
        UPDATE conversations SET assistant_count = assistant_count - 1
            WHERE id = (SELECT conversation_id FROM gone)";
    fails(prove_over(sql).await, "unanswered");
}

#[tokio::test]
async fn control_a_reply_that_never_ends_is_seen() {
    let sql = "
        UPDATE replies SET status = 'queued', run_after = 9000000000000000, finished_at = NULL, lease_until = NULL
        WHERE message_id = (SELECT id FROM messages WHERE role = 'user' LIMIT 1)";
    fails(prove_over(sql).await, "unanswered in time");
}

#[tokio::test]
async fn control_swapped_messages_are_seen() {
    let sql = "
        CREATE TEMP TABLE ends AS SELECT conversation_id, min(seq) AS first, max(seq) AS last
            FROM messages WHERE role = 'user' GROUP BY conversation_id ORDER BY count(*) DESC LIMIT 1;
        UPDATE messages SET seq = 1000000 WHERE (conversation_id, seq) = (SELECT conversation_id, first FROM ends);
        UPDATE messages SET seq = (SELECT first FROM ends)
            WHERE (conversation_id, seq) = (SELECT conversation_id, last FROM ends);
        UPDATE messages SET seq = (SELECT last FROM ends)
            WHERE (conversation_id, seq) = (SELECT conversation_id, 1000000 FROM ends)";
    fails(prove_over(sql).await, "out of order");
}
