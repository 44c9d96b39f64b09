//! Two nodes over one database: what one writes, the other shows, stops, and finishes after its death.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::judge::{Stored, same, told_to_a_latecomer};
use super::stage::{Stage, ask};
use crate::faults::{Proof, Violation, ensure, fails, holds};
use crate::support::postgres::{Cluster, shared};
use crate::support::sse::{Ended, Reader};
use crate::support::{SOON, Server};

/// Would take a minute.
const ENDLESS: &str = "stream:3000@50";

/// Takes two seconds.
const LONG: &str = "stream:100@50";

/// Promised are two seconds; a busy test machine may take longer.
const CALLED_OFF_WITHIN: Duration = Duration::from_secs(5);

/// A sweep comes every 5 seconds, and a node that hears nothing looks every 2.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(15);

/// Node A writes a reply; on node B, which leaves replies to others, somebody watches it.
struct Scene {
    stage: Stage,
    a: Server,
    b: Server,
    conversation: String,
    message: String,
    watching: JoinHandle<(Reader, Ended)>,
}

impl Scene {
    async fn new(cluster: &Cluster, text: &str) -> Self {
        let stage = Stage::new(Some(cluster)).await;
        let a = stage
            .builder()
            .env("LOG_FILE", "a.log")
            .arg("serve")
            .start()
            .await;
        let b = stage
            .builder()
            .env("LOG_FILE", "b.log")
            .arg("serve")
            .arg("--no-replies")
            .start()
            .await;
        let conversation = a.client().conversation("on two nodes").await;
        let message = ask(&a.client(), &conversation, text, "p/m").await;
        let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let mut reader = Reader::of_conversation(b.address(), &conversation);
        let of = message.clone();
        let watching = tokio::spawn(async move {
            let ended = reader
                .read(|event| {
                    if event.is("reply.delta", &of) {
                        let _ = begun.send(());
                    }
                    event.ends_reply_to(&of)
                })
                .await;
            (reader, ended)
        });
        for _ in 0..3 {
            begins
                .recv()
                .await
                .expect("what A writes is told by B while it is written");
        }
        assert_eq!(stage.upstream.open(), 1, "it is being written");
        Self {
            stage,
            a,
            b,
            conversation,
            message,
            watching,
        }
    }
}

/// What somebody has seen is what a latecomer is told by this node, and what is stored; gives how often it began.
async fn judge(watched: (Reader, Ended), teller: &Server, conversation: &str, message: &str) -> Proof<usize> {
    let (reader, ended) = watched;
    ensure(ended == Ended::Found, || {
        format!("the stream ended with {ended:?}")
    })?;
    let latecomer = Reader::of_conversation(teller.address(), conversation);
    same(&reader.log, &told_to_a_latecomer(&latecomer, message).await)?;
    Stored::read(&teller.client(), conversation)
        .await
        .agrees_with(&reader.log)?;
    Ok(reader
        .log
        .iter()
        .filter(|event| &*event.name == "reply.started")
        .count())
}

async fn watched(watching: JoinHandle<(Reader, Ended)>, within: Duration) -> Proof<(Reader, Ended)> {
    let watched = timeout(within, watching).await;
    let watched = watched.map_err(|_| Violation(format!("late: no end within {within:?}")))?;
    Ok(watched.expect("a reader that ends"))
}

/// Stops the reply on B, if at all, and lets `tamper` at the database; gives when A let go.
async fn prove_stop(cluster: &Cluster, stops: bool, tamper: &str) -> Proof<Duration> {
    let scene = Scene::new(cluster, ENDLESS).await;
    let path = format!(
        "/conversations/{}/messages/{}/reply/cancel",
        scene.conversation, scene.message
    );
    let began = Instant::now();
    if stops {
        let reply = scene.b.client().post_json(&path, &json!({})).await.expect(200);
        ensure(
            reply["status"] == "cancelled" && reply["assistant_message_id"].is_string(),
            || format!("not cancelled: {reply}"),
        )?;
    }
    while scene.stage.upstream.dropped() == 0 {
        ensure(began.elapsed() < CALLED_OFF_WITHIN, || {
            "late: A goes on".to_owned()
        })?;
        sleep(Duration::from_millis(5)).await;
    }
    let took = began.elapsed();
    if !tamper.is_empty() {
        let database = scene.stage.database().expect("a database").client().await;
        database.batch_execute(tamper).await.expect("tampering");
    }
    let watched = watched(scene.watching, SOON).await?;
    judge(watched, &scene.a, &scene.conversation, &scene.message).await?;
    Ok(took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_one_node_writes_is_shown_and_stopped_by_another() {
    let Some(cluster) = shared().await else { return };
    holds(prove_stop(cluster, true, "").await, &crate::faults::new_home());
}

#[tokio::test]
async fn control_a_node_that_goes_on_is_seen() {
    let Some(cluster) = shared().await else { return };
    fails(prove_stop(cluster, false, "").await, "late");
}

#[tokio::test]
async fn control_a_text_that_was_kept_wrongly_is_seen() {
    let Some(cluster) = shared().await else { return };
    let tamper = "UPDATE messages SET text = 'another' WHERE role = 'assistant'";
    fails(prove_stop(cluster, true, tamper).await, "missing");
}

/// Kills A while it writes, lets its lease run out if `expires`, and starts a third node that works.
async fn prove_death(cluster: &Cluster, expires: bool, within: Duration) -> Proof<Duration> {
    let mut scene = Scene::new(cluster, LONG).await;
    scene.a.signal(Signal::KILL);
    scene.a.wait_exit(SOON).await;
    let died = Instant::now();
    if expires {
        // What half a minute does.
        let aged = "UPDATE replies SET lease_until = lease_until - 30000000 WHERE status = 'running'";
        let database = scene.stage.database().expect("a database").client().await;
        database.batch_execute(aged).await.expect("a lease that runs out");
    }
    let _c = scene
        .stage
        .builder()
        .env("LOG_FILE", "c.log")
        .arg("worker")
        .start()
        .await;
    let watched = watched(scene.watching, within).await?;
    let begun = judge(watched, &scene.b, &scene.conversation, &scene.message).await?;
    ensure(begun == 2, || format!("begun {begun} times"))?;
    Ok(died.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_whose_node_was_killed_is_written_anew_by_another() {
    let Some(cluster) = shared().await else { return };
    holds(
        prove_death(cluster, true, TAKEN_UP_WITHIN).await,
        &crate::faults::new_home(),
    );
}

#[tokio::test]
async fn control_a_reply_that_stays_with_the_dead_is_seen() {
    let Some(cluster) = shared().await else { return };
    fails(prove_death(cluster, false, TAKEN_UP_WITHIN / 2).await, "late");
}
