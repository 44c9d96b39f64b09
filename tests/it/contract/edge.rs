//! H1, H2, H5: headers that every response has, and heads that are too large.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use super::{Database, NOBODY, Rows, Service, fault};
use crate::support::Answer;

/// One answer of every kind that is easily had.
async fn answers(service: &Service) -> Vec<(&'static str, Answer)> {
    let conversation = service.conversation("edge").await;
    let path = format!("/conversations/{conversation}");
    let message = service.message(&conversation, "assistant", "x").await;
    let body = json!({ "description": "d" });
    let large = vec![b' '; 3_000_000];
    vec![
        ("200", service.get(&path).await),
        ("200 of a list", service.get(&format!("{path}/messages")).await),
        ("200 of HEAD", service.ask(Method::HEAD, &path).await),
        ("200 of a probe", service.get("/livez").await),
        ("201", service.post_json("/conversations/", &body).await),
        ("204", service.delete(&format!("{path}/messages/{message}")).await),
        ("204 of OPTIONS", service.ask(Method::OPTIONS, &path).await),
        ("200 of DELETE", service.delete(&format!("{path}/delete")).await),
        ("400", service.post_json("/conversations/", &json!({})).await),
        (
            "400 of a host",
            service.exchange(&["GET / HTTP/1.1", "Host: a_b"], "").await,
        ),
        (
            "401",
            service.anonymous().post_json("/conversations/", &body).await,
        ),
        ("404 of a route", service.get("/nope").await),
        (
            "404 of a thing",
            service.get(&format!("/conversations/{NOBODY}")).await,
        ),
        ("405", service.ask(Method::PUT, "/conversations/").await),
        (
            "413",
            service.post("/conversations/", "application/json", large).await,
        ),
        ("415", service.post("/conversations/", "text/plain", "x").await),
    ]
}

/// H1: on every response
pub(super) async fn every_response_has_the_security_headers(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for (case, answer) in answers(&service).await {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
            ("x-robots-tag", "noindex"),
            ("server", ""),
            ("x-powered-by", ""),
        ] {
            rows.equal(format!("{name} of {case}"), answer.header(name), value);
            rows.equal(
                format!("{name} of {case}, once"),
                answer.headers.get_all(name).iter().count() < 2,
                true,
            );
        }
    }
}

/// H13: two years, and only where there is TLS
pub(super) async fn browsers_are_sent_to_tls_where_it_is(on: Database) {
    let key = "x".repeat(32);
    let mut cases: Vec<(&[(&str, &str)], &str)> = vec![
        (&[], ""),
        (&[("PUBLIC_URL", "http://chat.example")], ""),
        (&[("PUBLIC_URL", "https://chat.example")], "max-age=63072000"),
    ];
    let production = [("PRODUCTION", "1"), ("API_KEY", key.as_str())];
    // A server that forgets what it acknowledged, as the tests' is, is nothing for production.
    if matches!(on, Database::Sqlite) {
        cases.push((&production, "max-age=63072000"));
    }
    let mut rows = Rows::default();
    for (settings, value) in cases {
        let Some(service) = on.service_with(settings).await else {
            return;
        };
        for path in ["/livez", "/nowhere"] {
            let answer = service.get(path).await;
            rows.equal(
                format!("{path} with {settings:?}"),
                answer.header("strict-transport-security"),
                value,
            );
        }
    }
}

fn is_request_id(id: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&id.len()) && id.bytes().all(known)
}

/// H2: every response has one, and each its own
pub(super) async fn every_response_has_a_request_id(on: Database) {
    let service = on.service().await;
    let answers = answers(&service).await;
    let mut rows = Rows::default();
    for (case, answer) in &answers {
        rows.equal(*case, is_request_id(answer.header("x-request-id")), true);
    }
    let ids: BTreeSet<&str> = answers
        .iter()
        .map(|(_, answer)| answer.header("x-request-id"))
        .collect();
    rows.equal("different ids", ids.len(), answers.len());
}

