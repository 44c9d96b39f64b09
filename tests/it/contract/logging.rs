//! G: what the log tells, and what it never tells.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Database, Rows, Service};
use crate::support::{Answer, SOON, Server, eventually};

/// The first line of the log with this in it, once it is there.
async fn line_with(server: &Server, what: &str) -> String {
    eventually(&format!("a line with {what}"), SOON, async || {
        server
            .log()
            .lines()
            .find(|line| line.contains(what))
            .map(str::to_owned)
    })
    .await
}

async fn ask_as(service: &Service, id: &str, method: Method, path: &str) -> Answer {
    Answer::of(service.request(method, path).header("x-request-id", id)).await
}

/// G1: one line for each request
pub(super) async fn every_request_is_one_line(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let conversation = service.conversation("lines").await;
    let path = format!("/conversations/{conversation}");
    let mut rows = Rows::default();
    for (id, method, path, route, status) in [
        (
            "line-1",
            Method::GET,
            path.clone(),
            "/conversations/{conversation_id}",
            "200",
        ),
        (
            "line-2",
            Method::GET,
            format!("{path}/messages?page=9"),
            "/conversations/{conversation_id}/messages",
            "404",
        ),
        (
            "line-3",
            Method::PUT,
            "/conversations/".to_owned(),
            "/conversations/",
            "405",
        ),
        (
            "line-4",
            Method::POST,
            "/conversations/".to_owned(),
            "/conversations/",
            "415",
        ),
        (
            "line-5",
            Method::DELETE,
            format!("{path}/delete"),
            "/conversations/{conversation_id}/delete",
            "200",
        ),
    ] {
        ask_as(&service, id, method.clone(), &path).await;
        let line = line_with(service.server(), id).await;
        for part in [method.as_str(), route, status, "duration"] {
            rows.equal(format!("{part} in {line}"), line.contains(part), true);
        }
        let lines = service
            .server()
            .log()
            .lines()
            .filter(|line| line.contains(id))
            .count();
        rows.equal(format!("lines of {id}"), lines, 1);
    }
}

/// G2: two places, and a warning about the well-known key
pub(super) async fn the_log_goes_to_the_console_and_to_the_file(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    ask_as(&service, "both-places", Method::GET, "/nope").await;
    line_with(service.server(), "both-places").await;
    eventually("the line is on the console", SOON, async || {
        service.server().stderr().contains("both-places").then_some(())
    })
    .await;
    let log = service.server().log();
    assert!(
        log.lines()
            .any(|line| line.contains("WARN") && line.contains("DEFAULT API KEY")),
        "{log}"
    );
}

/// G2: elsewhere, or nowhere
pub(super) async fn the_log_file_can_be_moved_or_switched_off(on: Database) {
    let Some(service) = on.service_with(&[("LOG_FILE", "elsewhere/own.log")]).await else {
        return;
    };
    let home = service.server().home();
    ask_as(&service, "moved", Method::GET, "/nope").await;
    eventually("the line is in the other file", SOON, async || {
        let log = std::fs::read_to_string(home.path().join("elsewhere/own.log")).unwrap_or_default();
        log.contains("moved").then_some(())
    })
    .await;
    assert!(!home.path().join("logs").exists());

    let Some(service) = on.service_with(&[("LOG_FILE", "off")]).await else {
        return;
    };
    ask_as(&service, "console-only", Method::GET, "/nope").await;
    eventually("the line is on the console", SOON, async || {
        service.server().stderr().contains("console-only").then_some(())
    })
    .await;
    assert!(!service.server().home().path().join("logs").exists());
}

/// G3: canaries in every place that a client can reach
pub(super) async fn no_id_key_or_text_is_ever_logged(on: Database) {
    let Some(mut service) = on.service_with(&[("LOG_LEVEL", "trace")]).await else {
        return;
    };
    let body = json!({ "title": "canary-title", "description": "canary-words" });
    let made = service.post_json("/conversations/", &body).await.expect(201);
    let conversation = made["conversation_id"].as_str().expect("an id").to_owned();
    let message = service.message(&conversation, "user", "hello canary-text").await;
    let reply = service.finished_reply(&conversation, &message).await;
    let path = format!("/conversations/{conversation}");
    for path in [
        path.clone(),
        format!("{path}?q=canary-term"),
        format!("{path}/messages?q=canary-term&role=canary-role&canary-name=canary-value"),
        format!("{path}/messages/{message}/reply"),
        format!("{path}/canary-path"),
        "/canary-path".to_owned(),
    ] {
        service.get(&path).await;
    }
    let wrong = service.with_key("canary-key");
    wrong
        .post_json("/conversations/", &json!({ "canary-field": "canary-value" }))
        .await;
    service
        .post(&format!("{path}/messages/create"), "canary/type", "canary-body")
        .await;
    service
        .post(
            &format!("{path}/messages/create"),
            "application/json",
            "canary-body",
        )
        .await;
    service
        .post_json(
            &format!("{path}/messages/create"),
            &json!({ "role": "canary-role", "text": 5 }),
        )
        .await;
    service
        .exchange(
            &["GET / HTTP/1.1", "Host: canary_host", "Cookie: canary-cookie"],
            "",
        )
        .await;
    service.delete(&format!("{path}/messages/{message}")).await;
    service.delete(&format!("{path}/delete")).await.expect(200);

    let server = service.server.as_mut().expect("a server of our own");
    server.terminate();
    server.wait_exit(SOON).await;
    let told = server.log() + &server.stderr();
    let mut rows = Rows::default();
    let answer = reply["assistant_message_id"].as_str().expect("an answer");
    for secret in [
        "canary",
        &conversation,
        &message,
        answer,
        "neuRealities_assessment",
        "How can I assist",
    ] {
        let line = told.lines().find(|line| line.contains(secret));
        rows.equal(secret, line, None::<&str>);
    }
    rows.equal("there is a log", told.lines().count() > 10, true);
}

/// G4: for machines
pub(super) async fn the_log_can_be_json(on: Database) {
    let Some(service) = on.service_with(&[("LOG_FORMAT", "json")]).await else {
        return;
    };
    ask_as(&service, "as-json", Method::GET, "/nope").await;
    line_with(service.server(), "as-json").await;
    let log = service.server().log();
    let complete = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
    for line in complete.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|line| line.is_object()), "{line}");
    }
}
