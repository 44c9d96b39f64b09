//! SIGTERM under load: whatever was accepted is answered, the process ends in time, the next one goes on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Tally};
use super::load::{self, Load};
use super::{Dice, Proof, Violation, database, ensure, fails, holds, new_home, number_from_env};
use crate::support::{Answer, DEFAULT_KEY, Raw, SOON, Server, eventually};

const EXIT_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Report {
    answered: usize,
    /// On a kept connection that the server closed before it read anything: a client sends such a request again.
    sent_again: usize,
    /// On a connection that was still in the listener's queue when the listener closed.
    not_taken: usize,
    slowest_exit: Duration,
    tally: Tally,
}

/// A user message as bytes.
fn request(conversation: &str, text: &str) -> String {
    let body = json!({ "role": "user", "text": text }).to_string();
    format!(
        "POST /conversations/{conversation}/messages/create HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {DEFAULT_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One client, by the byte: it knows what the server had read when a connection ended.
struct KeepAlive {
    writer: usize,
    address: SocketAddr,
    ledger: Ledger,
    conversations: Vec<String>,
    stopping: CancellationToken,
}

impl KeepAlive {
    /// Writes until the server takes no more connections.
    async fn run(self, mut dice: Dice) -> Proof<Report> {
        let mut report = Report::default();
        let mut kept: Option<Raw> = None;
        loop {
            let is_kept = kept.is_some();
            let mut raw = match kept.take() {
                Some(raw) => raw,
                None => match Raw::try_connect(self.address).await {
                    Ok(raw) => raw,
                    Err(_) if self.stopping.is_cancelled() => return Ok(report),
                    Err(error) => return Err(Violation(format!("refused before the stop: {error}"))),
                },
            };
            let conversation = &self.conversations[dice.below(self.conversations.len())];
            let text = load::text(dice.next(), "");
            let note = self.ledger.sent(self.writer, conversation, &text);
            match exchange(&mut raw, &request(conversation, &text)).await {
                Ok(answer) => {
                    self.ledger.answered(note, &answer);
                    ensure(answer.status == 201, || {
                        format!("dropped: answered {}", answer.text())
                    })?;
                    report.answered += 1;
                    kept = (answer.header("connection") != "close").then_some(raw);
                }
                Err(_) if is_kept && raw.unread().is_empty() => report.sent_again += 1,
                // Never taken out of the listener's queue, or closed before its first byte was read. Had the server
                // begun with it, the message would be there, and the ledger would tell.
                Err(_) if raw.unread().is_empty() && self.stopping.is_cancelled() => {
                    report.not_taken += 1;
                    self.ledger.not_begun(note);
                }
                Err(error) => {
                    let came = String::from_utf8_lossy(raw.unread()).into_owned();
                    return Err(Violation(format!("dropped: {error} after {came:?}")));
                }
            }
        }
    }

    /// Sends half of a request, and the rest once the server is stopping.
    async fn straddle(self, mut dice: Dice) -> Proof<Report> {
        let conversation = &self.conversations[0];
        let text = load::text(dice.next(), "");
        let note = self.ledger.sent(self.writer, conversation, &text);
        let request = request(conversation, &text);
        let (half, rest) = request.split_at(request.len() - 10);
        let dropped = |error| Violation(format!("dropped: {error} in the middle of a request"));
        let mut raw = Raw::try_connect(self.address).await.map_err(dropped)?;
        raw.send(half).await.map_err(dropped)?;
        self.stopping.cancelled().await;
        sleep(Duration::from_millis(dice.next() % 500)).await;
        let answer = exchange(&mut raw, rest).await.map_err(dropped)?;
        self.ledger.answered(note, &answer);
        ensure(answer.status == 201, || {
            format!("dropped: answered {}", answer.text())
        })?;
        ensure(answer.header("connection") == "close", || {
            "a stopping server keeps a connection".to_owned()
        })?;
        Ok(Report {
            answered: 1,
            ..Report::default()
        })
    }
}

async fn exchange(raw: &mut Raw, request: &str) -> io::Result<Answer> {
    raw.send(request).await?;
    raw.answer().await
}

/// Stops a loaded server with `signal`, several times over the same data.
async fn prove(home: &Arc<TempDir>, rounds: usize, signal: Signal, dice: &mut Dice) -> Proof<Report> {
    let ledger = Ledger::default();
    let mut report = Report::default();
    let mut conversations = Vec::new();
    for _ in 0..rounds {
        let mut server = Server::builder_over(home).start().await;
        if conversations.is_empty() {
            conversations = load::conversations(&server.client()).await;
        }
        let stopping = CancellationToken::new();
        let mut clients = JoinSet::new();
        for writer in 0..2 * load::WRITERS {
            let (ledger, conversations) = (ledger.clone(), conversations.clone());
            let stopping = stopping.clone();
            let client = KeepAlive {
                writer,
                address: server.address(),
                ledger,
                conversations,
                stopping,
            };
            let dice = Dice::of(dice.next());
            if writer < load::WRITERS {
                clients.spawn(client.run(dice));
            } else {
                clients.spawn(client.straddle(dice));
            }
        }
        let before = ledger.acked();
        eventually("the load is on", SOON, async || {
            (ledger.acked() > before + 20).then_some(())
        })
        .await;
        sleep(Duration::from_millis(dice.next() % 50)).await;

        stopping.cancel();
        let began = Instant::now();
        server.signal(signal);
        while let Some(client) = clients.join_next().await {
            let client = client.expect("a client that ends")?;
            report.answered += client.answered;
            report.sent_again += client.sent_again;
            report.not_taken += client.not_taken;
        }
        let status = server.wait_exit(2 * EXIT_WITHIN).await;
        report.slowest_exit = report.slowest_exit.max(began.elapsed());
        ensure(status.code() == Some(0), || format!("ended with {status}"))?;
    }
    ensure(report.slowest_exit < EXIT_WITHIN, || {
        format!("late: ended after {:?}", report.slowest_exit)
    })?;
    let server = Server::builder_over(home).start().await;
    report.tally = ledger.judge(&server.client(), SOON).await?;
    Ok(report)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drops_no_accepted_request() {
    let home = new_home();
    let rounds = number_from_env("ENGAGEMENT_TEST_STOP_ROUNDS", 10);
    holds(
        prove(&home, rounds, Signal::TERM, &mut Dice::roll("stop")).await,
        &home,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_sigkill_drops_accepted_requests() {
    fails(
        prove(&new_home(), 1, Signal::KILL, &mut Dice::roll("control")).await,
        "dropped",
    );
}

/// Stops a server that waits for a body, then `again` if asked to; gives how long it took from there.
async fn prove_at_once(again: Option<Signal>) -> Proof<Duration> {
    let mut server = Server::builder().env("DRAIN_TIMEOUT_S", "20").start().await;
    let mut raw = Raw::connect(server.address()).await;
    let head = "POST /conversations/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    raw.send(format!(
        "{head}X-API-Key: {DEFAULT_KEY}\r\nContent-Length: 100\r\n\r\n{{"
    ))
    .await
    .expect("half a request");
    server.terminate();
    eventually("the stop begins", SOON, async || {
        server.log().contains("stopping").then_some(())
    })
    .await;
    let began = Instant::now();
    if let Some(signal) = again {
        server.signal(signal);
    }
    let status = server.wait_exit(3 * SOON).await;
    let took = began.elapsed();
    ensure(took < Duration::from_secs(8), || {
        format!("late: a second signal was obeyed after {took:?}")
    })?;
    ensure(status.code() == Some(0), || format!("ended with {status}"))?;
    Ok(took)
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        holds(prove_at_once(Some(signal)).await, &new_home());
    }
}

#[tokio::test]
async fn control_without_a_second_signal_the_body_is_waited_for() {
    fails(prove_at_once(None).await, "late");
}

/// Stops a server with many replies to go; the next one, after `tamper`, has to give them.
async fn prove_resumed(home: &Arc<TempDir>, tamper: &str) -> Proof<(usize, Tally)> {
    let ledger = Ledger::default();
    let mut server = Server::builder_over(home).env("WORKERS", "1").start().await;
    let client = server.client();
    let conversations = load::conversations(&client).await;
    let load = Load::start(&client, &ledger, &conversations, &mut Dice::roll("resumed"));
    eventually("some messages wait for their reply", 3 * SOON, async || {
        (ledger.acked() > 200).then_some(())
    })
    .await;
    server.terminate();
    load.ended().await;
    let status = server.wait_exit(EXIT_WITHIN).await;
    ensure(status.code() == Some(0), || format!("ended with {status}"))?;

    let db = database(home.path());
    // A holder that vanished without a word, and whose lease has long to run.
    let orphan = "UPDATE replies SET status = 'running', lease_until = 9000000000000000, finished_at = NULL
                  WHERE message_id = (SELECT message_id FROM replies WHERE status = 'queued' LIMIT 1)";
    let queued = "SELECT count(*) FROM replies WHERE status = 'queued'";
    let waiting: usize = db.query_row(queued, (), |row| row.get(0)).expect("a count");
    ensure(waiting > 0, || "nothing was left to do".to_owned())?;
    db.execute(orphan, ()).expect("an orphan");
    db.execute_batch(tamper).expect("tampering");
    drop(db);

    let server = Server::builder_over(home).start().await;
    Ok((waiting, ledger.judge(&server.client(), SOON / 2).await?))
}

#[tokio::test]
async fn replies_that_a_stop_left_are_given_by_the_next_start() {
    let home = new_home();
    holds(prove_resumed(&home, "").await, &home);
}

#[tokio::test]
async fn control_replies_that_are_forgotten_are_seen() {
    let tamper = "UPDATE replies SET status = 'cancelled', finished_at = 1, lease_until = NULL
                  WHERE status IN ('queued', 'running')";
    fails(prove_resumed(&new_home(), tamper).await, "unanswered");
}
