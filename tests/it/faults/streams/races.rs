//! Deleting, cancelling, asking again, watching and finishing, all at once and in any order: what is deleted stays deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::judge::{is_the_end, rises};
use super::stage::{Stage, ask};
use crate::faults::{Dice, Proof, Violation, database, ensure, fails, holds, number_from_env};
use crate::support::postgres::shared;
use crate::support::sse::{Ended, Event, Reader};
use crate::support::{Answer, Client, SOON, Server, eventually};

/// How many are under way at once.
const AT_ONCE: usize = 12;

/// A reply takes up to so many milliseconds, and so do those who disturb it.
const LONGEST: usize = 120;

#[derive(Debug, Default)]
struct Report {
    conversations_deleted: usize,
    messages_deleted: usize,
    answers: usize,
    statuses: BTreeSet<(&'static str, u16)>,
}

/// What somebody does to a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    DeleteConversation,
    DeleteMessage,
    Cancel,
    Retry,
}

impl Deed {
    const ALL: [Self; 4] = [
        Self::DeleteConversation,
        Self::DeleteMessage,
        Self::Cancel,
        Self::Retry,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::DeleteConversation => "delete the conversation",
            Self::DeleteMessage => "delete the message",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
        }
    }

    async fn is_done(self, client: &Client, conversation: &str, message: &str) -> u16 {
        let of_message = format!("/conversations/{conversation}/messages/{message}");
        let (method, path) = match self {
            Self::DeleteConversation => (Method::DELETE, format!("/conversations/{conversation}/delete")),
            Self::DeleteMessage => (Method::DELETE, of_message),
            Self::Cancel => (Method::POST, format!("{of_message}/reply/cancel")),
            Self::Retry => (Method::POST, format!("{of_message}/reply/retry")),
        };
        Answer::of(client.request(method, &path)).await.status
    }
}

/// One message, two who disturb its reply, and one who watches all of it.
async fn race(client: Client, reader: Reader, conversation: String, mut dice: Dice) -> Proof<Report> {
    let length = 1 + dice.below(LONGEST / 10);
    let (text, model) = match dice.below(4) {
        0 => ("hello".to_owned(), "rules"),
        _ => (format!("stream:{length}@100"), "p/m"),
    };
    let message = ask(&client, &conversation, &text, model).await;
    let mut deeds = JoinSet::new();
    for _ in 0..2 {
        let deed = Deed::ALL[dice.below(Deed::ALL.len())];
        let pause = Duration::from_millis(dice.below(LONGEST) as u64);
        let (client, conversation, message) = (client.clone(), conversation.clone(), message.clone());
        deeds.spawn(async move {
            sleep(pause).await;
            (deed, deed.is_done(&client, &conversation, &message).await)
        });
    }
    let watching = tokio::spawn(watch(reader));
    let mut report = Report::default();
    let mut is_gone = false;
    while let Some(done) = deeds.join_next().await {
        let (deed, status) = done.expect("a deed that is done");
        ensure(matches!(status, 200 | 202 | 204 | 404 | 409), || {
            format!("refused: {status} to whoever wanted to {}", deed.name())
        })?;
        report.statuses.insert((deed.name(), status));
        is_gone |= deed == Deed::DeleteConversation && status == 200;
        report.messages_deleted += usize::from(deed == Deed::DeleteMessage && status == 204);
    }
    let listing = format!("/conversations/{conversation}/messages?page_size=100");
    if is_gone {
        report.conversations_deleted = 1;
        report.messages_deleted = 0;
        let gone = client.get(&listing).await.status;
        ensure(gone == 404, || format!("came back: {gone} for what was deleted"))?;
        let (log, ended) = watching.await.expect("a reader that ends");
        let last = log.last().map(|event| event.name.clone());
        let is_first = matches!(ended, Ended::Refused(404)) && log.is_empty();
        ensure(
            is_first || last.as_deref() == Some("conversation.deleted"),
            || format!("the stream ended with {ended:?} after {last:?}"),
        )?;
        return Ok(report);
    }
    if report.messages_deleted == 0 {
        is_final(&client, &conversation, &message).await?;
    }
    client.message(&conversation, "assistant", "the end").await;
    let (log, ended) = watching.await.expect("a reader that ends");
    ensure(ended == Ended::Found, || {
        format!("the stream ended with {ended:?}")
    })?;
    let page = client.get(&listing).await.expect(200);
    report.answers = agrees(&log, &message, &page)?;
    Ok(report)
}

async fn watch(mut reader: Reader) -> (Vec<Event>, Ended) {
    let is_end = |event: &Event| &*event.name == "conversation.deleted" || is_the_end(event);
    let ended = reader.read_on("a race ends", 3 * SOON, is_end).await;
    (reader.log, ended)
}

