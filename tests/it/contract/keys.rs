//! K: who may do what.

use reqwest::Method;
use serde_json::json;

use super::{Database, NOBODY, Rows, Service, assert_error, not_found};
use crate::support::{Answer, DEFAULT_KEY};

const MISSING: &str = "Authentication credentials were not provided.";
pub(super) const INVALID: &str = "Invalid API key.";

/// What changes something, with paths that may name nothing.
fn writes(conversation: &str, message: &str) -> [(Method, String); 7] {
    let base = format!("/conversations/{conversation}");
    [
        (Method::POST, "/conversations/".to_owned()),
        (Method::POST, format!("{base}/messages/create")),
        (Method::PATCH, base.clone()),
        (Method::POST, format!("{base}/messages/{message}/reply/cancel")),
        (Method::POST, format!("{base}/messages/{message}/reply/retry")),
        (Method::DELETE, format!("{base}/messages/{message}")),
        (Method::DELETE, format!("{base}/delete")),
    ]
}

pub(super) fn reads(conversation: &str, message: &str) -> [String; 6] {
    let base = format!("/conversations/{conversation}");
    [
        base.clone(),
        format!("{base}/messages"),
        format!("{base}/messages/{message}"),
        format!("{base}/messages/{message}/reply"),
        format!("{base}/messages/{message}/reply/attempts"),
        // It ends, as the rules have answered soon.
        format!("{base}/messages/{message}/reply?stream=true"),
    ]
}

/// K9: what only those with a key may read
pub(super) async fn settings_are_read_with_the_key(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("keys").await;
    let mut rows = Rows::default();
    for conversation in [conversation.as_str(), NOBODY] {
        let path = format!("/conversations/{conversation}/settings");
        for (client, said) in [
            (service.anonymous(), MISSING),
            (service.with_key("wrong"), INVALID),
        ] {
            rows.error(&path, &client.get(&path).await, 401, &json!({ "detail": [said] }));
        }
    }
    let path = format!("/conversations/{conversation}/settings");
    rows.equal("with the key", service.get(&path).await.status, 200);
}

/// K1, K2: no key and a wrong key, on every route that needs one
pub(super) async fn every_write_needs_a_key(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("keys").await;
    let message = service.message(&conversation, "user", "hello").await;
    let mut rows = Rows::default();
    for (method, path) in writes(&conversation, &message) {
        for (client, said) in [
            (service.anonymous(), MISSING),
            (service.with_key("wrong"), INVALID),
        ] {
            let answer = client.ask(method.clone(), &path).await;
            rows.error(
                format!("{method} {path}"),
                &answer,
                401,
                &json!({ "detail": [said] }),
            );
            rows.equal(
                format!("challenge of {path}"),
                answer.header("www-authenticate"),
                "ApiKey",
            );
        }
    }
    for path in reads(&conversation, &message) {
        rows.equal(
            format!("GET {path}"),
            service.anonymous().get(&path).await.status,
            200,
        );
    }
}

/// K3, E5: nothing is said to a stranger
pub(super) async fn the_key_is_judged_before_anything_else_is_told(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for (client, said) in [
        (service.anonymous(), MISSING),
        (service.with_key("wrong"), INVALID),
    ] {
        for (method, path) in writes(NOBODY, NOBODY) {
            for content_type in ["application/json", "text/plain"] {
                let request = client
                    .request(method.clone(), &path)
                    .header("content-type", content_type)
                    .body("{");
                let row = format!("{method} {path} as {content_type}");
                rows.error(row, &Answer::of(request).await, 401, &json!({ "detail": [said] }));
            }
        }
    }
}

