//! C9, C10: replies that are written again.

use engagement::{
    model::Failure,
    provider::{Refusal, scripted::Step},
};
use serde_json::{Value, json};

use super::{
    Database, assert_error,
    control::{ask, busy, events, order, pieces, reply_of, unfinished},
    inside::Inside,
};
use crate::support::names;

async fn attempts(service: &Inside, conversation: &str, message: &str) -> Vec<Value> {
    let path = format!("{}/attempts", reply_of(conversation, message));
    let listed = service.get(&path).await.expect(200);
    listed["results"].as_array().expect("results").clone()
}

/// C9, C10: a failure is no end
pub(super) async fn a_failed_reply_can_be_retried(on: Database) {
    let refusal = Refusal::Fail(Failure::new("overloaded", "The provider is overloaded."));
    let service = on
        .inside([Step::Refuse(refusal), Step::Answer("at last".into())])
        .await;
    let conversation = service.conversation("again").await;
    let message = service.message(&conversation, "user", "one").await;
    assert_eq!(
        service.finished_reply(&conversation, &message).await["status"],
        "failed"
    );
    assert_eq!(
        attempts(&service, &conversation, &message).await,
        [] as [Value; 0]
    );

    let retried = order(&service, &conversation, &message, "retry")
        .await
        .expect(202);

    assert_eq!(
        (&retried["status"], &retried["error"]),
        (&json!("queued"), &Value::Null)
    );
    let reply = service.finished_reply(&conversation, &message).await;
    assert_eq!(reply["status"], "succeeded");
    assert_eq!(service.texts(&conversation).await, ["one", "at last"]);
    let earlier = attempts(&service, &conversation, &message).await;
    assert_eq!(earlier.len(), 1);
    let fields: Vec<_> = earlier[0]
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let wanted = [
        "assistant_message_id",
        "date_finished",
        "date_started",
        "error",
        "number",
        "status",
        "text",
    ];
    assert_eq!(fields, wanted);
    assert_eq!(
        (&earlier[0]["number"], &earlier[0]["status"]),
        (&json!(1), &json!("failed"))
    );
}

/// C9, C10, V3, S6: in the old one's place
pub(super) async fn a_new_answer_takes_the_place_of_the_old_one(on: Database) {
    let service = on
        .inside([Step::Answer("old".into()), Step::Hold("new".into())])
        .await;
    let conversation = service.conversation("again").await;
    let message = service.message(&conversation, "user", "one").await;
    let old = service.finished_reply(&conversation, &message).await["assistant_message_id"].clone();
    service.message(&conversation, "assistant", "behind it").await;
    let path = |id: &Value| {
        format!(
            "/conversations/{conversation}/messages/{}",
            id.as_str().expect("an id")
        )
    };
    let old_message = service.get(&path(&old)).await.expect(200);

    let retried = order(&service, &conversation, &message, "retry")
        .await
        .expect(202);
    service.until_called(2).await;

    assert_eq!(
        retried["assistant_message_id"], old,
        "it stays until there is a new one"
    );
    assert_eq!(service.texts(&conversation).await, ["one", "old", "behind it"]);
    service.provider.release();
    let new = service.finished_reply(&conversation, &message).await["assistant_message_id"].clone();
    assert_ne!(new, old);
    assert_eq!(service.texts(&conversation).await, ["one", "new", "behind it"]);
    assert_eq!(service.get(&path(&old)).await.status, 404);
    let new_message = service.get(&path(&new)).await.expect(200);
    assert_eq!(new_message["date_created"], old_message["date_created"]);
    let earlier = attempts(&service, &conversation, &message).await;
    assert_eq!(
        (&earlier[0]["assistant_message_id"], &earlier[0]["text"]),
        (&old, &json!("old"))
    );

    let from = service
        .watch(&events(&conversation))
        .await
        .until("reply.succeeded")
        .await
        .len();
    let mut stream = service.watch(&events(&conversation)).await;
    stream.take(from).await;
    let frames = stream.until("reply.succeeded").await;
    let names = names(&frames);
    assert_eq!(
        names[names.len() - 3..],
        ["message.deleted", "message.created", "reply.succeeded"]
    );
    let [.., deleted, created, _] = frames.as_slice() else {
        panic!("{frames:#?}")
    };
    assert_eq!(deleted.data["message_id"], old);
    assert_eq!(
        (&created.data["message"], &created.data["replaces"]),
        (&new_message, &old)
    );
}

/// C9: and the reply still names it
pub(super) async fn a_retry_that_fails_leaves_the_old_answer(on: Database) {
    let refusal = Refusal::Fail(Failure::new("overloaded", "The provider is overloaded."));
    let service = on
        .inside([Step::Answer("old".into()), Step::Refuse(refusal)])
        .await;
    let conversation = service.conversation("again").await;
    let message = service.message(&conversation, "user", "one").await;
    let old = service.finished_reply(&conversation, &message).await;

    order(&service, &conversation, &message, "retry")
        .await
        .expect(202);

    let failed = service.finished_reply(&conversation, &message).await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["assistant_message_id"], old["assistant_message_id"]);
    assert_eq!(service.texts(&conversation).await, ["one", "old"]);
}

/// C9, E4: it is not final
pub(super) async fn a_reply_under_way_cannot_be_retried(on: Database) {
    let service = on.inside([pieces(&["first"])]).await;
    let (conversation, one) = busy(&service, "queue").await;
    let other = ask(&service, &conversation, &Value::Null).await.expect(201);
    let other = other["message_id"].as_str().expect("an id");

    for unfinal in [one.as_str(), other] {
        let refused = order(&service, &conversation, unfinal, "retry").await;
        assert_error(&refused, 409, &unfinished());
    }
}
