//! Keys, texts and ids stay out of the logs and out of what errors tell, at the most talkative level.

use reqwest::Method;
use serde_json::json;

use super::{Proof, ensure, fails, holds, new_home};
use crate::support::{Answer, Raw, SOON, Server};

const KEY: &str = "canary-key-000000000000000000001";

/// What must not appear anywhere; ids are added when they are known.
const CANARIES: [&str; 11] = [
    KEY,
    "canary-wrong-key",
    "canary-text",
    "canary-title",
    "canary-description",
    "canary-search",
    "canary-idempotency",
    "canary-path",
    "canary-agent",
    "canary-cookie",
    "canary-broken",
];

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    lines: usize,
    errors: usize,
}

/// Does everything there is to do, right and wrong, then looks for the canaries.
async fn prove(format: &str, ids: &str) -> Proof<Report> {
    let server = Server::builder()
        .env("API_KEY", KEY)
        .env("LOG_LEVEL", "trace")
        .env("LOG_FORMAT", format)
        .env("LOG_IDS", ids)
        .env("BODY_TIMEOUT_S", "1")
        .start()
        .await;
    let client = server.client().with_key(KEY);
    let mut errors = Vec::new();

    let new = json!({ "title": "canary-title", "description": "canary-description" });
    let opened = client.post_json("/conversations/", &new).await.expect(201);
    let conversation = opened["conversation_id"].as_str().expect("an id").to_owned();
    let message = client.message(&conversation, "user", "canary-text?").await;
    client.finished_reply(&conversation, &message).await;
    let at = format!("/conversations/{conversation}");
    let create = format!("{at}/messages/create");
    for path in [
        format!("{at}?q=canary-search"),
        format!("{at}/messages?q=canary-search&page=9"),
        format!("{at}/messages/{message}"),
        format!("{at}/messages/{message}/reply"),
        format!("{at}/canary-path"),
        "/canary-path".to_owned(),
        "/conversations/canary-path".to_owned(),
        format!("{at}/messages/canary-path?q=%00canary-search"),
        format!("{at}/messages?page=x&q=canary-search"),
        format!("{at}/messages?q={}", "canary-search".repeat(50)),
        format!("/{}", "canary-path".repeat(1_000)),
    ] {
        for method in [
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::POST,
            Method::OPTIONS,
        ] {
            let request = client.request(method, &path);
            let request = request
                .header("user-agent", "canary-agent")
                .header("cookie", "canary-cookie");
            errors.push(Answer::of(request.header("x-request-id", "canary-agent!")).await);
        }
    }
    let bad = client.with_key("canary-wrong-key");
    errors.push(
        bad.post_json(&create, &json!({ "text": "canary-text", "role": "user" }))
            .await,
    );
    errors.push(
        client
            .anonymous()
            .delete(&format!("{at}/delete?canary-search"))
            .await,
    );
    let request = client
        .request(Method::POST, &create)
        .header("idempotency-key", "canary-idempotency");
    errors.push(Answer::of(request.json(&json!({ "text": "canary-text", "role": 1 }))).await);
    for body in [
        "{\"text\": \"canary-broken",
        "canary-broken",
        "{\"text\": {\"canary-broken\": 1}}",
        "[\"canary-broken\"]",
    ] {
        errors.push(client.post(&create, "application/json", body).await);
        errors.push(client.post(&create, "text/plain", body).await);
    }
    errors.push(
        client
            .post_json(
                &create,
                &json!({ "text": "canary-text".repeat(10_000), "role": "user" }),
            )
            .await,
    );
    let mut slow = Raw::connect(server.address()).await;
    let head = format!(
        "POST {create} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    );
    slow.send(format!(
        "{head}Content-Length: 999\r\n\r\n{{\"text\": \"canary-text"
    ))
    .await
    .expect("half a body");
    errors.push(slow.answer().await.expect("an answer"));
    let mut broken = Raw::connect(server.address()).await;
    broken
        .send(format!(
            "{head}Transfer-Encoding: chunked\r\n\r\nzz\r\ncanary-broken"
        ))
        .await
        .expect("a broken body");
    broken.drained().await;
    client.delete(&format!("{at}/messages/{message}")).await;
    client.delete(&format!("{at}/delete")).await.expect(200);
    errors.retain(|answer| answer.status >= 400);
    judge(server, &errors, &[&conversation, &message]).await
}

/// Looks at all that was said, once all of it is written.
async fn judge(mut server: Server, errors: &[Answer], ids: &[&str]) -> Proof<Report> {
    server.terminate();
    server.wait_exit(2 * SOON).await;
    let (log, console) = (server.log(), server.stderr());
    for said in [&log, &console] {
        ensure(said.contains("request") && said.contains("reply"), || {
            format!("nothing was logged: {said}")
        })?;
    }
    let bare = ids.iter().map(|id| id.replace('-', "")).collect::<Vec<_>>();
    let canaries = CANARIES
        .iter()
        .chain(ids)
        .copied()
        .chain(bare.iter().map(String::as_str));
    for canary in canaries {
        for (place, said) in [("log", &log), ("console", &console)] {
            let line = said.lines().find(|line| line.contains(canary));
            ensure(line.is_none(), || format!("the {place} tells {canary}: {line:?}"))?;
        }
        let told = errors.iter().find(|answer| answer.text().contains(canary));
        ensure(told.is_none(), || format!("an error tells {canary}: {told:?}"))?;
    }
    Ok(Report {
        lines: log.lines().count(),
        errors: errors.len(),
    })
}

#[tokio::test]
async fn neither_logs_nor_errors_tell_secrets_texts_or_ids() {
    for format in ["text", "json"] {
        holds(prove(format, "hashed").await, &new_home());
    }
}

#[tokio::test]
async fn control_ids_in_the_clear_are_seen() {
    for format in ["text", "json"] {
        fails(prove(format, "plain").await, "the log tells");
    }
}

#[tokio::test]
async fn control_an_error_that_repeats_the_key_is_seen() {
    let server = Server::start().await;
    let client = server.client();
    let conversation = client.conversation("quiet").await;
    let message = client.message(&conversation, "user", "quiet").await;
    client.finished_reply(&conversation, &message).await;
    let telling = client
        .post_json(
            "/conversations/",
            &json!({ "description": 1, KEY: 1, "title": KEY.repeat(9) }),
        )
        .await;
    let telling = Answer {
        body: format!("{} {KEY}", telling.text()).into_bytes(),
        ..telling
    };
    fails(judge(server, &[telling], &[]).await, "an error tells");
}

/// P23 holds for people who look at their configuration, too.
#[tokio::test]
async fn a_refused_start_does_not_tell_the_key() {
    let home = new_home();
    for (name, value) in [
        ("API_KEY", "canary key with spaces"),
        ("API_KEY_FILE", "/nonexistent"),
    ] {
        let run = Server::builder_over(&home).env(name, value).run().await;
        assert_eq!(run.code, Some(78), "{run:?}");
        assert!(
            !run.stderr.contains("canary") && !run.stdout.contains("canary"),
            "{run:?}"
        );
    }
}
