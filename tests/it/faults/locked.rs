//! Another process holds the database's lock: writes wait, or get a 503 with a time to come back; reads do not notice.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Tally};
use super::load::{self, post};
use super::{Dice, Proof, Violation, database, ensure, fails, holds, new_home};
use crate::support::{Answer, Client, SOON, Server};

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    written: usize,
    put_off: usize,
    reads: usize,
    slowest_read: Duration,
    tally: Tally,
}

/// Another program in the middle of its write.
struct Lock(Connection);

impl Lock {
    fn take(home: &Path) -> Self {
        let db = database(home);
        db.busy_timeout(SOON).expect("patience");
        db.execute_batch("BEGIN IMMEDIATE").expect("the lock");
        Self(db)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").expect("the lock released");
    }
}

/// Reads again and again, until told to end.
async fn read(client: Client, conversation: String, end: CancellationToken) -> Proof<(usize, Duration)> {
    let (mut reads, mut slowest) = (0, Duration::ZERO);
    while !end.is_cancelled() {
        for path in [
            format!("/conversations/{conversation}"),
            format!("/conversations/{conversation}/messages"),
        ] {
            let began = Instant::now();
            let answer = Answer::try_of(client.request(Method::GET, &path)).await;
            let answer = answer.map_err(|error| Violation(format!("a read failed: {error}")))?;
            ensure(answer.status == 200, || {
                format!("a read failed: {}", answer.text())
            })?;
            slowest = slowest.max(began.elapsed());
            reads += 1;
        }
        sleep(Duration::from_millis(10)).await;
    }
    ensure(slowest < SOON / 2, || {
        format!("a read waited for the lock: {slowest:?}")
    })?;
    Ok((reads, slowest))
}

/// Eight writers while the lock is held for so long; `put_off` says whether some of them are to be sent away.
async fn prove(home: &Arc<TempDir>, held: Duration, put_off: bool) -> Proof<Report> {
    let server = Server::builder_over(home).start().await;
    let client = server.client();
    let conversations = load::conversations(&client).await;
    let ledger = Ledger::default();
    let mut dice = Dice::roll("locked");
    let end = CancellationToken::new();
    let mut reader = JoinSet::new();
    reader.spawn(read(client.clone(), conversations[0].clone(), end.clone()));

    let lock = Lock::take(home.path());
    let mut writers = JoinSet::new();
    for (writer, conversation) in conversations.iter().cloned().enumerate() {
        let (client, ledger, text) = (client.clone(), ledger.clone(), load::text(dice.next(), ""));
        writers.spawn(async move { post(&client, &ledger, writer, &conversation, &text).await });
    }
    sleep(held).await;
    let early = std::iter::from_fn(|| writers.try_join_next()).collect::<Vec<_>>();
    lock.release();
    let mut answers = Vec::new();
    for answer in early
        .into_iter()
        .chain(writers.join_all().await.into_iter().map(Ok))
    {
        answers.push(
            answer
                .expect("a writer that ends")
                .ok_or_else(|| Violation("a write was dropped".to_owned()))?,
        );
    }
    end.cancel();
    let (reads, slowest_read) = reader.join_next().await.expect("a reader").expect("its end")?;

    let mut counts = [0, 0];
    for answer in &answers {
        judge(answer)?;
        counts[usize::from(answer.status == 503)] += 1;
    }
    let [written, sent_away] = counts;
    ensure(put_off || sent_away == 0, || {
        format!("{sent_away} writes did not wait for a short lock")
    })?;
    ensure(!put_off || sent_away > 0, || {
        "all writes waited for a long lock".to_owned()
    })?;
    // As soon as the lock is gone, all is as it was.
    let began = Instant::now();
    while post(
        &client,
        &ledger,
        0,
        &conversations[0],
        &load::text(dice.next(), ""),
    )
    .await
    .is_none_or(|answer| answer.status != 201)
    {
        ensure(began.elapsed() < SOON, || "writes did not recover".to_owned())?;
    }
    let tally = ledger.judge(&client, 2 * SOON).await?;
    Ok(Report {
        written,
        put_off: sent_away,
        reads,
        slowest_read,
        tally,
    })
}

/// Written, or sent away with a time to come back.
fn judge(answer: &Answer) -> Proof<()> {
    match answer.status {
        201 => Ok(()),
        503 => {
            let seconds: Option<u64> = answer.header("retry-after").parse().ok();
            ensure(seconds.is_some_and(|seconds| seconds >= 1), || {
                "a 503 without Retry-After".to_owned()
            })
        }
        status => Err(Violation(format!(
            "a write was answered {status}: {}",
            answer.text()
        ))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_for_a_short_lock() {
    let home = new_home();
    holds(prove(&home, Duration::from_secs(1), false).await, &home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_put_off_by_a_long_lock_and_reads_are_not() {
    let home = new_home();
    holds(prove(&home, Duration::from_secs(7), true).await, &home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_locks_of_another_length_are_seen() {
    fails(
        prove(&new_home(), Duration::from_secs(7), false).await,
        "did not wait for a short lock",
    );
    fails(
        prove(&new_home(), Duration::from_millis(500), true).await,
        "all writes waited",
    );
}

#[test]
fn control_wrong_answers_are_seen() {
    let answer = |status| Answer {
        status,
        headers: reqwest::header::HeaderMap::new(),
        body: Vec::new(),
    };
    fails(judge(&answer(500)), "answered 500");
    fails(judge(&answer(503)), "without Retry-After");
}
