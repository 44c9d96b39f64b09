//! B10 to B15: what a body is written in.

use reqwest::Method;
use serde_json::json;

use super::{Database, Rows, assert_error};
use crate::support::Answer;

/// B10: JSON, and not nearly
pub(super) async fn what_is_not_json_is_a_parse_error(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    let table: [(&str, &[u8]); 19] = [
        ("a word", b"hello"),
        ("an open object", br#"{"description": "d""#),
        ("an open string", br#"{"description": "d"#),
        ("a raw newline in a string", b"{\"description\": \"a\nb\"}"),
        (
            "a raw control character in a string",
            b"{\"description\": \"a\x07b\"}",
        ),
        (
            "a raw control character in a key that nobody reads",
            b"{\"description\": \"d\", \"x\ty\": 1}",
        ),
        ("white space only", b" \r\n\t "),
        ("something after the object", br#"{"description": "d"} x"#),
        ("a second object", br#"{"description": "d"}{}"#),
        ("a trailing comma", br#"{"description": "d",}"#),
        ("single quotes", b"{'description': 'd'}"),
        ("a comment", br#"{"description": "d" /* ! */}"#),
        ("an unknown escape", br#"{"description": "\x41"}"#),
        ("half an escape", br#"{"description": "\u12"}"#),
        (
            "NaN in a field that nobody reads",
            br#"{"description": "d", "x": NaN}"#,
        ),
        (
            "a number with a leading zero",
            br#"{"description": "d", "x": 01}"#,
        ),
        ("a byte order mark", b"\xEF\xBB\xBF{\"description\": \"d\"}"),
        ("malformed UTF-8", b"{\"description\": \"\xFF\"}"),
        ("an encoded surrogate", b"{\"description\": \"\xED\xA0\x80\"}"),
    ];
    for (case, body) in table {
        let answer = service.post("/conversations/", "application/json", body).await;
        let said = answer.json()["details"]["detail"][0]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        rows.equal(case, said.starts_with("JSON parse error - "), true);
        rows.error(case, &answer, 400, &json!({ "detail": [said] }));
    }
}

/// B11: JSON, but no object
pub(super) async fn json_that_is_no_object_is_refused_by_its_kind(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for (body, kind) in [
        (r#"[{"description": "d"}]"#, "list"),
        ("[]", "list"),
        (r#"["t", "d"]"#, "list"),
        ("1", "int"),
        ("-7", "int"),
        ("1.5", "float"),
        ("1e3", "float"),
        (r#""x""#, "str"),
        ("false", "bool"),
        (" true ", "bool"),
    ] {
        let answer = service.post("/conversations/", "application/json", body).await;
        let said = format!("Invalid data. Expected a dictionary, but got {kind}.");
        rows.error(body, &answer, 400, &json!({ "non_field_errors": [said] }));
    }
    let answer = service.post("/conversations/", "application/json", "null").await;
    rows.error(
        "null",
        &answer,
        400,
        &json!({ "non_field_errors": ["No data provided."] }),
    );
}

/// B12: no two readers shall disagree
pub(super) async fn a_key_that_comes_twice_is_refused(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for (body, key) in [
        (r#"{"description": "a", "description": "b"}"#, "description"),
        (r#"{"description": "a", "description": "a"}"#, "description"),
        (r#"{"title": null, "description": "a", "title": "b"}"#, "title"),
        (r#"{"description": "a", "d\u0065scription": "b"}"#, "description"),
        (r#"{"description": "a", "x": 1, "x": 1}"#, "x"),
    ] {
        let answer = service.post("/conversations/", "application/json", body).await;
        rows.error(body, &answer, 400, &json!({ key: ["Duplicate key."] }));
    }
}

/// B14: the types that are JSON
pub(super) async fn json_goes_by_several_names(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for content_type in [
        "application/json",
        "APPLICATION/JSON",
        "Application/Json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json; charset=\"utf-8\"",
        "application/json; indent=4",
        "application/vnd.api+json",
        "application/problem+JSON; charset=utf-8",
    ] {
        let answer = service
            .post("/conversations/", content_type, r#"{"description": "d"}"#)
            .await;
        rows.equal(content_type, answer.status, 201);
    }
}

/// B14: everything else
pub(super) async fn another_content_type_is_unsupported(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    let form = "x=1&".repeat(1_500);
    let wide: Vec<u8> = r#"{"description": "d"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content_type, body) in [
        ("text/plain", br#"{"description": "d"}"#.as_slice()),
        ("application/x-www-form-urlencoded", b"description=d"),
        ("application/x-www-form-urlencoded", form.as_bytes()),
        ("multipart/form-data; boundary=b", b"--b--"),
        ("application/json; charset=utf-16", &wide),
        (
            "application/json; charset=latin-1",
            b"{\"description\": \"\xE9\"}",
        ),
        ("application/json; charset=us-ascii", br#"{"description": "d"}"#),
        ("application/jsonp", b"{}"),
        ("json", b"{}"),
        ("", b"{}"),
    ] {
        let answer = service.post("/conversations/", content_type, body).await;
        let said = answer.json()["details"]["detail"][0]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let right = said.starts_with("Unsupported media type \"") && said.ends_with("\" in request.");
        rows.equal(content_type, right, true);
        rows.error(content_type, &answer, 415, &json!({ "detail": [said] }));
    }
    let answer = service.post("/conversations/", "text/plain", "x").await;
    rows.error(
        "the words",
        &answer,
        415,
        &json!({ "detail": ["Unsupported media type \"text/plain\" in request."] }),
    );
}

/// B14: no type at all
pub(super) async fn a_post_without_a_content_type_is_unsupported(on: Database) {
    let service = on.service().await;
    for body in ["", r#"{"description": "d"}"#] {
        let answer = Answer::of(service.request(Method::POST, "/conversations/").body(body)).await;
        let said = answer.json()["details"]["detail"].clone();
        assert_error(&answer, 415, &json!({ "detail": said }));
    }
}

/// B15: a DELETE is in its path
pub(super) async fn the_body_of_a_delete_is_ignored(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("deletes").await;
    let path = format!("/conversations/{conversation}");
    for body in [r#"{"arg""#, "", "\u{0}"] {
        let message = service.message(&conversation, "assistant", "x").await;
        let request = service.request(Method::DELETE, &format!("{path}/messages/{message}"));
        let answer = Answer::of(request.header("content-type", "application/json").body(body)).await;
        assert_eq!(answer.status, 204, "{body:?}: {}", answer.text());
    }
    let request = service
        .request(Method::DELETE, &format!("{path}/delete"))
        .body("{");
    Answer::of(request).await.expect(200);
}
