//! V7 to V10, V12, V14: replies that are watched while they are written.

use std::time::Duration;

use engagement::{
    model::{Failure, Timestamp},
    provider::{Refusal, scripted::Step},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Database, Rows, inside::Inside};
use crate::support::{Answer, Came, EventStream, Frame, SOON, names, written};

fn pieces(texts: &[&str]) -> Step {
    Step::Pieces(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn events(conversation: &str) -> String {
    format!("/conversations/{conversation}/events")
}

fn reply_of(conversation: &str, message: &str) -> String {
    format!("/conversations/{conversation}/messages/{message}/reply")
}

/// The text of a message.
async fn text(service: &Inside, conversation: &str, message: &Value) -> String {
    let message = message.as_str().expect("an id");
    let path = format!("/conversations/{conversation}/messages/{message}");
    let message = service.get(&path).await.expect(200);
    message["text"].as_str().expect("a text").to_owned()
}

/// Watches a reply being written, letting it go on whenever another piece was seen.
async fn step_by_step(service: &Inside, stream: &mut EventStream) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = stream.next().await {
        if frame.name == "reply.delta" {
            service.provider.release();
        }
        let is_last = frame.name == "reply.succeeded";
        frames.push(frame);
        if is_last {
            break;
        }
    }
    frames
}

/// V2, V3, V7: each piece before the next one is written
pub(super) async fn a_reply_is_told_as_it_is_written(on: Database) {
    let service = on.inside([pieces(&[" Once", " upon", " a time. "])]).await;
    let conversation = service.conversation("a story").await;
    let mut stream = service.watch(&events(&conversation)).await;
    service.message(&conversation, "user", "Tell me.").await;

    let frames = step_by_step(&service, &mut stream).await;

    assert_eq!(
        names(&frames),
        [
            "message.created",
            "reply.queued",
            "reply.started",
            "reply.delta",
            "reply.delta",
            "reply.delta",
            "message.created",
            "reply.succeeded",
        ]
    );
    let answer = &frames[7].data["assistant_message_id"];
    assert_eq!(written(&frames), text(&service, &conversation, answer).await);
    assert_eq!(written(&frames), "Once upon a time.");
    assert_eq!(frames[6].data["message"]["message_id"], *answer);
    let later = service.watch(&events(&conversation)).await.take(8).await;
    assert_eq!(later, frames, "and whoever comes later sees the same");
    for frame in &frames {
        for private in ["scripted", "usage", "model", "provider"] {
            assert!(!frame.bytes.contains(private), "{private} in {}", frame.bytes);
        }
    }
}

/// V7: what a failed try had written is void
pub(super) async fn a_reply_that_starts_anew_is_told_anew(on: Database) {
    let again = Refusal::Retry {
        after: Some(Duration::ZERO),
        failure: Failure::new("overloaded", "The provider is overloaded."),
    };
    let service = on
        .inside([
            Step::Break(vec!["A false".to_owned()], again),
            pieces(&["A true", " start."]),
        ])
        .await;
    let conversation = service.conversation("a story").await;
    let mut stream = service.watch(&events(&conversation)).await;
    service.message(&conversation, "user", "Tell me.").await;

    let frames = step_by_step(&service, &mut stream).await;

    let started: Vec<&Value> = frames
        .iter()
        .filter(|frame| frame.name == "reply.started")
        .map(|frame| &frame.data["attempt"])
        .collect();
    assert_eq!(started, [&json!(1), &json!(2)]);
    let last = frames.last().expect("an event");
    assert_eq!(written(&frames), "A true start.");
    assert_eq!(
        text(&service, &conversation, &last.data["assistant_message_id"]).await,
        "A true start."
    );
}

/// V8: and the numbers around them stay
pub(super) async fn forgotten_pieces_come_as_one(on: Database) {
    let service = on.inside([pieces(&["Once", " upon", " a time."])]).await;
    let conversation = service.conversation("a story").await;
    let mut stream = service.watch(&events(&conversation)).await;
    service.message(&conversation, "user", "Tell me.").await;
    let before = step_by_step(&service, &mut stream).await;

    let forgotten = service.store.prune_deltas(Timestamp::from_micros(i64::MAX)).await;

    assert_eq!(forgotten.ok(), Some(1));
    let after = service
        .watch(&events(&conversation))
        .await
        .until("reply.succeeded")
        .await;
    assert_eq!(written(&after), written(&before));
    assert_eq!(
        names(&after),
        [
            "message.created",
            "reply.queued",
            "reply.started",
            "reply.delta",
            "message.created",
            "reply.succeeded",
        ]
    );
    assert_eq!(after[..2], before[..2]);
    assert_eq!(after[4..], before[6..]);
    // Whoever was cut off in the middle gets the text from its beginning.
    let cut_off = before[4].id.expect("a number");
    let rest = service
        .watch(&format!("{}?after={cut_off}", events(&conversation)))
        .await;
    let mut rest = rest;
    assert_eq!(rest.take(4).await, after[2..]);
}

/// V9: of this one and no other
pub(super) async fn a_reply_has_a_stream_of_its_own(on: Database) {
    let service = on
        .inside([Step::Answer("first".into()), pieces(&["sec", "ond"])])
        .await;
    let conversation = service.conversation("two").await;
    let first = service.message(&conversation, "user", "one").await;
    let second = service.message(&conversation, "user", "two").await;
    let path = format!("{}?stream=true", reply_of(&conversation, &second));
    let mut stream = service.watch(&path).await;

    let frames = step_by_step(&service, &mut stream).await;

    assert_eq!(stream.came().await, Came::End);
    assert_eq!(written(&frames), "second");
    assert!(
        frames.iter().all(|frame| !frame.bytes.contains(&first)),
        "{frames:#?}"
    );
    let all = service.watch(&events(&conversation)).await.take(13).await;
    assert!(frames.iter().all(|frame| all.contains(frame)), "{all:#?}");
    for (seen, frame) in frames.iter().enumerate().take(frames.len() - 1) {
        let path = format!("{path}&after={}", frame.id.expect("a number"));
        let rest = service.watch(&path).await.rest().await;
        assert_eq!(rest, frames[seen + 1..], "after {}", frame.name);
    }
}

/// V9: and ends each at its end
pub(super) async fn the_latest_try_is_what_a_stream_begins_with(on: Database) {
    let service = on
        .inside([Step::Answer("old".into()), Step::Answer("new".into())])
        .await;
    let conversation = service.conversation("again").await;
    let message = service.message(&conversation, "user", "one").await;
    let path = reply_of(&conversation, &message);
    service.finished_reply(&conversation, &message).await;
    service
        .post_json(&format!("{path}/retry"), &json!({}))
        .await
        .expect(202);
    service.finished_reply(&conversation, &message).await;

    let latest = service.watch(&format!("{path}?stream=1")).await.rest().await;
    let earliest = service
        .watch(&format!("{path}?stream=1&after=0"))
        .await
        .rest()
        .await;

    assert_eq!(
        (names(&latest)[0], written(&latest).as_str()),
        ("reply.queued", "new")
    );
    assert_eq!(names(&earliest).last(), Some(&"reply.succeeded"));
    let after = earliest.last().and_then(|frame| frame.id).expect("a number");
    let rest = service
        .watch(&format!("{path}?stream=1&after={after}"))
        .await
        .rest()
        .await;
    assert_eq!(rest, latest);
}

/// V10: nothing to come back for
pub(super) async fn a_reply_that_was_seen_to_its_end_has_no_more(on: Database) {
    let service = on.inside([Step::Answer("an answer".into())]).await;
    let conversation = service.conversation("end").await;
    let message = service.message(&conversation, "user", "one").await;
    service.finished_reply(&conversation, &message).await;
    let path = reply_of(&conversation, &message);
    let frames = service.watch(&format!("{path}?stream=true")).await.rest().await;
    let last = frames.last().and_then(|frame| frame.id).expect("a number");

    let request = service
        .request(Method::GET, &path)
        .header("accept", "text/event-stream");
    let answer = Answer::of(request.header("last-event-id", last)).await;

    assert_eq!((answer.status, answer.text()), (204, String::new()));
    service
        .post_json(&format!("{path}/retry"), &json!({}))
        .await
        .expect(202);
    let mut stream = service.watch(&format!("{path}?stream=true&after={last}")).await;
    assert_eq!(
        stream.next().await.map(|frame| frame.name),
        Some("reply.queued".to_owned())
    );
}

/// V9, R12: by parameter or by type
pub(super) async fn a_stream_is_asked_for_by_its_type(on: Database) {
    let service = on.inside([Step::Answer("an answer".into())]).await;
    let conversation = service.conversation("types").await;
    let message = service.message(&conversation, "user", "one").await;
    service.finished_reply(&conversation, &message).await;
    let path = reply_of(&conversation, &message);
    let mut rows = Rows::default();
    for (query, accept, wanted) in [
        ("", "*/*", "application/json"),
        ("", "text/*", "application/json"),
        ("", "text/event-stream", "text/event-stream"),
        (
            "",
            "application/json, Text/Event-Stream;q=0.5",
            "text/event-stream",
        ),
        ("?stream=", "text/event-stream", "text/event-stream"),
        ("?stream=false", "text/event-stream", "application/json"),
        ("?stream=0", "text/event-stream", "application/json"),
        ("?stream=true", "application/json", "text/event-stream"),
        ("?stream=1", "*/*", "text/event-stream"),
        ("?stream=0&stream=1", "*/*", "text/event-stream"),
    ] {
        let request = service.request(Method::GET, &format!("{path}{query}"));
        let answer = Answer::of(request.header("accept", accept)).await;
        let got = (answer.status, answer.header("content-type"));
        rows.equal(format!("{query} {accept}"), got, (200, wanted));
    }
    for wrong in ["True", "yes", "2", "%20", "null"] {
        let answer = service.get(&format!("{path}?stream={wrong}")).await;
        rows.error(
            wrong,
            &answer,
            400,
            &json!({ "stream": ["Must be a valid boolean."] }),
        );
    }
}

/// V12, V4: the last event, and the end
pub(super) async fn a_deleted_conversation_ends_its_streams(on: Database) {
    let service = on.inside([pieces(&["Once", " upon"])]).await;
    let conversation = service.conversation("a story").await;
    let message = service.message(&conversation, "user", "Tell me.").await;
    let of_reply = format!("{}?stream=true", reply_of(&conversation, &message));
    let mut streams = [
        service.watch(&events(&conversation)).await,
        service.watch(&of_reply).await,
    ];
    for stream in &mut streams {
        stream.until("reply.delta").await;
    }

    service
        .delete(&format!("/conversations/{conversation}/delete"))
        .await
        .expect(200);

    let wanted = format!("event: conversation.deleted\ndata: {{\"conversation_id\":\"{conversation}\"}}\n\n");
    for stream in &mut streams {
        let rest = tokio::time::timeout(SOON, stream.rest()).await.expect("the end");
        assert_eq!(
            rest.iter().map(|frame| frame.bytes.as_str()).collect::<Vec<_>>(),
            [wanted.as_str()]
        );
    }
    assert_eq!(service.get(&events(&conversation)).await.status, 404);
}

/// V3, S3: why there is no answer
pub(super) async fn a_failure_is_told_with_its_reason(on: Database) {
    let refusal = Refusal::Fail(Failure::new("overloaded", "The provider is overloaded."));
    let service = on.inside([Step::Refuse(refusal)]).await;
    let conversation = service.conversation("failing").await;
    let message = service.message(&conversation, "user", "Tell me.").await;

    let frames = service
        .watch(&events(&conversation))
        .await
        .until("reply.failed")
        .await;

    let data = &frames.last().expect("an event").data;
    let error = json!({ "code": "overloaded", "message": "The provider is overloaded." });
    assert_eq!((&data["message_id"], &data["error"]), (&json!(message), &error));
    let reply = service.get(&reply_of(&conversation, &message)).await.expect(200);
    assert_eq!(reply["error"], error);
    let retried = service
        .post_json(
            &format!("{}/retry", reply_of(&conversation, &message)),
            &json!({}),
        )
        .await;
    assert_eq!(retried.expect(202)["status"], "queued");
    let earlier = service
        .get(&format!("{}/attempts", reply_of(&conversation, &message)))
        .await
        .expect(200);
    assert_eq!(
        (&earlier["results"][0]["error"], &earlier["results"][0]["text"]),
        (&error, &Value::Null)
    );
}
