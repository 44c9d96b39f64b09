//! E: how errors look, and which of several wins.

use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use super::{Behind, Database, NOBODY, Rows, Service, assert_error, head, not_found};
use crate::support::{SOON, eventually};

const JSON: &str = "Content-Type: application/json";
const TEXT: &str = "Content-Type: text/plain";
const HUGE: &str = "Content-Length: 3000000";

/// E1, E2, E3, E4: the envelope of every kind of error, with the sentence that belongs to it
pub(super) async fn every_error_has_the_envelope_and_its_sentence(on: Database) {
    let service = on.service().await;
    let anonymous = service.anonymous();
    let wrong = service.with_key("wrong");
    let body = json!({ "description": "d" });
    let post = "/conversations/";

    let mut rows = Rows::default();
    let detail = |text: &str| json!({ "detail": [text] });
    let answer = service.post_json(post, &json!({})).await;
    rows.error(
        "a field",
        &answer,
        400,
        &json!({ "description": ["This field is required."] }),
    );
    let answer = service.post_json(post, &json!([])).await;
    let said = "Invalid data. Expected a dictionary, but got list.";
    rows.error("a body", &answer, 400, &json!({ "non_field_errors": [said] }));
    let answer = anonymous.post_json(post, &body).await;
    rows.error(
        "no key",
        &answer,
        401,
        &detail("Authentication credentials were not provided."),
    );
    let answer = wrong.post_json(post, &body).await;
    rows.error("a wrong key", &answer, 401, &detail("Invalid API key."));
    rows.error(
        "no such path",
        &service.get("/nope").await,
        404,
        &detail("Not found."),
    );
    let answer = service.get(&format!("/conversations/{NOBODY}")).await;
    rows.error("no such thing", &answer, 404, &detail("Not found."));
    let answer = service.ask(Method::PUT, post).await;
    rows.error(
        "no such method",
        &answer,
        405,
        &detail("Method \"PUT\" not allowed."),
    );
    let answer = service
        .post(post, "application/json", vec![b' '; 3_000_000])
        .await;
    rows.error(
        "too large",
        &answer,
        413,
        &detail("Request body is larger than 2 MiB."),
    );
    let answer = service.post(post, "text/plain", "x").await;
    rows.error(
        "no JSON",
        &answer,
        415,
        &detail("Unsupported media type \"text/plain\" in request."),
    );
}

/// E2: the message of the other codes is what the status line says
pub(super) async fn the_message_repeats_the_status_line(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for (lines, code) in [
        (
            ["PUT /conversations/ HTTP/1.1", "Host: localhost", TEXT].as_slice(),
            405,
        ),
        (&["POST /conversations/ HTTP/1.1", "Host: localhost", HUGE], 413),
        (
            &[
                "POST /conversations/ HTTP/1.1",
                "Host: localhost",
                TEXT,
                &service.key_line(),
            ],
            415,
        ),
    ] {
        let mut raw = service.connect().await;
        raw.send(head(lines)).await.expect("a head to send");
        let (status, head) = raw.head().await.expect("a head");
        let phrase = head
            .lines()
            .next()
            .and_then(|line| line.get(13..))
            .unwrap_or_default()
            .to_owned();
        rows.equal(lines[0], status, code);

        let answer = service.exchange(lines, "").await;
        rows.equal(lines[0], answer.json()["message"].as_str(), Some(phrase.as_str()));
    }
}

/// Puts a table of heads and bodies that deserve two objections each, and the status of the one that comes first.
async fn judge(service: &Service, table: &[(&str, [&str; 4], &str, u16)]) {
    let mut rows = Rows::default();
    for (case, [line, rest @ ..], body, code) in table {
        let lines = [&[*line, "Host: localhost"], rest.as_slice()].concat();
        rows.equal(case, service.exchange(&lines, body).await.status, *code);
    }
}

/// E5: what the head alone decides
pub(super) async fn route_method_size_and_key_are_judged_in_this_order(on: Database) {
    let service = on.service().await;
    let nobody = format!("POST /conversations/{NOBODY}/messages/create HTTP/1.1");
    let key = service.key_line();
    let post = "POST /conversations/ HTTP/1.1";
    let put = "PUT /conversations/ HTTP/1.1";
    let none = "Content-Length: 0";
    let no = "A: b";
    judge(
        &service,
        &[
            (
                "route before method",
                ["PUT /nope HTTP/1.1", TEXT, no, none],
                "",
                404,
            ),
            (
                "route before size",
                ["POST /nope HTTP/1.1", TEXT, no, HUGE],
                "",
                404,
            ),
            ("method before size", [put, TEXT, no, HUGE], "", 405),
            ("method before key", [put, TEXT, no, none], "", 405),
            ("size before key", [post, TEXT, no, HUGE], "", 413),
            ("size before existence", [&nobody, TEXT, &key, HUGE], "", 413),
            ("size before content type", [post, TEXT, &key, HUGE], "", 413),
        ],
    )
    .await;
}