async fn is_final(client: &Client, conversation: &str, message: &str) -> Proof<()> {
    let path = format!("/conversations/{conversation}/messages/{message}/reply");
    for _ in 0..2_000 {
        let reply = client.get(&path).await.expect(200);
        if !matches!(reply["status"].as_str(), Some("queued" | "running")) {
            return Ok(());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Err(Violation("unfinished: a reply that nobody deleted".to_owned()))
}

/// What was told of messages is what is listed, and nothing was told of a message after its deletion; gives how many
/// answers there are.
pub(super) fn agrees(log: &[Event], message: &str, page: &Value) -> Proof<usize> {
    rises(log)?;
    let mut there: Vec<String> = Vec::new();
    let mut is_deleted = false;
    for event in log {
        let payload = event.payload();
        let is_about_it = payload["message_id"] == message;
        let answers = &*event.name == "message.created" && !is_the_end(event);
        ensure(!(is_deleted && (is_about_it || answers)), || {
            format!("told after it was deleted: {event:?}")
        })?;
        match &*event.name {
            "message.created" => there.push(text(&payload["message"]["message_id"])),
            "message.deleted" => {
                is_deleted |= is_about_it;
                there.retain(|id| payload["message_id"] != **id);
            }
            _ => {}
        }
    }
    let results = page["results"].as_array().expect("messages");
    let mut listed: Vec<_> = results
        .iter()
        .map(|message| text(&message["message_id"]))
        .collect();
    // An answer that is written anew is told later than its place in the list says.
    listed.sort();
    there.sort();
    ensure(listed == there, || {
        format!("differs: {there:?} was told, and {listed:?} is listed")
    })?;
    Ok(listed.len() - 1 - usize::from(!is_deleted))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Rows of what is gone, and rows that name what is not there.
const LEFT_OVER: &[&str] = &[
    "SELECT count(*) FROM messages WHERE conversation_id NOT IN (SELECT id FROM conversations)",
    "SELECT count(*) FROM events WHERE conversation_id NOT IN (SELECT id FROM conversations)",
    "SELECT count(*) FROM replies WHERE message_id NOT IN (SELECT id FROM messages)",
    "SELECT count(*) FROM messages WHERE reply_to NOT IN (SELECT id FROM messages)",
    "SELECT count(*) FROM events WHERE kind = 'delta' AND reply_id NOT IN (SELECT message_id FROM replies)",
];

async fn left_over(stage: &Stage) -> i64 {
    let mut left = 0;
    for count in LEFT_OVER {
        left += match stage.database() {
            None => database(stage.home.path())
                .query_row(count, (), |row| row.get::<_, i64>(0))
                .expect("a count"),
            Some(database) => {
                let row = database
                    .client()
                    .await
                    .query_one(*count, &[])
                    .await
                    .expect("a count");
                row.get::<_, i64>(0)
            }
        };
    }
    left
}

async fn prove(stage: &Stage, races: usize, tamper: &str) -> Proof<Report> {
    let server = stage.start().await;
    let mut dice = Dice::roll("races");
    let (client, mut running, mut report) = (server.client(), JoinSet::new(), Report::default());
    for number in 0..races + AT_ONCE {
        if number < races {
            let conversation = client.conversation("raced over").await;
            let reader = Reader::of_conversation(server.address(), &conversation);
            running.spawn(race(client.clone(), reader, conversation, Dice::of(dice.next())));
        }
        if number >= AT_ONCE {
            let one = running
                .join_next()
                .await
                .expect("a race")
                .expect("a race that ends")?;
            report.conversations_deleted += one.conversations_deleted;
            report.messages_deleted += one.messages_deleted;
            report.answers += one.answers;
            report.statuses.extend(one.statuses);
        }
    }
    if !tamper.is_empty() {
        database(stage.home.path())
            .execute_batch(tamper)
            .expect("tampering");
    }
    let mut left = left_over(stage).await;
    for _ in 0..40 {
        if left == 0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
        left = left_over(stage).await;
    }
    ensure(left == 0, || {
        format!("left over: {left} rows of what was deleted")
    })?;
    settles(stage, &server).await?;
    Ok(report)
}

/// Nobody writes any more, and nothing went wrong in it.
async fn settles(stage: &Stage, server: &Server) -> Proof<()> {
    eventually("every call ends", SOON, async || {
        (stage.upstream.open() == 0).then_some(())
    })
    .await;
    let log = server.log();
    let wrong = log
        .lines()
        .find(|line| line.contains(" ERROR ") || line.contains("panicked"));
    ensure(wrong.is_none(), || format!("the log says {wrong:?}"))
}

fn races() -> usize {
    number_from_env("ENGAGEMENT_TEST_RACES", 500)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_in_a_race_stays_deleted() {
    let stage = Stage::new(None).await;
    holds(prove(&stage, races(), "").await, &stage.home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_in_a_race_stays_deleted_in_postgresql() {
    let Some(cluster) = shared().await else { return };
    let stage = Stage::new(Some(cluster)).await;
    holds(prove(&stage, races(), "").await, &stage.home);
}

#[tokio::test]
async fn control_a_row_that_is_left_over_is_seen() {
    let tamper =
        "INSERT INTO events (conversation_id, number, kind, at) VALUES (randomblob(16), 1, 'deleted', 1)";
    fails(prove(&Stage::new(None).await, 10, tamper).await, "left over");
}

#[test]
fn control_what_is_told_after_a_deletion_is_seen() {
    let event = |number, name: &str, data: Value| Event {
        number: Some(number),
        name: name.into(),
        data: data.to_string().into(),
    };
    let (question, answer) = ("the question", "the answer");
    let created = |id: &str| serde_json::json!({ "message": { "message_id": id, "text": "said" } });
    let of = |id: &str| serde_json::json!({ "message_id": id });
    let page = |ids: &[&str]| {
        let results: Vec<_> = ids.iter().map(|id| of(id)).collect();
        serde_json::json!({ "results": results })
    };
    let log = [
        event(1, "message.created", created(question)),
        event(2, "message.created", created(answer)),
        event(3, "message.deleted", of(question)),
    ];
    let end = event(
        4,
        "message.created",
        serde_json::json!({ "message": { "message_id": "e", "text": "the end" } }),
    );
    let whole = [&log[..], &[end]].concat();
    assert_eq!(
        agrees(&whole, question, &page(&[answer, "e"])).expect("what holds"),
        1
    );

    fails(agrees(&whole, question, &page(&["e"])), "differs");
    for late in [
        event(5, "reply.delta", of(question)),
        event(5, "message.created", created("another")),
    ] {
        fails(
            agrees(&[&whole[..], &[late]].concat(), question, &page(&[])),
            "told after it was deleted",
        );
    }
}
