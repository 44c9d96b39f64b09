//! Deletion while a reply is written and watched: those who watch are told and let go, and the provider is called off.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::judge::is_the_end;
use super::races::agrees;
use super::stage::{Stage, ask};
use crate::faults::{Proof, Violation, ensure, fails, holds};
use crate::support::sse::{Ended, Reader};
use crate::support::{Answer, Client, Server};

/// Would take a minute.
const ENDLESS: &str = "stream:3000@50";

/// Promised is a second; a busy test machine may take longer.
const WITHIN: Duration = Duration::from_secs(4);

/// Two who watch a reply that is being written: its conversation, and it alone.
struct Scene {
    stage: Stage,
    server: Server,
    conversation: String,
    message: String,
    of_conversation: JoinHandle<(Reader, Ended)>,
    of_reply: JoinHandle<(Reader, Ended)>,
}

impl Scene {
    async fn new() -> Self {
        let stage = Stage::new(None).await;
        let server = stage.start().await;
        let client = server.client();
        let conversation = client.conversation("deleted in mid-stream").await;
        let message = ask(&client, &conversation, ENDLESS, "p/m").await;
        let of_conversation = watch(Reader::of_conversation(server.address(), &conversation), &message).await;
        let of_reply = watch(
            Reader::of_reply(server.address(), &conversation, &message),
            &message,
        )
        .await;
        Self {
            stage,
            server,
            conversation,
            message,
            of_conversation,
            of_reply,
        }
    }