/// H2: the request's own, if it is one
pub(super) async fn a_request_id_is_kept_if_it_is_well_formed(on: Database) {
    let service = on.service().await;
    let ask = async |id: &str| {
        let id = format!("X-Request-Id: {id}");
        service
            .exchange(&["GET /livez HTTP/1.1", "Host: localhost", &id], "")
            .await
            .header("x-request-id")
            .to_owned()
    };
    let longest = "x".repeat(64);
    let mut rows = Rows::default();
    for good in ["a", "A.b_c-9", "0199c0de-0000-7000-8000-000000000001", &longest] {
        rows.equal(good, ask(good).await, good);
    }
    let too_long = "x".repeat(65);
    let huge = "x".repeat(10_000);
    for bad in [
        "",
        "a b",
        "a/b",
        "a\tb",
        "a\"b",
        "ü",
        "a,b",
        "\u{1b}[31m",
        "%0d%0a",
        &too_long,
        &huge,
    ] {
        let id = if bad.contains('\u{1b}') {
            continue;
        } else {
            ask(bad).await
        };
        rows.equal(
            format!("{bad:.20} is replaced"),
            id != bad && is_request_id(&id),
            true,
        );
    }
}

/// H5: targets
pub(super) async fn a_target_of_more_than_8_kib_is_too_long(on: Database) {
    let service = on.service().await;
    let path = format!("/conversations/{}?x=", service.conversation("long").await);
    let mut rows = Rows::default();
    for (length, status) in [(8_000, 200), (8_192, 200), (8_193, 414), (12_000, 414)] {
        let target = format!("{path}{}", "x".repeat(length - path.len()));
        let answer = service.get_raw(&target).await;
        rows.equal(format!("a target of {length}"), answer.status, status);
        if answer.status == 414 {
            let said = answer.json()["details"].clone();
            rows.equal(
                format!("the envelope at {length}"),
                fault(&answer, 414, &said),
                None,
            );
        }
    }
    // What cannot be decoded is three bytes longer in a link, each of which takes three.
    let list = service.conversation_of(&["one", "two"]).await;
    let pages = format!("/conversations/{list}/messages?page_size=1&x=");
    for (bytes, status) in [(800, 200), (1_000, 414)] {
        let answer = service.get_raw(&format!("{pages}{}", "%FF".repeat(bytes))).await;
        rows.equal(format!("{bytes} bytes in a link"), answer.status, status);
    }
    for length in [70_000, 600_000] {
        let status = refused_head(&service, &[&format!("GET {path}{} HTTP/1.1", "x".repeat(length))]).await;
        rows.equal(format!("a target of {length}"), matches!(status, 414 | 431), true);
    }
}

/// H5: headers
pub(super) async fn a_head_has_at_most_64_headers_and_16_kib(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    let headers = |count: usize| {
        (1..count)
            .map(|number| format!("X-{number}: y"))
            .collect::<Vec<_>>()
    };
    for (count, status) in [(64, 200), (65, 431), (150, 431)] {
        let headers = headers(count);
        let lines: Vec<&str> = ["GET /livez HTTP/1.1"]
            .into_iter()
            .chain(headers.iter().map(String::as_str))
            .collect();
        rows.equal(
            format!("{count} headers"),
            refused_head(&service, &lines).await,
            status,
        );
    }
    for (length, status) in [(14_000, 200), (17_000, 431), (200_000, 431)] {
        let header = format!("X-Long: {}", "y".repeat(length));
        let got = refused_head(&service, &["GET /livez HTTP/1.1", &header]).await;
        rows.equal(format!("a header of {length}"), got, status);
    }
}

/// The status that a head gets which may be refused before it was sent to its end.
async fn refused_head(service: &Service, lines: &[&str]) -> u16 {
    let lines: Vec<&str> = lines.iter().copied().chain(["Host: localhost"]).collect();
    let mut raw = service.connect().await;
    // The server may answer and close while this is still being sent.
    let _ = raw.send(super::head(&lines)).await;
    raw.head().await.map_or(0, |(status, _)| status)
}
