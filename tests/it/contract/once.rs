//! I: requests that may come again.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::behind::Behind;
use super::{Database, NOBODY, Rows, Service, assert_error, not_found};
use crate::support::{Answer, Client, SOON, eventually};

/// Posts this body under this key.
async fn post_under(client: &Client, key: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = client
        .request(reqwest::Method::POST, path)
        .header("content-type", "application/json")
        .header("idempotency-key", key);
    Answer::of(request.body(body.into())).await
}

/// Whether an answer says that it was given before.
fn is_replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotent-replayed")
}

/// That the second answer is the first one, said again.
#[track_caller]
fn assert_replayed(first: &Answer, second: &Answer) {
    let shown = |answer: &Answer| {
        let header = |name| answer.headers.get(name).cloned();
        (
            answer.status,
            header("location"),
            header("link"),
            header("content-type"),
            answer.text(),
        )
    };
    assert!(!is_replayed(first), "{first:?}");
    assert_eq!(shown(first), shown(second));
    assert_eq!(second.header("idempotent-replayed"), "true");
}

async fn count(service: &Service, conversation: &str) -> u64 {
    let page = service
        .get(&format!("/conversations/{conversation}/messages?role=user"))
        .await
        .expect(200);
    page["count"].as_u64().expect("a count")
}

fn reused() -> Value {
    json!({ "Idempotency-Key": ["This key was used for another request."] })
}

/// Every route that is posted to, on a new conversation, and its body. Each would do more when asked twice.
async fn routes(service: &Service) -> Vec<(String, String)> {
    let conversation = service.conversation("posted to").await;
    let question = service.message(&conversation, "user", "Hello").await;
    service.finished_reply(&conversation, &question).await;
    let reply = format!("/conversations/{conversation}/messages/{question}/reply");
    vec![
        (
            "/conversations/".to_owned(),
            r#"{"title": "a \u0001 title", "description": "é \u0002"}"#.to_owned(),
        ),
        (
            "/conversations/".to_owned(),
            r#"{"title": "\u0002", "description": "\u0001"}"#.to_owned(),
        ),
        (
            "/api/v1/conversations".to_owned(),
            "{\"title\": null, \"description\": \"\\u0001\"}".to_owned(),
        ),
        (
            format!("/conversations/{conversation}/messages/create"),
            r#"{"role": "user", "text": "Once \"\u0001\" \\u0001"}"#.to_owned(),
        ),
        (
            format!("/api/v1/conversations/{conversation}/messages/create/"),
            r#"{"role": "assistant", "text": "\u0002"}"#.to_owned(),
        ),
        (format!("{reply}/cancel"), String::new()),
        (format!("{reply}/retry"), String::new()),
    ]
}

/// I1: carried out once, answered as often as asked
pub(super) async fn a_request_that_comes_again_is_answered_again_and_not_carried_out_again(on: Database) {
    let service = on.service().await;
    for (number, (path, body)) in routes(&service).await.into_iter().enumerate() {
        let key = format!("first-{number}");
        let first = post_under(&service, &key, &path, body.clone()).await;
        assert!((200..300).contains(&first.status), "{path}: {first:?}");
        let created = first.json();

        for _ in 0..2 {
            let again = post_under(&service, &key, &path, body.clone()).await;
            assert_replayed(&first, &again);
        }
        if path.contains("/messages/create") {
            assert_eq!(created["message_id"].as_str().map(str::len), Some(36));
        }
    }
}

/// I1: what is not under a key is carried out as often as it comes
pub(super) async fn without_a_key_every_request_counts(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("twice").await;
    for _ in 0..2 {
        service.message(&conversation, "user", "the same").await;
    }
    assert_eq!(count(&service, &conversation).await, 2);
}

/// I2: what a key looks like
pub(super) async fn a_key_is_a_string_with_or_without_quotes(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("keys").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let body = r#"{"role": "assistant", "text": "x"}"#;

    let bare = post_under(&service, "8e03978e-40d5", &path, body).await;
    let quoted = post_under(&service, "\"8e03978e-40d5\"", &path, body).await;
    assert_replayed(&bare, &quoted);
    let longest = post_under(&service, &"k".repeat(255), &path, body).await;
    assert_eq!(longest.status, 201);

    let mut rows = Rows::default();
    let details = json!({ "Idempotency-Key": ["Send one key of 1 to 255 printable ASCII characters."] });
    for malformed in ["", "\"", "\"\"", "\"a\"b\"", "a\tb", &"k".repeat(256)] {
        let answer = post_under(&service, malformed, &path, body).await;
        rows.error(format!("{malformed:?}"), &answer, 400, &details);
    }
    let lines = [
        format!("POST {path} HTTP/1.1"),
        format!("Host: {}", service.authority()),
        service.key_line(),
        "Content-Type: application/json".to_owned(),
        format!("Content-Length: {}", body.len()),
        "Idempotency-Key: one".to_owned(),
        "Idempotency-Key: one".to_owned(),
    ];
    let twice = service
        .exchange(&lines.each_ref().map(String::as_str), body)
        .await;
    rows.error("two keys", &twice, 400, &details);
    drop(rows);
    let elsewhere = format!("/conversations/{NOBODY}/messages/create");
    assert_error(
        &post_under(&service, "", &elsewhere, body).await,
        404,
        &not_found(),
    );
}