    /// Waits until the provider has noticed that nobody wants its answer.
    async fn is_called_off(&self) -> Proof<()> {
        let began = Instant::now();
        while self.stage.upstream.dropped() == 0 {
            ensure(began.elapsed() < WITHIN, || {
                "late: the provider goes on".to_owned()
            })?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// Watches until the server ends the stream, or an assistant says that this is the end; answers when the reply is being written.
async fn watch(mut reader: Reader, message: &str) -> JoinHandle<(Reader, Ended)> {
    let (begun, begins) = oneshot::channel();
    let (mut begun, message) = (Some(begun), message.to_owned());
    let watching = tokio::spawn(async move {
        let ended = reader
            .read(|event| {
                if event.is("reply.delta", &message)
                    && let Some(begun) = begun.take()
                {
                    let _ = begun.send(());
                }
                is_the_end(event)
            })
            .await;
        (reader, ended)
    });
    begins.await.expect("the reply begins");
    watching
}

async fn ends_in_time(watching: JoinHandle<(Reader, Ended)>) -> Proof<(Reader, Ended)> {
    let ended = tokio::time::timeout(WITHIN, watching).await;
    let ended = ended.map_err(|_| Violation(format!("late: not told within {WITHIN:?}")))?;
    Ok(ended.expect("a reader that ends"))
}

/// Whether a stream was ended by the server, after this event.
fn ended_with(reader: &Reader, ended: Ended, name: &str) -> Proof<()> {
    let last = reader.log.last().map(|event| &*event.name);
    ensure(
        ended == Ended::Cleanly && last == Some(name) && reader.halves == 0,
        || format!("the stream ended with {ended:?} after {last:?}"),
    )
}

async fn delete(client: &Client, path: &str, status: u16) {
    let answer = Answer::of(client.request(Method::DELETE, path)).await;
    assert_eq!(answer.status, status, "{}", answer.text());
}

async fn prove_conversation(meddle: impl AsyncFn(&Scene)) -> Proof<Duration> {
    let scene = Scene::new().await;
    let began = Instant::now();
    meddle(&scene).await;
    scene.is_called_off().await?;
    for watching in [scene.of_conversation, scene.of_reply] {
        let (reader, ended) = ends_in_time(watching).await?;
        ended_with(&reader, ended, "conversation.deleted")?;
    }
    let took = began.elapsed();
    let mut late = Reader::of_conversation(scene.server.address(), &scene.conversation);
    let refused = late.read(|_| true).await;
    ensure(refused == Ended::Refused(404), || {
        format!("a latecomer gets {refused:?}")
    })?;
    Ok(took)
}

#[tokio::test]
async fn whoever_watches_a_conversation_that_is_deleted_is_told_and_let_go() {
    let proof = prove_conversation(async |scene| {
        let path = format!("/conversations/{}/delete", scene.conversation);
        delete(&scene.server.client(), &path, 200).await;
    });
    holds(proof.await, &crate::faults::new_home());
}

#[tokio::test]
async fn control_a_conversation_that_stays_is_seen() {
    fails(prove_conversation(async |_| {}).await, "late");
}

#[tokio::test]
async fn control_a_reply_that_only_ends_is_seen() {
    let proof = prove_conversation(async |scene| cancel(scene).await);
    fails(proof.await, "late");
}

async fn cancel(scene: &Scene) {
    let Scene {
        conversation,
        message,
        ..
    } = scene;
    let path = format!("/conversations/{conversation}/messages/{message}/reply/cancel");
    scene
        .server
        .client()
        .post_json(&path, &json!({}))
        .await
        .expect(200);
}

async fn prove_message(meddle: impl AsyncFn(&Scene)) -> Proof<()> {
    let scene = Scene::new().await;
    let client = scene.server.client();
    meddle(&scene).await;
    scene.is_called_off().await?;
    let (reader, ended) = ends_in_time(scene.of_reply).await?;
    ended_with(&reader, ended, "message.deleted")?;
    // The conversation goes on.
    client.message(&scene.conversation, "assistant", "the end").await;
    let (reader, ended) = ends_in_time(scene.of_conversation).await?;
    ensure(ended == Ended::Found, || {
        format!("the stream ended with {ended:?}")
    })?;
    let deleted = reader
        .log
        .iter()
        .position(|event| event.is("message.deleted", &scene.message));
    let after = deleted
        .map(|at| reader.log[at + 1..].to_vec())
        .unwrap_or_default();
    ensure(after.len() == 1 && is_the_end(&after[0]), || {
        format!("told after it was deleted: {after:?}")
    })
}

#[tokio::test]
async fn whoever_watches_a_reply_whose_message_is_deleted_is_told_and_let_go() {
    let proof = prove_message(async |scene| {
        let path = format!("/conversations/{}/messages/{}", scene.conversation, scene.message);
        delete(&scene.server.client(), &path, 204).await;
    });
    holds(proof.await, &crate::faults::new_home());
}

#[tokio::test]
async fn control_a_message_that_stays_is_seen() {
    fails(prove_message(async |_| {}).await, "late");
    fails(
        prove_message(async |scene| cancel(scene).await).await,
        "the stream ended with",
    );
}

/// An answer that was seen by those who watched is deleted; then latecomers are told what there is.
async fn prove_answer(deletes: bool) -> Proof<usize> {
    let stage = Stage::new(None).await;
    let server = stage.start().await;
    let client = server.client();
    let conversation = client.conversation("with an answer too many").await;
    let message = ask(&client, &conversation, "stream:20@100", "p/m").await;
    let reply = client.finished_reply(&conversation, &message).await;
    let answer = reply["assistant_message_id"]
        .as_str()
        .expect("an answer")
        .to_owned();
    if deletes {
        delete(
            &client,
            &format!("/conversations/{conversation}/messages/{answer}"),
            204,
        )
        .await;
    }
    client.message(&conversation, "assistant", "the end").await;
    let mut events = 0;
    for mut reader in [
        Reader::of_conversation(server.address(), &conversation),
        Reader::of_reply(server.address(), &conversation, &message),
    ] {
        reader.read(is_the_end).await;
        let told = reader.log.iter().find(|event| event.data.contains("t7"));
        ensure(told.is_none(), || {
            format!("told although it is deleted: {told:?}")
        })?;
        ensure(
            reader.log.iter().any(|event| event.ends_reply_to(&message)),
            || "the reply has no end".to_owned(),
        )?;
        events += reader.log.len();
    }
    Ok(events)
}

#[tokio::test]
async fn an_answer_that_was_deleted_is_told_to_no_latecomer() {
    holds(prove_answer(true).await, &crate::faults::new_home());
}

#[tokio::test]
async fn control_an_answer_that_stays_is_told() {
    fails(prove_answer(false).await, "told although it is deleted");
}

/// Somebody watches up to an event of this name; then the answer is written anew, if at all, and the question is deleted. Whoever
/// comes back knows what is there.
async fn prove_coming_back(until: &str, anew: bool, forgets: bool) -> Proof<usize> {
    let stage = Stage::new(None).await;
    let server = stage.start().await;
    let client = server.client();
    let conversation = client
        .conversation("with an answer that outlives its question")
        .await;
    let message = ask(&client, &conversation, "hello", "rules").await;
    let mut reader = Reader::of_conversation(server.address(), &conversation);
    reader.read(|event| event.is(until, &message)).await;
    client.finished_reply(&conversation, &message).await;
    let path = format!("/conversations/{conversation}/messages/{message}");
    if anew {
        client
            .post_json(&format!("{path}/reply/retry"), &json!({}))
            .await
            .expect(202);
        client.finished_reply(&conversation, &message).await;
    }
    delete(&client, &path, 204).await;
    client.message(&conversation, "assistant", "the end").await;
    reader.read(is_the_end).await;
    if forgets {
        reader.log.retain(|event| !event.is("message.deleted", &message));
    }
    let page = client
        .get(&format!("/conversations/{conversation}/messages"))
        .await
        .expect(200);
    agrees(&reader.log, &message, &page)
}

#[tokio::test]
async fn whoever_comes_back_is_told_of_an_answer_that_outlives_its_question() {
    holds(
        prove_coming_back("reply.queued", false, false).await,
        &crate::faults::new_home(),
    );
    holds(
        prove_coming_back("reply.delta", false, false).await,
        &crate::faults::new_home(),
    );
    holds(
        prove_coming_back("reply.succeeded", false, false).await,
        &crate::faults::new_home(),
    );
}

#[tokio::test]
async fn whoever_comes_back_is_told_that_an_answer_was_replaced_whose_question_is_gone() {
    holds(
        prove_coming_back("reply.queued", true, false).await,
        &crate::faults::new_home(),
    );
    holds(
        prove_coming_back("reply.succeeded", true, false).await,
        &crate::faults::new_home(),
    );
}

#[tokio::test]
async fn control_a_deletion_that_is_not_told_is_seen() {
    fails(prove_coming_back("reply.queued", false, true).await, "differs");
}
