//! L: how much of everything.

use serde_json::json;

use super::{Database, Rows, Service, assert_error, head};
use crate::support::{Answer, query};

fn too_long(limit: usize) -> String {
    format!("Ensure this field has no more than {limit} characters.")
}

/// Creates with one field at, and one past, its limit.
async fn judge(rows: &mut Rows, service: &Service, field: &str, limit: usize, unit: &str) {
    let messages = format!(
        "/conversations/{}/messages/create",
        service.conversation("limits").await
    );
    for (length, fits) in [(limit, true), (limit + 1, false)] {
        let value = unit.repeat(length);
        let answer = match field {
            "text" => {
                service
                    .post_json(&messages, &json!({ "role": "assistant", "text": value }))
                    .await
            }
            "title" => {
                service
                    .post_json("/conversations/", &json!({ "description": "d", "title": value }))
                    .await
            }
            _ => {
                service
                    .post_json("/conversations/", &json!({ "description": value }))
                    .await
            }
        };
        let row = format!("{field} of {length} times {unit:?}");
        if fits {
            rows.equal(&row, answer.status, 201);
            rows.equal(&row, answer.json()[field].as_str(), Some(value.as_str()));
        } else {
            rows.error(&row, &answer, 400, &json!({ field: [too_long(limit)] }));
        }
    }
}

/// L1, L2: to the limit and not one further, in code points
pub(super) async fn strings_have_limits_counted_in_code_points(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for unit in ["x", "é", "🎉"] {
        judge(&mut rows, &service, "title", 200, unit).await;
        judge(&mut rows, &service, "description", 500, unit).await;
        judge(&mut rows, &service, "text", 100_000, unit).await;
    }
}

/// L2: neither the white space around nor what a reader calls a letter counts
pub(super) async fn what_counts_is_code_points_after_trimming(on: Database) {
    let service = on.service().await;
    let padded = format!("{}{}{}", " ".repeat(20), "x".repeat(500), "\u{3000}".repeat(20));
    service
        .post_json("/conversations/", &json!({ "description": padded }))
        .await
        .expect(201);

    let accents = "e\u{301}".repeat(250);
    service
        .post_json("/conversations/", &json!({ "description": accents }))
        .await
        .expect(201);
    let answer = service
        .post_json("/conversations/", &json!({ "description": accents + "x" }))
        .await;
    assert_error(&answer, 400, &json!({ "description": [too_long(500)] }));
}

const MIB_2: usize = 2 * 1024 * 1024;

fn too_large() -> serde_json::Value {
    json!({ "detail": ["Request body is larger than 2 MiB."] })
}

/// A good body, made as long as it should be by spaces that mean nothing.
fn body_of(length: usize) -> Vec<u8> {
    let mut body = br#"{"description": "large"}"#.to_vec();
    body.resize(length, b' ');
    body
}

/// L3: to the byte
pub(super) async fn a_body_of_2_mib_fits_and_one_byte_more_does_not(on: Database) {
    let service = on.service().await;
    service
        .post("/conversations/", "application/json", body_of(MIB_2))
        .await
        .expect(201);
    let answer = service
        .post("/conversations/", "application/json", body_of(MIB_2 + 1))
        .await;
    assert_error(&answer, 413, &too_large());
}

/// L3, E5: refused on the word of the head, before the key and before any of it was sent
pub(super) async fn a_declared_size_is_judged_before_the_body_comes(on: Database) {
    let service = on.service().await;
    for length in ["2097153", "1000000000000"] {
        let length = format!("Content-Length: {length}");
        let lines = [
            "POST /conversations/ HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            &length,
        ];
        assert_error(&service.exchange(&lines, "").await, 413, &too_large());
    }
}

/// L3: a size that nobody declared is judged when it is there
pub(super) async fn a_chunked_body_is_judged_as_it_comes(on: Database) {
    let service = on.service().await;
    let mut judged = Vec::new();
    for length in [MIB_2, MIB_2 + 1] {
        let mut raw = service.connect().await;
        let lines = [
            "POST /conversations/ HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            "Transfer-Encoding: chunked",
            &service.key_line(),
        ];
        let mut bytes = head(&lines).into_bytes();
        for chunk in body_of(length).chunks(64 * 1024) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        raw.send(bytes).await.expect("a body to send");
        judged.push(raw.answer().await.expect("an answer"));
    }
    judged[0].expect(201);
    assert_error(&judged[1], 413, &too_large());
}

async fn nested(service: &Service, opening: &str, levels: usize, closing: &str) -> Answer {
    let inner = opening.repeat(levels) + "1" + &closing.repeat(levels);
    let body = format!(r#"{{"description": "d", "x": {inner}}}"#);
    service.post("/conversations/", "application/json", body).await
}

/// L4: as deep as anyone needs
pub(super) async fn json_nests_64_levels_and_no_deeper(on: Database) {
    let service = on.service().await;
    let details = json!({ "detail": ["JSON parse error - nesting deeper than 64 levels."] });
    let mut rows = Rows::default();
    for (opening, closing) in [("[", "]"), (r#"{"a":"#, "}")] {
        rows.equal(opening, nested(&service, opening, 63, closing).await.status, 201);
        for levels in [64, 2_000, 100_000] {
            let answer = nested(&service, opening, levels, closing).await;
            rows.error(format!("{levels} times {opening}"), &answer, 400, &details);
        }
    }
    let answer = service
        .post("/conversations/", "application/json", "[".repeat(100_000))
        .await;
    rows.error("a hundred thousand brackets", &answer, 400, &details);
}

/// L5: on a conversation and on its list
pub(super) async fn a_search_term_has_at_most_256_code_points(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation(&"ü".repeat(256)).await;
    service
        .message(&conversation, "assistant", &"ü".repeat(256))
        .await;

    let mut rows = Rows::default();
    for path in [
        format!("/conversations/{conversation}"),
        format!("/conversations/{conversation}/messages"),
    ] {
        let fits = service
            .get(&format!("{path}{}", query(&[("q", "ü".repeat(256))])))
            .await;
        rows.equal(&path, fits.status, 200);
        let answer = service
            .get(&format!("{path}{}", query(&[("q", "ü".repeat(257))])))
            .await;
        rows.error(&path, &answer, 400, &json!({ "q": [too_long(256)] }));
        let answer = service.get(&format!("{path}?q={}", "x".repeat(3_000))).await;
        rows.error(&path, &answer, 400, &json!({ "q": [too_long(256)] }));
    }
}
