//! E10: errors as RFC 9457 has them.

use serde_json::{Value, json};

use super::{Database, NOBODY, Rows, Service};
use crate::support::Answer;

const NAMED: &str = "Accept: application/problem+json";
const THROTTLED: &str = "X-Forwarded-For: 203.0.113.7";

/// A service in which every kind of error is easily had.
async fn strict(on: Database) -> Option<Service> {
    on.service_with(&[
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("ADDRESS_401S_PER_MIN", "1"),
        ("MAX_BODIES_MIB", "1"),
        ("BODY_TIMEOUT_S", "1"),
        ("READS", "key"),
    ])
    .await
}

/// A request for each error, with what it says: the sentence, or else the field.
async fn errors(service: &Service, accept: &str) -> Vec<(u16, Value, Answer)> {
    let key = service.key_line();
    let nobody = format!("GET /conversations/{NOBODY} HTTP/1.1");
    let long = format!("GET /{} HTTP/1.1", "x".repeat(9_000));
    let post = "POST /conversations/ HTTP/1.1";
    let json_type = "Content-Type: application/json";
    let requests: [(u16, Value, &[&str]); 13] = [
        (
            400,
            json!({ "description": ["This field is required."] }),
            &[post, &key, json_type],
        ),
        (
            400,
            json!({ "detail": ["Invalid Host header."] }),
            &["GET /livez HTTP/1.1", "Host: a_b"],
        ),
        (
            401,
            json!({ "detail": ["Authentication credentials were not provided."] }),
            &[post],
        ),
        (
            404,
            json!({ "detail": ["Not found."] }),
            &["GET /nowhere HTTP/1.1"],
        ),
        (404, json!({ "detail": ["Not found."] }), &[&nobody, &key]),
        (
            405,
            json!({ "detail": ["Method \"PUT\" not allowed."] }),
            &["PUT /conversations/ HTTP/1.1", &key],
        ),
        (
            408,
            json!({ "detail": ["The request body took too long."] }),
            &[post, &key, json_type, "Content-Length: 9"],
        ),
        (
            413,
            json!({ "detail": ["Request body is larger than 2 MiB."] }),
            &[post, &key, "Content-Length: 3000000"],
        ),
        (
            414,
            json!({ "detail": ["Request target is longer than 8 KiB."] }),
            &[&long],
        ),
        (
            415,
            json!({ "detail": ["Unsupported media type \"text/x\" in request."] }),
            &[post, &key, "Content-Type: text/x"],
        ),
        (
            503,
            json!({ "detail": ["There are too many request bodies."] }),
            &[post, &key, json_type, "Content-Length: 2000000"],
        ),
        (
            401,
            json!({ "detail": ["Invalid API key."] }),
            &[post, "X-API-Key: wrong", THROTTLED],
        ),
        (429, Value::Null, &[post, &key, THROTTLED]),
    ];
    let mut answers = Vec::new();
    for (status, errors, lines) in requests {
        let names_host = lines.iter().any(|line| line.starts_with("Host"));
        let host = if names_host { "A: b" } else { "Host: localhost" };
        let lines = [&lines[..1], &[host, accept], &lines[1..]].concat();
        answers.push((status, errors, service.exchange(&lines, "").await));
    }
    answers
}

/// E10, R12: on every route, with the same errors inside
pub(super) async fn whoever_names_problem_json_gets_it_for_every_error(on: Database) {
    let Some(service) = strict(on).await else { return };
    let mut rows = Rows::default();
    for (status, errors, answer) in errors(&service, NAMED).await {
        let row = format!("{status} {errors}");
        let errors = if status == 429 {
            answer.json()["errors"].clone()
        } else {
            errors
        };
        let mut expected = json!({
            "type": "about:blank",
            "title": reqwest::StatusCode::from_u16(status).unwrap().canonical_reason(),
            "status": status,
            "errors": errors,
            "request_id": answer.header("x-request-id"),
        });
        if let Some(detail) = errors.get("detail") {
            expected["detail"] = detail[0].clone();
        }
        rows.equal(&row, answer.status, status);
        rows.equal(&row, answer.header("content-type"), "application/problem+json");
        rows.equal(&row, answer.header("vary"), "Accept");
        rows.equal(&row, answer.json(), expected);
        rows.equal(&row, answer.header("x-content-type-options"), "nosniff");
        let comes_again = matches!(status, 429 | 503);
        rows.equal(&row, answer.headers.contains_key("retry-after"), comes_again);
        rows.equal(
            &row,
            answer.headers.contains_key("www-authenticate"),
            status == 401,
        );
    }
    let conversation = service.conversation("no error").await;
    let lines = [
        &format!("GET /conversations/{conversation} HTTP/1.1"),
        "Host: localhost",
        NAMED,
        &service.key_line(),
    ];
    let fine = service.exchange(&lines, "").await;
    rows.equal(
        "no error",
        (fine.status, fine.header("content-type")),
        (200, "application/json"),
    );
}

/// E1, E10, R12: control: wildcards and refusals name nothing
pub(super) async fn whoever_names_something_else_gets_the_envelope(on: Database) {
    let mut rows = Rows::default();
    for accept in [
        "*/*",
        "application/*",
        "application/json",
        "application/problem+json;q=0",
    ] {
        let Some(service) = strict(on).await else { return };
        for (status, errors, answer) in errors(&service, &format!("Accept: {accept}")).await {
            let row = format!("{accept}: {status}");
            let errors = if status == 429 {
                answer.json()["details"].clone()
            } else {
                errors
            };
            rows.error(&row, &answer, status, &errors);
            rows.equal(&row, answer.header("vary"), "Accept");
        }
    }
}
