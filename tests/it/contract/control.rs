//! C7, C8, C11, C12: what is done about replies that are being written.

use engagement::provider::scripted::Step;
use serde_json::{Value, json};

use super::{Database, assert_error, inside::Inside};
use crate::support::{Answer, SOON, eventually, names};

pub(super) fn unfinished() -> Value {
    json!({ "detail": ["A reply of this conversation is unfinished."] })
}

pub(super) fn pieces(texts: &[&str]) -> Step {
    Step::Pieces(texts.iter().map(|text| (*text).to_owned()).collect())
}

pub(super) fn events(conversation: &str) -> String {
    format!("/conversations/{conversation}/events")
}

pub(super) fn reply_of(conversation: &str, message: &str) -> String {
    format!("/conversations/{conversation}/messages/{message}/reply")
}

pub(super) async fn ask(service: &Inside, conversation: &str, busy: &Value) -> Answer {
    let path = format!("/conversations/{conversation}/messages/create");
    let body = json!({ "role": "user", "text": "another", "busy": busy });
    service.post_json(&path, &body).await
}

/// A conversation with this policy in which a reply is being written, of which something can be seen.
pub(super) async fn busy(service: &Inside, busy: &str) -> (String, String) {
    let body = json!({ "description": "busy", "busy": busy });
    let made = service.post_json("/conversations/", &body).await.expect(201);
    let conversation = made["conversation_id"].as_str().expect("an id").to_owned();
    let message = service.message(&conversation, "user", "one").await;
    service
        .watch(&events(&conversation))
        .await
        .until("reply.delta")
        .await;
    (conversation, message)
}

async fn status(service: &Inside, conversation: &str, message: &str) -> String {
    let reply = service.get(&reply_of(conversation, message)).await.expect(200);
    reply["status"].as_str().expect("a status").to_owned()
}

pub(super) async fn order(service: &Inside, conversation: &str, message: &str, what: &str) -> Answer {
    let path = format!("{}/{what}", reply_of(conversation, message));
    service.post_json(&path, &json!({})).await
}

/// C7: one after the other
pub(super) async fn messages_of_a_busy_conversation_queue(on: Database) {
    let service = on
        .inside([pieces(&["first"]), Step::Answer("second".into())])
        .await;
    let (conversation, one) = busy(&service, "queue").await;

    let other = ask(&service, &conversation, &Value::Null).await.expect(201);

    let other = other["message_id"].as_str().expect("an id");
    assert_eq!(status(&service, &conversation, other).await, "queued");
    assert_eq!(service.provider.calls(), 1);
    service.provider.release();
    service.finished_reply(&conversation, other).await;
    assert_eq!(status(&service, &conversation, &one).await, "succeeded");
    assert_eq!(
        service.texts(&conversation).await,
        ["one", "another", "first", "second"]
    );
}

/// C7, E4: nothing is stored
pub(super) async fn a_busy_conversation_can_reject_a_message(on: Database) {
    let service = on.inside([pieces(&["first"])]).await;
    let (conversation, one) = busy(&service, "reject").await;

    assert_error(
        &ask(&service, &conversation, &Value::Null).await,
        409,
        &unfinished(),
    );

    service.message(&conversation, "assistant", "by hand").await;
    assert_eq!(service.texts(&conversation).await, ["one", "by hand"]);
    service.provider.release();
    service.finished_reply(&conversation, &one).await;
    ask(&service, &conversation, &Value::Null).await.expect(201);
}

/// C7, C8: what was written is kept
pub(super) async fn a_message_can_interrupt_what_is_being_written(on: Database) {
    let service = on
        .inside([pieces(&["first", "never"]), Step::Answer("second".into())])
        .await;
    let (conversation, one) = busy(&service, "interrupt").await;

    let other = ask(&service, &conversation, &Value::Null).await.expect(201);

    assert_eq!(status(&service, &conversation, &one).await, "cancelled");
    service
        .finished_reply(&conversation, other["message_id"].as_str().expect("an id"))
        .await;
    assert_eq!(
        service.texts(&conversation).await,
        ["one", "first", "another", "second"]
    );
    eventually("the provider is let go", SOON, async || {
        (service.provider.called_off() == 1).then_some(())
    })
    .await;
}

/// C1, C7: a message's word comes before its conversation's
pub(super) async fn a_message_says_itself_what_to_do_when_busy(on: Database) {
    let service = on.inside([pieces(&["first"])]).await;
    let (conversation, _) = busy(&service, "reject").await;

    ask(&service, &conversation, &json!("queue")).await.expect(201);
    assert_error(
        &ask(&service, &conversation, &json!("reject")).await,
        409,
        &unfinished(),
    );
}

