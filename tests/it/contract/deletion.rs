//! D1 to D5: deleted means deleted.

use serde_json::{Value, json};

use super::{Database, Rows, assert_error, not_found};
use crate::support::SOON;

/// D1: with everything in it
pub(super) async fn a_deleted_conversation_is_gone_with_everything_in_it(on: Database) {
    let service = on.service().await;
    let id = service.conversation("going").await;
    let message = service.message(&id, "user", "hello").await;
    service.finished_reply(&id, &message).await;
    let path = format!("/conversations/{id}");

    let answer = service.delete(&format!("{path}/delete")).await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text(),
        format!(r#"{{"conversation_id":"{id}","deleted":true}}"#)
    );
    assert_eq!(answer.header("content-type"), "application/json");
    let mut rows = Rows::default();
    for below in [
        "",
        "/messages",
        &format!("/messages/{message}"),
        &format!("/messages/{message}/reply"),
    ] {
        rows.error(
            below,
            &service.get(&format!("{path}{below}")).await,
            404,
            &not_found(),
        );
    }
    let late = service
        .post_json(
            &format!("{path}/messages/create"),
            &json!({ "role": "user", "text": "x" }),
        )
        .await;
    rows.error("a late message", &late, 404, &not_found());
    let again = service.delete(&format!("{path}/messages/{message}")).await;
    rows.error("its message", &again, 404, &not_found());
    rows.error(
        "again",
        &service.delete(&format!("{path}/delete")).await,
        404,
        &not_found(),
    );
}

/// D2: once, with nothing to say
pub(super) async fn a_message_is_deleted_once(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation_of(&["one"]).await;
    let message = service.message(&conversation, "assistant", "two").await;
    let path = format!("/conversations/{conversation}/messages/{message}");

    let first = service.delete(&path).await;
    assert_eq!((first.status, first.text()), (204, String::new()));
    assert!(!first.headers.contains_key("content-type"));

    assert_error(&service.delete(&path).await, 404, &not_found());
    assert_error(&service.get(&path).await, 404, &not_found());
    assert_eq!(service.texts(&conversation).await, ["one"]);
}

/// D3: after the deletion is acknowledged, nothing is added
pub(super) async fn deleting_a_message_whose_reply_is_under_way_leaves_no_orphan(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for round in 0..30 {
        let conversation = service.conversation("orphans").await;
        let message = service.message(&conversation, "user", "hello").await;
        let path = format!("/conversations/{conversation}/messages/{message}");
        assert_eq!(service.delete(&path).await.status, 204);
        let left = service.texts(&conversation).await;
        assert_error(&service.get(&format!("{path}/reply")).await, 404, &not_found());

        // When a later message has its answer, a reply that was still alive would have come too.
        let last = service.message(&conversation, "user", "so").await;
        service.finished_reply(&conversation, &last).await;
        let now = service.texts(&conversation).await;
        rows.equal(format!("round {round}"), now.len(), left.len() + 2);
        rows.equal(format!("round {round}"), &now[..left.len()], left.as_slice());
    }
}

/// D1, D3: replies that were under way end without a trace, in the data and in the log
pub(super) async fn deleting_a_conversation_while_replies_are_under_way_is_no_error(on: Database) {
    let Some(mut service) = on.service_with(&[]).await else {
        return;
    };
    for _ in 0..30 {
        let conversation = service.conversation("short").await;
        for text in ["hello", "help", "thanks"] {
            service.message(&conversation, "user", text).await;
        }
        service
            .delete(&format!("/conversations/{conversation}/delete"))
            .await
            .expect(200);
        assert_error(
            &service.get(&format!("/conversations/{conversation}")).await,
            404,
            &not_found(),
        );
    }
    let conversation = service.conversation("last").await;
    let message = service.message(&conversation, "user", "hello").await;
    service.finished_reply(&conversation, &message).await;

    let server = service.server.as_mut().expect("a server of our own");
    server.terminate();
    server.wait_exit(SOON).await;
    let log = server.stderr();
    let wrong: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// D4: the question goes, the answer stays
pub(super) async fn deleting_an_answered_message_leaves_the_answer(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("answered").await;
    let message = service.message(&conversation, "user", "hello").await;
    service.finished_reply(&conversation, &message).await;
    let path = format!("/conversations/{conversation}/messages/{message}");

    assert_eq!(service.delete(&path).await.status, 204);

    assert_eq!(
        service.texts(&conversation).await,
        ["Hello! How can I assist you today?"]
    );
    assert_error(&service.get(&format!("{path}/reply")).await, 404, &not_found());
}

/// D4, S3: the answer goes, the question and the story of its reply stay
pub(super) async fn deleting_an_answer_leaves_its_reply_without_one(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("unanswered").await;
    let message = service.message(&conversation, "user", "hello").await;
    let mut reply = service.finished_reply(&conversation, &message).await;
    let answer = reply["assistant_message_id"]
        .as_str()
        .expect("an answer")
        .to_owned();

    assert_eq!(
        service
            .delete(&format!("/conversations/{conversation}/messages/{answer}"))
            .await
            .status,
        204
    );

    reply["assistant_message_id"] = Value::Null;
    let path = format!("/conversations/{conversation}/messages/{message}/reply");
    assert_eq!(service.get(&path).await.expect(200), reply);
    assert_eq!(service.texts(&conversation).await, ["hello"]);
}

/// D5: before it or too late, and nothing between
pub(super) async fn a_message_that_meets_a_deletion_is_stored_or_too_late(on: Database) {
    let service = on.service().await;
    for _ in 0..10 {
        let conversation = service.conversation("meeting").await;
        let path = format!("/conversations/{conversation}");
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let (client, path) = (service.client.clone(), format!("{path}/messages/create"));
                tokio::spawn(async move {
                    let mut statuses = Vec::new();
                    for _ in 0..5 {
                        let body = json!({ "role": "user", "text": "x" });
                        statuses.push(client.post_json(&path, &body).await.status);
                    }
                    statuses
                })
            })
            .collect();
        let deleted = service.delete(&format!("{path}/delete")).await;
        assert_eq!(deleted.status, 200, "{}", deleted.text());
        for writer in writers {
            let statuses = writer.await.expect("a writer");
            assert!(
                statuses.iter().all(|status| matches!(status, 201 | 404)),
                "{statuses:?}"
            );
            assert!(statuses.is_sorted(), "a message after the deletion: {statuses:?}");
        }
        assert_error(&service.get(&format!("{path}/messages")).await, 404, &not_found());
    }
}
