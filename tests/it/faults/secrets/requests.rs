//! Conversations, streams and requests that come again, with a canary in every part that a client writes.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::planted::{KEY, Told};
use crate::support::{Answer, Client, EventStream, Raw, Server};

/// Does what there is to do with a conversation, and what cannot be done.
pub(super) async fn everything(server: &Server, client: &Client, told: &mut Told) {
    let new = json!({
        "title": "canary-title", "description": "canary-description", "instructions": "canary-instructions",
    });
    let opened = client.post_json("/conversations/", &new).await.expect(201);
    let conversation = opened["conversation_id"].as_str().expect("an id").to_owned();
    let message = client.message(&conversation, "user", "canary-text?").await;
    client.finished_reply(&conversation, &message).await;
    told.id(&conversation);
    told.id(&message);
    let at = format!("/conversations/{conversation}");

    let paths = [
        format!("{at}?q=canary-search"),
        format!("{at}/messages?q=canary-search&page=9"),
        format!("{at}/messages/{message}"),
        format!("{at}/messages/{message}/reply"),
        format!("{at}/settings"),
        format!("{at}/canary-path"),
        "/canary-path".to_owned(),
        "/conversations/canary-path".to_owned(),
        format!("/conversations/?api_key={KEY}"),
        format!("{at}/messages/canary-path?q=%00canary-search"),
        format!("{at}/messages?page=x&q=canary-search"),
        format!("{at}/messages?q={}", "canary-search".repeat(50)),
        format!("{at}/events?after=canary-event"),
        format!("{at}/messages/canary-event/reply?stream=true"),
        "/api/v1/keys/canary-path".to_owned(),
        format!("/{}", "canary-path".repeat(1_000)),
    ];
    for path in paths {
        for (method, accept) in [
            (Method::GET, "application/problem+json"),
            (Method::HEAD, "*/*"),
            (Method::PUT, "application/problem+json"),
            (Method::POST, "canary-agent/x"),
            (Method::PATCH, "application/problem+json"),
            (Method::OPTIONS, "*/*"),
        ] {
            let request = client
                .request(method, &path)
                .header("accept", accept)
                .header("user-agent", "canary-agent")
                .header("cookie", "canary-cookie")
                .header("last-event-id", "canary-event")
                .header("x-forwarded-for", "canary-forwarded")
                .header("x-forwarded-host", "canary-forwarded")
                .header("forwarded", "for=\"canary-forwarded\";host=canary-forwarded")
                .header("x-request-id", "canary-agent!");
            told.error(Answer::of(request).await);
        }
    }
    streams(server, client, &conversation, &message, told).await;
    bodies(server, client, &at, told).await;
    client.delete(&format!("{at}/messages/{message}")).await;
    client.delete(&format!("{at}/delete")).await.expect(200);
}

/// Watches, rightly and with ids where numbers belong.
async fn streams(server: &Server, client: &Client, conversation: &str, message: &str, told: &mut Told) {
    let at = format!("/conversations/{conversation}");
    for path in [
        format!("{at}/events"),
        format!("{at}/messages/{message}/reply?stream=true"),
    ] {
        let key = format!("X-API-Key: {KEY}");
        let mut stream = EventStream::open(server.address(), &path, &[&key, "Last-Event-ID: 0"]).await;
        let _ = stream.next().await;
        for seen in [conversation, message, "canary-event", KEY] {
            for accept in ["text/event-stream", "application/problem+json"] {
                let request = client.request(Method::GET, &path).header("accept", accept);
                told.error(Answer::of(request.header("last-event-id", seen)).await);
            }
        }
    }
}

/// Bodies that are wrong, too large, too slow or broken off.
async fn bodies(server: &Server, client: &Client, at: &str, told: &mut Told) {
    let create = format!("{at}/messages/create");
    for body in [
        "{\"text\": \"canary-broken",
        "canary-broken",
        "{\"text\": {\"canary-broken\": 1}}",
        "[\"canary-broken\"]",
    ] {
        told.error(client.post(&create, "application/json", body).await);
        told.error(client.post(&create, "text/plain", body).await);
        let request = client.request(Method::PATCH, at).body(body);
        told.error(Answer::of(request.header("content-type", "application/json")).await);
    }
    let long = json!({ "text": "canary-text".repeat(10_000), "role": "user" });
    told.error(client.post_json(&create, &long).await);
    let anonymous = client.anonymous();
    told.error(anonymous.delete(&format!("{at}/delete?canary-search")).await);

    let head = format!(
        "POST {create} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    );
    let mut slow = Raw::connect(server.address()).await;
    let half = format!("{head}Content-Length: 999\r\n\r\n{{\"text\": \"canary-text");
    slow.send(half).await.expect("half a body");
    told.error(slow.answer().await.expect("an answer"));
    let mut broken = Raw::connect(server.address()).await;
    let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\ncanary-broken");
    broken.send(chunk).await.expect("a broken body");
    broken.drained().await;
}

async fn post_under(client: &Client, key: &str, path: &str, body: &Value) -> Answer {
    let request = client.request(Method::POST, path).header("idempotency-key", key);
    Answer::of(request.json(body)).await
}

/// Idempotency-Keys: carried out, said again, at the same time, with another request, on nothing, and malformed.
pub(super) async fn again_and_again(client: &Client, told: &mut Told) {
    let new = json!({ "title": "canary-title", "description": "canary-description" });
    let opened = post_under(client, "canary-idempotency-0", "/conversations/", &new).await;
    let opened = opened.expect(201);
    let conversation = opened["conversation_id"].as_str().expect("an id").to_owned();
    told.id(&conversation);
    let at = format!("/conversations/{conversation}");
    let create = format!("{at}/messages/create");
    let text = json!({ "text": "canary-text", "role": "user" });

    let mut all = JoinSet::new();
    for _ in 0..8 {
        let (client, create, text) = (client.clone(), create.clone(), text.clone());
        all.spawn(async move { post_under(&client, "canary-idempotency-1", &create, &text).await });
    }
    for answer in all.join_all().await {
        told.error(answer);
    }
    let again = post_under(client, "canary-idempotency-1", &create, &text).await;
    assert_eq!(again.header("idempotent-replayed"), "true", "{again:?}");
    let message = again.expect(201)["message_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    told.id(&message);
    let other = json!({ "text": "canary-text of another", "role": "user" });
    let reused = post_under(client, "canary-idempotency-1", &create, &other).await;
    assert_eq!(reused.status, 422, "{reused:?}");
    told.error(reused);
    let wrong = json!({ "text": "canary-text", "role": 1 });
    told.error(post_under(client, "canary-idempotency-2", &create, &wrong).await);
    // Whatever is made of these: malformed, or a key after all.
    for odd in [
        "canary-idempotency ".repeat(50),
        "\"canary-idempotency".to_owned(),
        "canary-idempotency, canary-idempotency".to_owned(),
        "canary-idempotency\u{e9}".to_owned(),
    ] {
        told.error(post_under(client, &odd, &create, &text).await);
    }

    client.finished_reply(&conversation, &message).await;
    let retry = format!("{at}/messages/{message}/reply/retry");
    told.error(post_under(client, "canary-idempotency-3", &retry, &Value::Null).await);
    let deleted = client.delete(&format!("{at}/messages/{message}")).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    told.error(post_under(client, "canary-idempotency-1", &create, &text).await);
    client.delete(&format!("{at}/delete")).await.expect(200);
    told.error(post_under(client, "canary-idempotency-1", &create, &text).await);
    told.error(post_under(client, "canary-idempotency-0", "/conversations/", &new).await);
}
