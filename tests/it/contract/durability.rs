//! D6, D7: what was answered, and what nobody waited for.

use serde_json::json;

use super::{Database, assert_error, head, not_found};
use crate::support::{SOON, eventually, texts};

/// D6: SIGKILL right after the answers
pub(super) async fn what_was_answered_survives_the_death_of_the_process(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let conversation = service.conversation("durable").await;
    let kept = service.message(&conversation, "assistant", "kept").await;
    let gone = service.message(&conversation, "assistant", "gone").await;
    let path = format!("/conversations/{conversation}/messages");
    let kept_body = service.get(&format!("{path}/{kept}")).await.text();
    assert_eq!(service.delete(&format!("{path}/{gone}")).await.status, 204);
    let asked = service.message(&conversation, "user", "hello").await;

    let service = service.killed_and_started_again().await;

    assert_eq!(service.get(&format!("{path}/{kept}")).await.text(), kept_body);
    assert_error(&service.get(&format!("{path}/{gone}")).await, 404, &not_found());
    // Where others may be at work on it, a reply is taken back once the lease of whoever died has run out.
    let reply = service
        .finished_reply_within(6 * SOON, &conversation, &asked)
        .await;
    assert_eq!(reply["status"], "succeeded", "{reply}");
    assert_eq!(
        service.texts(&conversation).await,
        ["kept", "hello", "Hello! How can I assist you today?"]
    );
}

/// D7: the client hangs up with its last byte, sent at once or when it was told to go on
pub(super) async fn a_request_that_arrived_whole_is_carried_out_once(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("impatient").await;
    let mut expected = Vec::new();
    for number in 10..50 {
        let asks_first = number % 2 == 0;
        let body = json!({ "role": "assistant", "text": number.to_string() }).to_string();
        let head = head(&[
            &format!("POST /conversations/{conversation}/messages/create HTTP/1.1"),
            "Host: localhost",
            "Content-Type: application/json",
            &service.key_line(),
            &format!("Content-Length: {}", body.len()),
            if asks_first {
                "Expect: 100-continue"
            } else {
                "A: b"
            },
        ]);
        let mut raw = service.connect().await;
        if asks_first {
            raw.send(head).await.expect("a head to send");
            assert_eq!(raw.head().await.expect("an interim answer").0, 100);
            raw.send(body).await.expect("a body to send");
        } else {
            raw.send(head + &body).await.expect("a request to send");
        }
        raw.finish().await.expect("an end to send");
        drop(raw);
        expected.push(number.to_string());
    }

    let list = format!("/conversations/{conversation}/messages?page_size=100");
    let mut stored = Vec::new();
    eventually("all messages are stored", SOON, async || {
        stored = texts(&service.get(&list).await.expect(200));
        stored.sort();
        (stored.len() >= expected.len()).then_some(())
    })
    .await;
    assert_eq!(stored, expected);
}

/// D7: a client that has said everything may say so and still listen
pub(super) async fn a_client_that_closes_its_side_still_gets_its_answer(on: Database) {
    let service = on.service().await;
    let body = r#"{"description": "half closed"}"#;
    let head = head(&[
        "POST /conversations/ HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        &service.key_line(),
        &format!("Content-Length: {}", body.len()),
    ]);
    let mut raw = service.connect().await;
    raw.send(head + body).await.expect("a request to send");
    raw.finish().await.expect("an end to send");

    raw.answer().await.expect("an answer").expect(201);
    assert!(raw.is_closed(SOON).await);
}