/// Creates a conversation with these header lines besides the usual ones.
async fn create_with(service: &Service, lines: &[&str]) -> Answer {
    let usual = [
        "POST /conversations/ HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
    ];
    let lines = [&usual, lines, &["Content-Length: 20"]].concat();
    service.exchange(&lines, r#"{"description": "d"}"#).await
}

/// K4: white space is HTTP's business, case is not
pub(super) async fn spaces_around_a_key_do_not_matter_and_its_case_does(on: Database) {
    let service = on.service().await;
    let key = service.key().expect("a key").to_owned();
    let mut rows = Rows::default();
    for line in [
        format!("X-API-Key:   {key}  "),
        format!("X-API-Key:{key}\t"),
        format!("x-api-key: {key}"),
    ] {
        rows.equal(&line, create_with(&service, &[&line]).await.status, 201);
    }
    for wrong in [
        key.to_uppercase(),
        key.to_lowercase(),
        format!("{key}x"),
        key[1..].to_owned(),
        format!("\"{key}\""),
    ] {
        let answer = create_with(&service, &[&format!("X-API-Key: {wrong}")]).await;
        rows.error(&wrong, &answer, 401, &json!({ "detail": [INVALID] }));
    }
}

/// K2, K5: what is no key, or more than one
pub(super) async fn there_is_one_header_for_the_key_and_it_comes_once(on: Database) {
    let service = on.service().await;
    let good = service.key_line();
    let key = service.key().expect("a key").to_owned();
    let mut rows = Rows::default();
    for lines in [
        vec![format!("X_API_Key: {key}")],
        vec![format!("API-Key: {key}")],
        vec!["X-API-Key:".to_owned()],
        vec!["X-API-Key: \u{fffd}".to_owned()],
        vec![good.clone(), "X-API-Key: wrong".to_owned()],
        vec!["X-API-Key: wrong".to_owned(), good.clone()],
        vec![good.clone(), good.clone()],
        vec![format!("X-API-Key: {key}, {key}")],
        vec![good.clone(), format!("Authorization: Bearer {key}")],
        vec![good.clone(), "Authorization: Bearer wrong".to_owned()],
        vec![
            "X-API-Key: wrong".to_owned(),
            format!("Authorization: Bearer {key}"),
        ],
        vec![format!("Authorization: Bearer {key}"); 2],
        vec![
            format!("Authorization: Basic {key}"),
            format!("Authorization: Bearer {key}"),
        ],
        vec!["Authorization: Bearer".to_owned()],
        vec![format!("Authorization: Basic {key}")],
        vec![format!("Authorization: {key}")],
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = create_with(&service, &lines).await;
        let said = answer.json()["details"]["detail"][0].clone();
        rows.equal(format!("{lines:?}"), said == MISSING || said == INVALID, true);
        rows.error(format!("{lines:?}"), &answer, 401, &json!({ "detail": [said] }));
    }
    for lines in [
        vec![good.as_str()],
        vec![&format!("Authorization: Bearer {key}")],
        vec![&format!("authorization:  bearer   {key} ")],
        // Somebody else's: a proxy in front may have its own.
        vec![&good, "Authorization: Basic dXNlcjpwYXNz"],
    ] {
        rows.equal(
            format!("control: {lines:?}"),
            create_with(&service, &lines).await.status,
            201,
        );
    }
}

/// K6: a key that nobody asked for
pub(super) async fn reading_with_a_wrong_key_works(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("keys").await;
    let message = service.message(&conversation, "user", "hello").await;
    for path in reads(&conversation, &message) {
        let answer = service.with_key("wrong").get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

/// K7: reading behind the key
pub(super) async fn reads_can_be_closed(on: Database) {
    let Some(service) = on.service_with(&[("READS", "key")]).await else {
        return;
    };
    let conversation = service.conversation("closed").await;
    let message = service.message(&conversation, "user", "hello").await;

    let mut rows = Rows::default();
    for path in reads(&conversation, &message)
        .into_iter()
        .chain(reads(NOBODY, NOBODY))
    {
        let answer = service.anonymous().get(&path).await;
        rows.error(&path, &answer, 401, &json!({ "detail": [MISSING] }));
        let answer = service.with_key("wrong").get(&path).await;
        rows.error(&path, &answer, 401, &json!({ "detail": [INVALID] }));
        rows.equal(
            format!("HEAD {path}"),
            service.anonymous().ask(Method::HEAD, &path).await.status,
            401,
        );
        rows.equal(
            format!("OPTIONS {path}"),
            service.anonymous().ask(Method::OPTIONS, &path).await.status,
            204,
        );
    }
    for path in reads(&conversation, &message) {
        rows.equal(
            format!("{path} with the key"),
            service.get(&path).await.status,
            200,
        );
    }
    let path = format!("/conversations/{conversation}/events");
    let answer = service.anonymous().get(&path).await;
    rows.error(&path, &answer, 401, &json!({ "detail": [MISSING] }));
    let mut stream = service.watch_with(&path, &[&service.key_line()]).await;
    rows.equal("with the key", stream.next().await.is_some(), true);
    for probe in ["/livez", "/readyz"] {
        rows.equal(probe, service.anonymous().get(probe).await.status, 200);
    }
    assert_error(&service.anonymous().get("/nope").await, 404, &not_found());
}

/// K8: the operator's key ends the reign of the well-known one
pub(super) async fn a_configured_key_is_the_only_key(on: Database) {
    let own = "a-key-that-only-this-test-knows";
    let Some(service) = on.service_with(&[("API_KEY", own)]).await else {
        return;
    };
    let body = json!({ "description": "d" });

    let refused = service
        .with_key(DEFAULT_KEY)
        .post_json("/conversations/", &body)
        .await;
    let accepted = service.with_key(own).post_json("/conversations/", &body).await;

    assert_error(&refused, 401, &json!({ "detail": [INVALID] }));
    accepted.expect(201);
}

/// K8: a fresh service on loopback
pub(super) async fn the_well_known_key_opens_a_fresh_service(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    service
        .with_key("neuRealities_assessment")
        .conversation("open")
        .await;
}