/// I3: one key, one request
pub(super) async fn a_key_belongs_to_one_request(on: Database) {
    let service = on.service().await;
    let (one, other) = (
        service.conversation("one").await,
        service.conversation("other").await,
    );
    let path = |conversation: &str| format!("/conversations/{conversation}/messages/create");
    let body = r#"{"role": "assistant", "text": "x"}"#;
    post_under(&service, "k", &path(&one), body).await.expect(201);

    let mut rows = Rows::default();
    for (row, path, body) in [
        ("another conversation", path(&other), body),
        ("another prefix", format!("/api/v1{}", path(&one)), body),
        (
            "another text",
            path(&one),
            r#"{"role": "assistant", "text": "y"}"#,
        ),
        ("other spaces", path(&one), r#"{"role":"assistant","text":"x"}"#),
        ("no body of its kind", path(&one), "{"),
    ] {
        let answer = post_under(&service, "k", &path, body).await;
        rows.error(row, &answer, 422, &reused());
    }
    let page = service
        .get(&format!("/conversations/{one}/messages"))
        .await
        .expect(200);
    rows.equal("messages", page["count"].as_u64(), Some(1));
}

/// I4: while it is being carried out
pub(super) async fn a_request_under_way_is_a_conflict(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let path = format!(
        "/conversations/{}/messages/create",
        service.conversation("slow").await
    );
    let behind = Behind::of(&service).await;
    behind.keep_them_from_writing().await;
    let body = r#"{"role": "assistant", "text": "x"}"#;
    let (client, slow_path) = (service.client.clone(), path.clone());
    let slow = tokio::spawn(async move {
        // What the lock outlasts was not carried out, and is asked for again.
        loop {
            let answer = post_under(&client, "slow", &slow_path, body).await;
            if answer.status != 503 && answer.status != 409 {
                return answer;
            }
        }
    });

    let conflict = eventually("the request is under way", SOON, async || {
        let answer = post_under(&service, "slow", &path, body).await;
        (answer.status == 409).then_some(answer)
    })
    .await;

    let detail = json!({ "detail": ["A request with this Idempotency-Key is being carried out."] });
    assert_error(&conflict, 409, &detail);
    assert_eq!(conflict.header("retry-after"), "1");
    let other = post_under(&service, "slow", &path, r#"{"role": "user", "text": "x"}"#).await;
    if other.status != 409 {
        assert_error(&other, 422, &reused());
    }
    behind.let_them_write().await;
    let first = slow.await.expect("an answer");
    assert_eq!(first.status, 201);
    let again = post_under(&service, "slow", &path, body).await;
    assert_eq!((again.status, again.text()), (201, first.text()));
}

/// I4: however many come at once, it is carried out once
pub(super) async fn of_many_at_once_one_is_carried_out(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("crowded").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let (client, path) = (service.client.clone(), path.clone());
        asking.spawn(async move {
            loop {
                let body = r#"{"role": "user", "text": "Hello"}"#;
                let answer = post_under(&client, "crowd", &path, body).await;
                if answer.status != 409 {
                    return answer;
                }
            }
        });
    }

    let answers = asking.join_all().await;

    let texts: Vec<_> = answers
        .iter()
        .map(|answer| (answer.status, answer.text()))
        .collect();
    assert!(texts.iter().all(|text| text == &texts[0]), "{texts:?}");
    assert_eq!(texts[0].0, 201);
    assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    assert_eq!(count(&service, &conversation).await, 1);
}

/// I5: what was refused may be asked for again under the same key
pub(super) async fn a_refusal_is_not_remembered(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("refused").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let body = r#"{"role": "assistant", "text": "x"}"#;

    let elsewhere = format!("/conversations/{NOBODY}/messages/create");
    assert_error(
        &post_under(&service, "k", &elsewhere, body).await,
        404,
        &not_found(),
    );
    let wrong = post_under(&service, "k", &path, r#"{"role": "assistant"}"#).await;
    assert_eq!(wrong.status, 400);
    let unauthorized = post_under(&service.anonymous(), "k", &path, body).await;
    assert_eq!(unauthorized.status, 401);
    let right = post_under(&service, "k", &path, body).await;

    assert_eq!(right.status, 201);
    assert!(!is_replayed(&right));
}

/// I6: what is remembered outlives the process, and the text is nowhere in it
pub(super) async fn what_was_answered_is_remembered_across_a_crash_and_without_the_text(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let conversation = service.conversation("kept").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let body = r#"{"role": "user", "text": "to be forgotten"}"#;
    let first = post_under(&service, "kept", &path, body).await;
    let message = first.expect(201)["message_id"]
        .as_str()
        .expect("an id")
        .to_owned();

    // On PostgreSQL, the lease of one who was killed at work would have to run out first.
    service.finished_reply(&conversation, &message).await;

    let service = service.killed_and_started_again().await;

    assert_replayed(&first, &post_under(&service, "kept", &path, body).await);
    let gone = service
        .delete(&format!("/conversations/{conversation}/messages/{message}"))
        .await;
    assert_eq!(gone.status, 204);
    assert_replayed(&first, &post_under(&service, "kept", &path, body).await);
    assert_eq!(count(&service, &conversation).await, 0, "nothing comes back");
    let remembered = Behind::of(&service).await.remembered_answers().await;
    assert_eq!(remembered.len(), 1);
    assert!(!remembered[0].contains("forgotten"), "{remembered:?}");
}

/// I7: only what is posted
pub(super) async fn other_methods_take_no_notice_of_the_header(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("patched").await;
    let path = format!("/conversations/{conversation}");
    for (method, path) in [
        ("GET", path.clone()),
        ("PATCH", path.clone()),
        ("DELETE", format!("{path}/delete")),
    ] {
        let request = service
            .request(method.parse().expect("a method"), &path)
            .header("content-type", "application/json")
            .header("idempotency-key", "")
            .body("{}");
        assert_eq!(Answer::of(request).await.status, 200, "{method}");
    }
}
