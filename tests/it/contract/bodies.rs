//! B1 to B9, B13: the fields of a body.

use serde_json::{Value, json};

use super::{Database, Rows, Service, assert_error};

const REQUIRED: &str = "This field is required.";
const NULL: &str = "This field may not be null.";
const BLANK: &str = "This field may not be blank.";
const NO_STRING: &str = "Not a valid string.";
const NUL: &str = "Null characters are not allowed.";

/// Puts a table of bodies, written as JSON, and the details that they earn.
async fn refused(service: &Service, path: &str, table: &[(&str, Value)]) {
    let mut rows = Rows::default();
    for (body, details) in table {
        let answer = service.post(path, "application/json", *body).await;
        rows.error(body, &answer, 400, details);
    }
}

async fn messages(service: &Service) -> String {
    format!(
        "/conversations/{}/messages/create",
        service.conversation("bodies").await
    )
}

/// B1: what must be there
pub(super) async fn required_fields_are_required(on: Database) {
    let service = on.service().await;
    let conversation = [
        ("{}", json!({ "description": [REQUIRED] })),
        ("", json!({ "description": [REQUIRED] })),
    ];
    refused(&service, "/conversations/", &conversation).await;

    let both = json!({ "text": [REQUIRED], "role": [REQUIRED] });
    let message = [
        ("{}", both.clone()),
        ("", both),
        (r#"{"text": "x"}"#, json!({ "role": [REQUIRED] })),
        (r#"{"role": "user"}"#, json!({ "text": [REQUIRED] })),
    ];
    refused(&service, &messages(&service).await, &message).await;
}

/// B2: null is a value of `title` alone
pub(super) async fn only_a_title_may_be_null(on: Database) {
    let service = on.service().await;
    refused(
        &service,
        "/conversations/",
        &[(r#"{"description": null}"#, json!({ "description": [NULL] }))],
    )
    .await;
    let table = [
        (r#"{"text": null, "role": "user"}"#, json!({ "text": [NULL] })),
        (r#"{"text": "x", "role": null}"#, json!({ "role": [NULL] })),
    ];
    refused(&service, &messages(&service).await, &table).await;
}

/// B2, B3: what becomes of a title
pub(super) async fn a_title_may_be_absent_null_or_empty(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for (sent, kept) in [
        (json!({ "description": "d" }), json!(null)),
        (json!({ "description": "d", "title": null }), json!(null)),
        (json!({ "description": "d", "title": "" }), json!("")),
        (json!({ "description": "d", "title": "   " }), json!("")),
        (json!({ "description": "d", "title": " a  b\t" }), json!("a  b")),
    ] {
        let made = service.post_json("/conversations/", &sent).await;
        rows.equal(&sent, &made.expect(201)["title"], &kept);
    }
}

/// B3, B7: the same white space everywhere, and nothing inside is touched
pub(super) async fn the_white_space_around_a_string_goes(on: Database) {
    let service = on.service().await;
    let path = messages(&service).await;
    let spaces = "\u{9}\u{a}\u{b}\u{c}\u{d}\u{1c}\u{1d}\u{1e}\u{1f} \u{85}\u{a0}\u{1680}\u{2000}\u{2003}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";

    let mut rows = Rows::default();
    for (sent, kept) in [
        ("  hi \n".to_owned(), "hi"),
        (format!("{spaces}hi{spaces}"), "hi"),
        ("a\r\nb".to_owned(), "a\r\nb"),
        ("a \u{3000} b".to_owned(), "a \u{3000} b"),
        ("\u{200b}hi\u{200b}".to_owned(), "\u{200b}hi\u{200b}"),
        ("\u{feff}hi\u{180e}".to_owned(), "\u{feff}hi\u{180e}"),
    ] {
        let made = service
            .post_json(&path, &json!({ "role": "assistant", "text": sent }))
            .await;
        rows.equal(format!("text {sent:?}"), &made.expect(201)["text"], kept);
        let made = service
            .post_json("/conversations/", &json!({ "title": sent, "description": sent }))
            .await;
        let made = made.expect(201);
        rows.equal(format!("title {sent:?}"), &made["title"], kept);
        rows.equal(format!("description {sent:?}"), &made["description"], kept);
    }
}

/// B4: blank is what is empty once the white space is gone
pub(super) async fn a_description_and_a_text_may_not_be_blank(on: Database) {
    let service = on.service().await;
    let path = messages(&service).await;
    let mut rows = Rows::default();
    for (blank, is_blank) in [
        ("", true),
        ("   ", true),
        ("\r\n\t", true),
        ("\u{a0}\u{2003}", true),
        ("\u{1c}", true),
        ("\u{1f}\u{85}", true),
        ("\u{200b}", false),
        ("\u{feff}", false),
        ("\u{7}", false),
    ] {
        let made = service
            .post_json("/conversations/", &json!({ "description": blank }))
            .await;
        let posted = service
            .post_json(&path, &json!({ "text": blank, "role": "assistant" }))
            .await;
        if is_blank {
            rows.error(
                format!("description {blank:?}"),
                &made,
                400,
                &json!({ "description": [BLANK] }),
            );
            rows.error(
                format!("text {blank:?}"),
                &posted,
                400,
                &json!({ "text": [BLANK] }),
            );
        } else {
            rows.equal(format!("{blank:?}"), [made.status, posted.status], [201, 201]);
        }
    }
}

/// B5: nothing is turned into a string
pub(super) async fn a_string_is_a_string(on: Database) {
    let service = on.service().await;
    let path = messages(&service).await;
    let mut rows = Rows::default();
    let digits = "9".repeat(5_000);
    for value in [
        "5",
        "1.50",
        "-0",
        "1e400",
        &digits,
        "true",
        "false",
        "[]",
        r#"["x"]"#,
        "{}",
        r#"{"a": "x"}"#,
    ] {
        let body = format!(r#"{{"description": "d", "title": {value}}}"#);
        let answer = service.post("/conversations/", "application/json", body).await;
        rows.error(
            format!("title {value:.20}"),
            &answer,
            400,
            &json!({ "title": [NO_STRING] }),
        );

        let body = format!(r#"{{"description": {value}}}"#);
        let answer = service.post("/conversations/", "application/json", body).await;
        rows.error(
            format!("description {value:.20}"),
            &answer,
            400,
            &json!({ "description": [NO_STRING] }),
        );

        let body = format!(r#"{{"role": "user", "text": {value}}}"#);
        let answer = service.post(&path, "application/json", body).await;
        rows.error(
            format!("text {value:.20}"),
            &answer,
            400,
            &json!({ "text": [NO_STRING] }),
        );
    }
}

/// B6: what no database and no other program could keep
pub(super) async fn nul_and_half_surrogates_are_refused_by_name(on: Database) {
    let service = on.service().await;
    let surrogate = |point: &str| json!([format!("Surrogate characters are not allowed: U+{point}.")]);
    let table = [
        (r#"{"description": "a\u0000b"}"#, json!({ "description": [NUL] })),
        (r#"{"description": "\u0000"}"#, json!({ "description": [NUL] })),
        (
            r#"{"description": "d", "title": "\u0000"}"#,
            json!({ "title": [NUL] }),
        ),
        (
            r#"{"description": "\ud800"}"#,
            json!({ "description": surrogate("D800") }),
        ),
        (
            r#"{"description": "a\uDFFFb"}"#,
            json!({ "description": surrogate("DFFF") }),
        ),
        (
            r#"{"description": "\ude00\ud83d"}"#,
            json!({ "description": surrogate("DE00") }),
        ),
        (
            r#"{"description": "d", "title": "\udabc\u0041"}"#,
            json!({ "title": surrogate("DABC") }),
        ),
    ];
    refused(&service, "/conversations/", &table).await;
    let table = [
        (r#"{"role": "user", "text": "x\u0000"}"#, json!({ "text": [NUL] })),
        (
            r#"{"role": "user", "text": "\ud83d x"}"#,
            json!({ "text": surrogate("D83D") }),
        ),
    ];
    refused(&service, &messages(&service).await, &table).await;
}

/// B7: kept as sent
pub(super) async fn every_other_character_is_kept(on: Database) {
    let service = on.service().await;
    let path = messages(&service).await;
    let mut rows = Rows::default();
    for (escaped, kept) in [
        (r"\ud83c\udf89", "🎉"),
        (r"a\u0007b\u001bc\u007f", "a\u{7}b\u{1b}c\u{7f}"),
        (r"\uffff\ufdd0", "\u{ffff}\u{fdd0}"),
        (r"\u202eabc", "\u{202e}abc"),
        (
            "<script>alert(1)</script> & \u{2028}x",
            "<script>alert(1)</script> & \u{2028}x",
        ),
        (r"a\r\nb", "a\r\nb"),
        (r"e\u0301 \u00e9", "e\u{301} \u{e9}"),
        (r#"\"\\\/\b"#, "\"\\/\u{8}"),
    ] {
        let body = format!(r#"{{"role": "assistant", "text": "{escaped}"}}"#);
        let made = service.post(&path, "application/json", body).await;
        rows.equal(escaped, &made.expect(201)["text"], kept);
        let read = service.get(made.header("location")).await;
        rows.equal(format!("{escaped}, read again"), &read.expect(200)["text"], kept);
    }
}

/// B8: a role is one of two words
pub(super) async fn a_role_is_user_or_assistant_and_nothing_else(on: Database) {
    let service = on.service().await;
    let path = messages(&service).await;
    let long = "x".repeat(150);
    let mut rows = Rows::default();
    for (role, shown) in [
        (json!(""), ""),
        (json!("USER"), "USER"),
        (json!(" user "), " user "),
        (json!("user\n"), "user\n"),
        (json!("system"), "system"),
        (json!("\"user\""), "\"user\""),
        (json!(1), "1"),
        (json!(1.5), "1.5"),
        (json!([]), "[]"),
        (json!({}), "{}"),
        (json!(true), "true"),
        (json!(["user"]), r#"["user"]"#),
        (json!(long), &long[..100]),
    ] {
        let answer = service
            .post_json(&path, &json!({ "text": "x", "role": role }))
            .await;
        let details = json!({ "role": [format!("\"{shown}\" is not a valid choice.")] });
        rows.error(format!("{role:.40}"), &answer, 400, &details);
    }
}

/// B9: nobody has to ask twice
pub(super) async fn all_wrong_fields_are_reported_at_once(on: Database) {
    let service = on.service().await;
    let long = "x".repeat(501);
    let answer = service
        .post_json("/conversations/", &json!({ "title": 5, "description": long }))
        .await;
    let too_long = "Ensure this field has no more than 500 characters.";
    assert_error(
        &answer,
        400,
        &json!({ "title": [NO_STRING], "description": [too_long] }),
    );

    let answer = service
        .post_json(&messages(&service).await, &json!({ "text": " ", "role": "me" }))
        .await;
    assert_error(
        &answer,
        400,
        &json!({ "text": [BLANK], "role": ["\"me\" is not a valid choice."] }),
    );
}

/// B13: the path and the server have the last word
pub(super) async fn unknown_fields_are_ignored(on: Database) {
    let service = on.service().await;
    let other = service.conversation("other").await;
    let forged = "00000000-0000-4000-8000-00000000f00d";
    let numbers = format!("[1e400, {}, -1E-999, 0.{}]", "7".repeat(5_000), "3".repeat(5_000));

    let body = format!(
        r#"{{"description": "d", "conversation_id": "{forged}", "date_created": "1970-01-01T00:00:00Z", "x": {numbers}, "": null}}"#
    );
    let made = service.post("/conversations/", "application/json", body).await;
    let made = made.expect(201);
    let id = made["conversation_id"].as_str().expect("an id");
    assert_ne!(id, forged);
    assert_ne!(made["date_created"], "1970-01-01T00:00:00Z");

    let body = json!({
        "text": "x", "role": "assistant", "conversation": other, "message_id": forged,
        "date_updated": "1970-01-01T00:00:00Z", "conversation_id": other,
    });
    let made = service
        .post_json(&format!("/conversations/{id}/messages/create"), &body)
        .await
        .expect(201);
    assert_eq!(made["conversation"], id);
    assert_ne!(made["message_id"], forged);
    assert_eq!(made["date_updated"], made["date_created"]);
    assert_eq!(service.texts(&other).await, [""; 0]);
}
