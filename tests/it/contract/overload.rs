//! E9, E11: what is too much is refused early, and the probes answer all the while.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::behind::Behind;
use super::{Database, Rows, Service, assert_error, head};
use crate::support::{Answer, Raw, SOON, eventually};

/// Holds the only place until the returned task has written after all.
pub(super) async fn fill(service: &Service) -> (Behind, JoinHandle<()>) {
    let path = format!("/conversations/{}", service.conversation("crowded").await);
    let behind = Behind::of(service).await;
    behind.keep_them_from_writing().await;
    let client = service.client.clone();
    let holder = tokio::spawn(async move {
        let body = json!({ "description": "waits for the lock" });
        // The place may be taken by one of the requests below, and the lock may outlast the database's patience.
        while client.post_json("/conversations/", &body).await.status != 201 {}
    });
    eventually("the only place is taken", SOON, async || {
        (service.get(&path).await.status == 503).then_some(())
    })
    .await;
    (behind, holder)
}

pub(super) async fn empty((behind, holder): (Behind, JoinHandle<()>)) {
    behind.let_them_write().await;
    let let_in = timeout(3 * SOON, holder).await;
    let_in.expect("a place in time").expect("the one that waited");
}

/// The answer to a head whose body does not come.
async fn answer_to_head(service: &Service, lines: &[&str]) -> Option<Answer> {
    let mut raw = service.connect().await;
    raw.send(head(lines)).await.expect("a head to send");
    match timeout(Duration::from_secs(1), raw.answer()).await {
        Ok(answer) => Some(answer.expect("an answer")),
        Err(_) => None,
    }
}

/// E9, E5: nothing is read that could not be worked on
pub(super) async fn a_full_service_refuses_before_the_body_comes(on: Database) {
    let Some(service) = on.service_with(&[("MAX_IN_FLIGHT", "1")]).await else {
        return;
    };
    let key = service.key_line();
    let lines = [
        "POST /conversations/ HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Content-Length: 1000",
        &key,
    ];
    let waited = answer_to_head(&service, &lines).await;
    assert!(
        waited.is_none(),
        "control: while there is a place, the body is waited for"
    );
    let full = fill(&service).await;

    let refused = eventually("the place is taken", SOON, async || {
        answer_to_head(&service, &lines).await
    })
    .await;

    assert_error(&refused, 503, &json!({ "detail": ["The service is busy."] }));
    assert_eq!(refused.header("retry-after"), "1");
    empty(full).await;
}

/// E9, O1: and say what is so
pub(super) async fn probes_answer_while_the_service_is_full(on: Database) {
    let Some(service) = on.service_with(&[("MAX_IN_FLIGHT", "1")]).await else {
        return;
    };
    let full = fill(&service).await;
    for _ in 0..20 {
        for probe in ["/livez", "/readyz"] {
            let answer = timeout(Duration::from_secs(4), service.get(probe)).await;
            answer.expect("an answer at once").expect(200);
        }
    }
    empty(full).await;
}

const HALF: usize = 600 * 1024;

/// A head that declares this much, and less of the body.
async fn begin(service: &Service, declared: usize, sent: usize) -> Raw {
    let (key, length) = (service.key_line(), format!("Content-Length: {declared}"));
    let lines = [
        "POST /conversations/ HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        &length,
        &key,
    ];
    let mut raw = service.connect().await;
    raw.send(head(&lines)).await.expect("a head to send");
    raw.send(vec![b' '; sent])
        .await
        .expect("a part of a body to send");
    raw
}

/// A good body of this length.
async fn post(service: &Service, length: usize) -> Answer {
    let mut body = br#"{"description": "large"}"#.to_vec();
    body.resize(length, b' ');
    service.post("/conversations/", "application/json", body).await
}