/// E5: what follows once the head has passed
pub(super) async fn key_existence_content_type_size_and_body_are_judged_in_this_order(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("order").await;
    let create = format!("POST /conversations/{conversation}/messages/create HTTP/1.1");
    let nobody = format!("POST /conversations/{NOBODY}/messages/create HTTP/1.1");
    let key = service.key_line();
    let no = "A: b";
    let one = "Content-Length: 1";
    let large = "Transfer-Encoding: chunked";
    let body = format!("{:x}\r\n{}\r\n0\r\n\r\n", 2_100_000, "{".repeat(2_100_000));
    judge(
        &service,
        &[
            ("key before existence", [&nobody, TEXT, no, one], "{", 401),
            ("key before content type", [&create, TEXT, no, one], "{", 401),
            ("key before body", [&create, JSON, no, one], "{", 401),
            (
                "key before size while reading",
                [&create, JSON, no, large],
                &body,
                401,
            ),
            (
                "existence before content type",
                [&nobody, TEXT, &key, one],
                "{",
                404,
            ),
            ("existence before body", [&nobody, JSON, &key, one], "{", 404),
            (
                "existence before size while reading",
                [&nobody, JSON, &key, large],
                &body,
                404,
            ),
            ("content type before body", [&create, TEXT, &key, one], "{", 415),
            (
                "content type before size while reading",
                [&create, TEXT, &key, large],
                &body,
                415,
            ),
            (
                "size while reading before body",
                [&create, JSON, &key, large],
                &body,
                413,
            ),
            ("body at last", [&create, JSON, &key, one], "{", 400),
        ],
    )
    .await;
}

/// E2, E3, E7: whatever goes wrong inside stays inside
pub(super) async fn a_500_tells_a_request_id_and_no_cause(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let conversation = service.conversation("about to break").await;
    Behind::of(&service).await.break_everything().await;

    let answer = service.get(&format!("/conversations/{conversation}")).await;

    let id = answer.header("x-request-id").to_owned();
    let details = json!({ "detail": ["An unexpected error occurred."], "request_id": [id] });
    assert_error(&answer, 500, &details);
    assert_error(&service.get("/nope").await, 404, &not_found());
    eventually("the cause is in the log", SOON, async || {
        let log = service.server().log();
        log.lines()
            .any(|line| line.contains("ERROR") && line.contains(&id))
            .then_some(())
    })
    .await;
}

/// E4, E8: a database that is busy is waited for, but not for ever
pub(super) async fn a_write_that_cannot_be_made_in_time_is_unavailable_and_reads_go_on(on: Database) {
    let Some(service) = on.service_with(&[("HANDLER_TIMEOUT_S", "1")]).await else {
        return;
    };
    let conversation = service.conversation("busy").await;
    let behind = Behind::of(&service).await;
    behind.keep_them_from_writing().await;

    let answer = service
        .post_json("/conversations/", &json!({ "description": "d" }))
        .await;

    let said = answer.json()["details"]["detail"].clone();
    assert_error(&answer, 503, &json!({ "detail": said }));
    assert!(said[0].as_str().is_some_and(|text| !text.is_empty()), "{said}");
    let wait: u32 = answer.header("retry-after").parse().expect("whole seconds");
    assert!(wait >= 1);
    service
        .get(&format!("/conversations/{conversation}"))
        .await
        .expect(200);

    behind.let_them_write().await;
    eventually("writing works again", SOON, async || {
        let answer = service
            .post_json("/conversations/", &json!({ "description": "d" }))
            .await;
        (answer.status == 201).then_some(())
    })
    .await;
}

/// E9: one request too many
pub(super) async fn more_requests_at_once_than_allowed_are_sent_away(on: Database) {
    let Some(service) = on.service_with(&[("MAX_IN_FLIGHT", "1")]).await else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("crowded").await);
    let behind = Behind::of(&service).await;
    behind.keep_them_from_writing().await;
    let client = service.client.clone();
    let slow = tokio::spawn(async move {
        let body = json!({ "description": "waits for the lock" });
        // The place may be taken by one of the requests below, and the lock may outlast the database's patience.
        while client.post_json("/conversations/", &body).await.status != 201 {}
    });

    let answer = eventually("the only place is taken", SOON, async || {
        let answer = service.get(&path).await;
        (answer.status != 200).then_some(answer)
    })
    .await;

    let said = answer.json()["details"]["detail"].clone();
    assert_error(&answer, 503, &json!({ "detail": said }));
    let wait: u32 = answer.header("retry-after").parse().expect("whole seconds");
    assert!(wait >= 1);
    service.get("/livez").await.expect(200);

    behind.let_them_write().await;
    let let_in = timeout(3 * SOON, slow).await;
    let_in.expect("a place in time").expect("the one that waited");
    service.get(&path).await.expect(200);
}
