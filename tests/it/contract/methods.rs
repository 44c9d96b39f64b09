//! R7, R8, R9: which methods a path has, and the two that come by themselves.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use super::{Database, Rows, Service, assert_error, not_found};

/// Every path of the service with the methods that it has.
async fn paths(service: &Service) -> Vec<(String, &'static str)> {
    let conversation = service.conversation("methods").await;
    let message = service.message(&conversation, "user", "hello").await;
    service.finished_reply(&conversation, &message).await;
    let mut paths = Vec::new();
    for prefix in ["", "/api/v1"] {
        let base = format!("{prefix}/conversations/{conversation}");
        paths.extend([
            (format!("{prefix}/conversations"), "POST, OPTIONS"),
            (format!("{prefix}/conversations/"), "POST, OPTIONS"),
            (base.clone(), "GET, HEAD, PATCH, OPTIONS"),
            (format!("{base}/settings"), "GET, HEAD, OPTIONS"),
            (format!("{base}/events"), "GET, HEAD, OPTIONS"),
            (format!("{base}/delete"), "DELETE, OPTIONS"),
            (format!("{base}/messages"), "GET, HEAD, OPTIONS"),
            (format!("{base}/messages/create"), "POST, OPTIONS"),
            (format!("{base}/messages/{message}"), "GET, HEAD, DELETE, OPTIONS"),
            (format!("{base}/messages/{message}/reply"), "GET, HEAD, OPTIONS"),
            (format!("{base}/messages/{message}/reply/cancel"), "POST, OPTIONS"),
            (format!("{base}/messages/{message}/reply/retry"), "POST, OPTIONS"),
            (
                format!("{base}/messages/{message}/reply/attempts"),
                "GET, HEAD, OPTIONS",
            ),
        ]);
    }
    paths
}

/// `Allow` is a set: its order means nothing.
fn set(allow: &str) -> BTreeSet<&str> {
    allow.split(',').map(str::trim).collect()
}

/// R7, E5: a method that the path does not have, before the key is looked at
pub(super) async fn a_method_that_a_path_does_not_have_is_not_allowed(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for (path, allow) in paths(&service).await {
        for name in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO", "get"] {
            if set(allow).contains(name) {
                continue;
            }
            let method = Method::from_bytes(name.as_bytes()).expect("a method");
            let answer = service.anonymous().ask(method, &path).await;
            let details = json!({ "detail": [format!("Method \"{name}\" not allowed.")] });
            rows.error(format!("{name} {path}"), &answer, 405, &details);
            rows.equal(
                format!("Allow of {name} {path}"),
                set(answer.header("allow")),
                set(allow),
            );
        }
        if !set(allow).contains("HEAD") {
            rows.equal(
                format!("HEAD {path}"),
                service.ask(Method::HEAD, &path).await.status,
                405,
            );
        }
    }
}

/// R7: the list of conversations is nobody's business
pub(super) async fn nothing_lists_conversations(on: Database) {
    let service = on.service().await;
    let answer = service.get("/conversations/").await;
    assert_error(
        &answer,
        405,
        &json!({ "detail": ["Method \"GET\" not allowed."] }),
    );
    assert_eq!(set(answer.header("allow")), set("POST, OPTIONS"));
}

/// R8: HEAD is GET without the body
pub(super) async fn head_answers_as_get_does_without_a_body(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    let paths = paths(&service)
        .await
        .into_iter()
        // A stream of events does not end, so it is asked elsewhere.
        .filter(|(path, allow)| set(allow).contains("GET") && !path.ends_with("/events"));
    for path in paths
        .map(|(path, _)| path)
        .chain(["/nope".to_owned(), "/livez".to_owned()])
    {
        let [got, head] = [service.get(&path).await, service.ask(Method::HEAD, &path).await];
        rows.equal(format!("status of {path}"), head.status, got.status);
        rows.equal(format!("body of {path}"), head.text(), "");
        let length = got.body.len().to_string();
        rows.equal(format!("length of {path}"), head.header("content-length"), length);
        let [mut got, mut head] = [got.headers, head.headers];
        for of_its_own in ["date", "x-request-id"] {
            got.remove(of_its_own);
            head.remove(of_its_own);
        }
        rows.equal(format!("headers of {path}"), head, got);
    }
}

/// R9: OPTIONS tells the methods and nothing else
pub(super) async fn options_answers_without_a_key_and_lists_the_methods(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for (path, allow) in paths(&service).await {
        let answer = service.anonymous().ask(Method::OPTIONS, &path).await;
        rows.equal(
            format!("OPTIONS {path}"),
            (answer.status, answer.text()),
            (204, String::new()),
        );
        rows.equal(
            format!("Allow of {path}"),
            set(answer.header("allow")),
            set(allow),
        );
    }
    let answer = service.ask(Method::OPTIONS, "/nope").await;
    rows.error("OPTIONS of no path", &answer, 404, &not_found());
}