/// A good body of this length, in chunks.
async fn post_chunked(service: &Service, length: usize) -> Answer {
    let key = service.key_line();
    let lines = [
        "POST /conversations/ HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
        &key,
    ];
    let mut body = br#"{"description": "large"}"#.to_vec();
    body.resize(length, b' ');
    let mut bytes = head(&lines).into_bytes();
    for chunk in body.chunks(64 * 1024) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend([chunk, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    let mut raw = service.connect().await;
    raw.send(bytes).await.expect("a body to send");
    raw.answer().await.expect("an answer")
}

/// E11: of all requests
pub(super) async fn bodies_have_so_much_room_together(on: Database) {
    let Some(service) = on.service_with(&[("MAX_BODIES_MIB", "1")]).await else {
        return;
    };
    let too_many = json!({ "detail": ["There are too many request bodies."] });
    let mut rows = Rows::default();
    rows.error(
        "more than all of it",
        &post(&service, 1_500_000).await,
        503,
        &too_many,
    );
    rows.equal("half of it", post(&service, HALF).await.status, 201);

    let half_read = begin(&service, HALF, HALF - 1).await;
    // Asked with a head alone: a body that came while the other is being read could take the room that this needs.
    let key = service.key_line();
    let length = format!("Content-Length: {}", 1024 * 1024 - (HALF - 1) + 1);
    let lines = [
        "POST /conversations/ HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        &length,
        &key,
    ];
    eventually("all that was sent is held", SOON, async || {
        answer_to_head(&service, &lines).await
    })
    .await;
    let refused = post(&service, HALF).await;
    rows.error("what does not fit", &refused, 503, &too_many);
    rows.equal("when to come again", refused.header("retry-after"), "1");
    rows.error(
        "what grows too large",
        &post_chunked(&service, HALF).await,
        503,
        &too_many,
    );
    rows.equal("a small one", post(&service, 10_000).await.status, 201);
    rows.equal(
        "a small one in chunks",
        post_chunked(&service, 10_000).await.status,
        201,
    );

    drop(half_read);
    eventually("the room is free", SOON, async || {
        (post(&service, HALF).await.status == 201).then_some(())
    })
    .await;
    rows.equal("what grows", post_chunked(&service, HALF).await.status, 201);
}

/// E11: what counts is what came
pub(super) async fn who_declares_much_and_sends_little_takes_little(on: Database) {
    let Some(service) = on.service_with(&[("MAX_BODIES_MIB", "1")]).await else {
        return;
    };
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(begin(&service, 1_000_000, 1).await);
    }
    for _ in 0..5 {
        post(&service, HALF).await.expect(201);
    }
}

/// A conversation whose longest page has 40 MB.
async fn long_conversation(service: &Service) -> String {
    let conversation = service.conversation("long").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let body = json!({ "role": "assistant", "text": "\u{1f600}".repeat(100_000) });
    for _ in 0..100 {
        service.post_json(&path, &body).await.expect(201);
    }
    conversation
}

/// Asks for a page of this many messages, and reads no more of the answer than its status.
async fn ask(service: &Service, conversation: &str, size: usize) -> (Raw, u16) {
    let page = format!("GET /conversations/{conversation}/messages?page_size={size} HTTP/1.1");
    let mut raw = service.connect().await;
    raw.send(head(&[&page, "Host: localhost"]))
        .await
        .expect("a head to send");
    let (status, _) = raw.head().await.expect("a head");
    (raw, status)
}

/// E11: of all clients
pub(super) async fn long_answers_have_so_much_room_together(on: Database) {
    let Some(service) = on.service_with(&[("MAX_ANSWERS_MIB", "64")]).await else {
        return;
    };
    let conversation = long_conversation(&service).await;
    let mut rows = Rows::default();
    let (deaf, status) = ask(&service, &conversation, 100).await;
    rows.equal("one who does not read on", status, 200);
    let page = format!("/conversations/{conversation}/messages?page_size=100");
    let refused = service.get(&page).await;
    rows.error(
        "another one meanwhile",
        &refused,
        503,
        &json!({ "detail": ["There are too many long answers that nobody has read yet."] }),
    );
    rows.equal("when to come again", refused.header("retry-after"), "1");
    let (_, status) = ask(&service, &conversation, 10).await;
    rows.equal("a shorter page", status, 200);

    drop(deaf);
    eventually("the room is free", SOON, async || {
        let (_, status) = ask(&service, &conversation, 100).await;
        (status == 200).then_some(())
    })
    .await;
}

/// E11: control: the same with room enough
pub(super) async fn control_a_larger_room_holds_all_answers(on: Database) {
    let service = on.service().await;
    let conversation = long_conversation(&service).await;
    let mut deaf = Vec::new();
    for _ in 0..5 {
        let (raw, status) = ask(&service, &conversation, 100).await;
        assert_eq!(status, 200);
        deaf.push(raw);
    }
}

/// E11: control: the same with room enough
pub(super) async fn control_a_larger_room_holds_them_all(on: Database) {
    let service = on.service().await;
    let _half_read = begin(&service, HALF, HALF - 1).await;
    for length in [HALF, 1_500_000] {
        post(&service, length).await.expect(201);
        post_chunked(&service, length).await.expect(201);
    }
}
