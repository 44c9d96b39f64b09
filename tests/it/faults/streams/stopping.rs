//! SIGTERM while many watch and replies are written: streams end in one piece, and the next process goes on.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::task::JoinSet;

use super::judge::{Stored, same, told_to_a_latecomer};
use super::stage::{Stage, ask};
use crate::faults::{Proof, database, ensure, fails, holds};
use crate::support::sse::{Ended, Reader};
use crate::support::{SOON, Server, eventually};

const READERS: usize = 100;
const REPLIES: usize = 20;

/// Written to a point, and no further; by the next call, at once.
const STUCK: &str = "fault:stalled:1 and then go on";

const EXIT_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    exit: Duration,
    resumed: usize,
    events: usize,
}

struct Watched {
    conversation: String,
    message: String,
    reader: Reader,
}

/// A server in the middle of it all, and everybody who watches.
async fn set_out(stage: &Stage) -> (Server, JoinSet<(Watched, Ended)>) {
    let server = stage.start().await;
    let (mut asked, client) = (Vec::new(), server.client());
    for number in 0..REPLIES {
        let conversation = client.conversation("stopped in mid-stream").await;
        let message = ask(&client, &conversation, &format!("{STUCK}, {number}"), "p/m").await;
        asked.push((conversation, message));
    }
    let mut watching = JoinSet::new();
    let (tell, mut hear) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..READERS {
        let (conversation, message) = asked[number % REPLIES].clone();
        let mut reader = Reader::of_conversation(server.address(), &conversation);
        let tell = tell.clone();
        watching.spawn(async move {
            let ended = reader
                .read(|event| {
                    if event.is("reply.delta", &message) {
                        let _ = tell.send(());
                    }
                    false
                })
                .await;
            let watched = Watched {
                conversation,
                message,
                reader,
            };
            (watched, ended)
        });
    }
    for _ in 0..READERS {
        hear.recv().await.expect("everybody sees the beginning");
    }
    (server, watching)
}

/// Ends the server with this signal, changes the database by this SQL, and starts the next one.
async fn prove(stage: &Stage, signal: Signal, tamper: &str) -> Proof<Report> {
    let (mut server, mut watching) = set_out(stage).await;
    let began = Instant::now();
    server.signal(signal);
    server.wait_exit(2 * EXIT_WITHIN).await;
    let exit = began.elapsed();
    ensure(exit < EXIT_WITHIN, || format!("late: ended after {exit:?}"))?;
    let mut all = Vec::new();
    while let Some(watched) = watching.join_next().await {
        let (watched, ended) = watched.expect("a reader that ends");
        ensure(ended == Ended::Cleanly && watched.reader.halves == 0, || {
            format!(
                "broken off: a stream ended with {ended:?}, {} halves",
                watched.reader.halves
            )
        })?;
        all.push(watched);
    }
    database(stage.home.path())
        .execute_batch(tamper)
        .expect("tampering");

    let server = stage.start().await;
    let client = server.client();
    let mut report = Report {
        exit,
        resumed: 0,
        events: 0,
    };
    for watched in &mut all {
        let Watched {
            conversation,
            message,
            reader,
        } = watched;
        let reply = client.finished_reply(conversation, message).await;
        ensure(reply["status"] == "succeeded" && reply["attempts"] == 2, || {
            format!("forgotten: {reply}")
        })?;
        reader.move_to(server.address());
        let ended = reader
            .read_on("the reply ends", SOON, |event| event.ends_reply_to(message))
            .await;
        ensure(ended == Ended::Found, || format!("missing: {ended:?}"))?;
        same(&reader.log, &told_to_a_latecomer(reader, message).await)?;
        Stored::read(&client, conversation)
            .await
            .agrees_with(&reader.log)?;
        report.resumed += 1;
        report.events += reader.log.len();
    }
    eventually("every call has ended", SOON, async || {
        (stage.upstream.open() == 0).then_some(())
    })
    .await;
    Ok(report)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_streams_in_one_piece_and_the_next_process_goes_on() {
    let stage = Stage::new(None).await;
    holds(prove(&stage, Signal::TERM, "").await, &stage.home);
}

#[tokio::test]
async fn control_streams_that_break_off_are_seen() {
    fails(
        prove(&Stage::new(None).await, Signal::KILL, "").await,
        "broken off",
    );
}

#[tokio::test]
async fn control_replies_that_a_stop_forgets_are_seen() {
    let forget = "UPDATE replies SET status = 'cancelled', finished_at = 1, lease_until = NULL";
    fails(
        prove(&Stage::new(None).await, Signal::TERM, forget).await,
        "forgotten",
    );
}