/// C7: whoever looks at nothing but the message has nothing to wait for
pub(super) async fn the_rules_are_never_busy(on: Database) {
    let service = on.service().await;
    let body = json!({ "description": "busy", "busy": "reject" });
    let made = service.post_json("/conversations/", &body).await.expect(201);
    let conversation = made["conversation_id"].as_str().expect("an id").to_owned();
    for _ in 0..20 {
        service.message(&conversation, "user", "hello").await;
    }
}

/// C8, V3: up to the last piece that was told, once
pub(super) async fn cancelling_keeps_what_was_written(on: Database) {
    let service = on
        .inside([pieces(&[" As far as", " here", " and no further"])])
        .await;
    let (conversation, one) = busy(&service, "queue").await;
    let mut stream = service.watch(&events(&conversation)).await;
    service.provider.release();
    let mut told = stream.until("reply.delta").await;
    told.extend(stream.until("reply.delta").await);

    let cancelled = order(&service, &conversation, &one, "cancel").await;

    let reply = cancelled.expect(200);
    assert_eq!(reply["status"], "cancelled");
    let kept = reply["assistant_message_id"].as_str().expect("an answer");
    let kept = service
        .get(&format!("/conversations/{conversation}/messages/{kept}"))
        .await
        .expect(200);
    assert_eq!(kept["text"], "As far as here");
    let rest = stream.until("reply.cancelled").await;
    assert_eq!(names(&rest), ["message.created", "reply.cancelled"]);
    assert_eq!(rest[1].data["assistant_message_id"], kept["message_id"]);
    assert_eq!(rest[1].data["message_id"], one);
    let again = order(&service, &conversation, &one, "cancel").await;
    assert_eq!(
        (again.status, again.text()),
        (200, cancelled.text()),
        "twice is as good as once"
    );
    eventually("the provider is let go", SOON, async || {
        (service.provider.called_off() == 1).then_some(())
    })
    .await;
    assert_eq!(service.texts(&conversation).await, ["one", "As far as here"]);
}

/// C8: there is nothing to keep
pub(super) async fn cancelling_before_the_first_word_keeps_nothing(on: Database) {
    let service = on.inside([Step::Hold("never".into())]).await;
    let conversation = service.conversation("silent").await;
    let message = service.message(&conversation, "user", "one").await;
    service.until_called(1).await;

    let reply = order(&service, &conversation, &message, "cancel")
        .await
        .expect(200);

    assert_eq!(
        (&reply["status"], &reply["assistant_message_id"]),
        (&json!("cancelled"), &Value::Null)
    );
    assert_eq!(service.texts(&conversation).await, ["one"]);
    let frames = service
        .watch(&events(&conversation))
        .await
        .until("reply.cancelled")
        .await;
    assert_eq!(
        frames.last().expect("an event").data["assistant_message_id"],
        Value::Null
    );
}

/// C8: it stays as it is
pub(super) async fn a_final_reply_cannot_be_cancelled(on: Database) {
    let service = on.inside([Step::Answer("an answer".into())]).await;
    let conversation = service.conversation("final").await;
    let message = service.message(&conversation, "user", "one").await;
    let reply = service.finished_reply(&conversation, &message).await;

    let cancelled = order(&service, &conversation, &message, "cancel").await;

    assert_eq!(cancelled.expect(200), reply);
    assert_eq!(reply["status"], "succeeded");
}

/// C11: whatever they are
pub(super) async fn bodies_of_orders_are_ignored(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("orders").await;
    let message = service.message(&conversation, "user", "hello").await;
    service.finished_reply(&conversation, &message).await;
    for (what, status) in [("cancel", 200), ("retry", 202)] {
        let path = format!("{}/{what}", reply_of(&conversation, &message));
        for (content_type, body) in [
            ("application/json", "{"),
            ("text/plain", "x"),
            ("application/json", ""),
        ] {
            service.finished_reply(&conversation, &message).await;
            let answer = service.post(&path, content_type, body).await;
            assert_eq!(answer.status, status, "{what} with {body:?}");
        }
    }
}

/// C12, V9: who writes does not look who reads
pub(super) async fn a_client_that_leaves_cancels_nothing(on: Database) {
    let service = on.inside([pieces(&["Once", " upon"])]).await;
    let (conversation, one) = busy(&service, "queue").await;
    let mut streams = Vec::new();
    for path in [
        events(&conversation),
        format!("{}?stream=true", reply_of(&conversation, &one)),
    ] {
        let mut stream = service.watch(&path).await;
        stream.until("reply.delta").await;
        streams.push(stream);
    }
    assert_eq!(service.store.news().subscriptions(), 2);

    drop(streams);

    eventually("nobody watches any more", SOON, async || {
        (service.store.news().subscriptions() == 0).then_some(())
    })
    .await;
    service.provider.release_times(2);
    let reply = service.finished_reply(&conversation, &one).await;
    assert_eq!(reply["status"], "succeeded");
    assert_eq!(service.texts(&conversation).await, ["one", "Once upon"]);
}
