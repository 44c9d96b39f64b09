//! C1 to C6: how replies are to be written.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Database, NOBODY, Rows, Service, assert_error, not_found};
use crate::support::Answer;

const NAMES: [&str; 6] = [
    "model",
    "instructions",
    "temperature",
    "top_p",
    "max_output_tokens",
    "busy",
];

async fn create(service: &Service, body: &Value) -> String {
    let made = service.post_json("/conversations/", body).await.expect(201);
    made["conversation_id"].as_str().expect("an id").to_owned()
}

async fn patch(service: &Service, conversation: &str, body: impl ToString) -> Answer {
    let request = service.request(Method::PATCH, &format!("/conversations/{conversation}"));
    let request = request.header("content-type", "application/json");
    Answer::of(request.body(body.to_string())).await
}

async fn settings(service: &Service, conversation: &str) -> String {
    let answer = service
        .get(&format!("/conversations/{conversation}/settings"))
        .await;
    answer.expect(200);
    answer.text()
}

/// C1, C6: what was said, and nothing where nothing was
pub(super) async fn options_are_kept_and_shown_to_those_with_a_key(on: Database) {
    let service = on.service().await;
    let said = json!({
        "description": "d", "model": " rules ", "instructions": " Be brief.\n", "temperature": 0.5, "top_p": 1,
        "max_output_tokens": 4_294_967_295_u32, "busy": "interrupt",
    });
    let made = service.post_json("/conversations/", &said).await.expect(201);
    let id = made["conversation_id"].as_str().expect("an id");
    assert_eq!(
        settings(&service, id).await,
        format!(
            r#"{{"conversation_id":"{id}","model":"rules","instructions":"Be brief.","temperature":0.5,"top_p":1.0,"max_output_tokens":4294967295,"busy":"interrupt"}}"#
        )
    );
    let fields: Vec<_> = made.as_object().expect("an object").keys().collect();
    assert_eq!(
        fields.len(),
        5,
        "the shape of a conversation is as it was: {fields:?}"
    );

    let id = create(&service, &json!({ "description": "d" })).await;
    let nothing = format!(
        r#"{{"conversation_id":"{id}","model":null,"instructions":null,"temperature":null,"top_p":null,"max_output_tokens":null,"busy":null}}"#
    );
    assert_eq!(settings(&service, &id).await, nothing);
    let answer = service.get(&format!("/conversations/{NOBODY}/settings")).await;
    assert_error(&answer, 404, &not_found());
}

/// C1: null, for a conversation and for a message
pub(super) async fn null_is_as_good_as_nothing(on: Database) {
    let service = on.service().await;
    let mut body = json!({ "description": "d" });
    for name in NAMES {
        body[name] = Value::Null;
    }
    let id = create(&service, &body).await;
    assert!(settings(&service, &id).await.contains(r#""model":null"#));
    let path = format!("/conversations/{id}/messages/create");
    for role in ["user", "assistant"] {
        body["role"] = json!(role);
        body["text"] = json!("x");
        let made = service.post_json(&path, &body).await.expect(201);
        assert_eq!(made.as_object().expect("an object").len(), 6, "{made}");
    }
}

/// C2, B9: for a new conversation, a change and a message
pub(super) async fn wrong_options_are_all_named_at_once(on: Database) {
    let service = on.service().await;
    let id = service.conversation("options").await;
    let body = json!({
        "text": "x", "role": "user", "description": "d",
        "model": " ", "instructions": "x".repeat(20_001), "temperature": "0.5", "top_p": true,
        "max_output_tokens": 1.5, "busy": "wait",
    });
    let details = json!({
        "model": ["This field may not be blank."],
        "instructions": ["Ensure this field has no more than 20000 characters."],
        "temperature": ["A valid number is required."],
        "top_p": ["A valid number is required."],
        "max_output_tokens": ["A valid integer is required."],
        "busy": ["\"wait\" is not a valid choice."],
    });
    let mut rows = Rows::default();
    let messages = format!("/conversations/{id}/messages/create");
    rows.error(
        "POST conversation",
        &service.post_json("/conversations/", &body).await,
        400,
        &details,
    );
    rows.error(
        "POST message",
        &service.post_json(&messages, &body).await,
        400,
        &details,
    );
    rows.error("PATCH", &patch(&service, &id, &body).await, 400, &details);
}

/// C2: to the bound and no further, and numbers only
pub(super) async fn numbers_have_bounds(on: Database) {
    let service = on.service().await;
    let id = service.conversation("options").await;
    let at_least = |least: u8| format!("Ensure this value is greater than or equal to {least}.");
    let at_most = |most: u32| format!("Ensure this value is less than or equal to {most}.");
    let (number, integer) = ("A valid number is required.", "A valid integer is required.");
    let mut rows = Rows::default();
    for (field, good) in [
        ("temperature", ["0", "2", "-0.0", "2e0", "0.7"]),
        ("top_p", ["0", "1", "1.0", "1E-3", "0.999"]),
        ("max_output_tokens", ["1", "4294967295", "2", "10", "100"]),
    ] {
        for value in good {
            let answer = patch(&service, &id, format!(r#"{{"{field}": {value}}}"#)).await;
            rows.equal(format!("{field}: {value}"), answer.status, 200);
        }
    }
    for (field, value, said) in [
        ("temperature", "2.0001", at_most(2)),
        ("temperature", "-0.1", at_least(0)),
        ("temperature", "1e999", at_most(2)),
        ("temperature", "-1e999", at_least(0)),
        ("temperature", "\"1\"", number.to_owned()),
        ("temperature", "false", number.to_owned()),
        ("temperature", "[1]", number.to_owned()),
        ("temperature", "{}", number.to_owned()),
        ("top_p", "1.0001", at_most(1)),
        ("top_p", "-1", at_least(0)),
        ("max_output_tokens", "0", at_least(1)),
        ("max_output_tokens", "-0", at_least(1)),
        ("max_output_tokens", "-99999999999999999999", at_least(1)),
        ("max_output_tokens", "4294967296", at_most(u32::MAX)),
        ("max_output_tokens", "99999999999999999999", at_most(u32::MAX)),
        ("max_output_tokens", "1.0", integer.to_owned()),
        ("max_output_tokens", "1e3", integer.to_owned()),
        ("max_output_tokens", "\"5\"", integer.to_owned()),
        ("max_output_tokens", "true", integer.to_owned()),
    ] {
        let answer = patch(&service, &id, format!(r#"{{"{field}": {value}}}"#)).await;
        rows.error(
            format!("{field}: {value}"),
            &answer,
            400,
            &json!({ field: [said] }),
        );
    }
    for value in ["Queue", "queue ", "", "[]", "1"] {
        let sent = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        let answer = patch(&service, &id, json!({ "busy": sent })).await;
        let said = json!({ "busy": [format!("\"{value}\" is not a valid choice.")] });
        rows.error(format!("busy: {value}"), &answer, 400, &said);
    }
}

/// C3: there is nothing to write
pub(super) async fn assistant_messages_take_no_options(on: Database) {
    let service = on.service().await;
    let path = format!(
        "/conversations/{}/messages/create",
        service.conversation("options").await
    );
    let body = json!({ "text": "x", "role": "assistant", "temperature": 1, "busy": "wait", "top_p": null });
    let said = ["Only a user message asks for a reply."];
    assert_error(
        &service.post_json(&path, &body).await,
        400,
        &json!({ "temperature": said, "busy": said }),
    );
    let body = json!({ "text": "x", "role": "user", "temperature": 1, "model": "rules/rules" });
    service.post_json(&path, &body).await.expect(201);
}

/// C4, E5: but a conversation that is not there comes first
pub(super) async fn a_model_that_nobody_offers_is_refused(on: Database) {
    let service = on.service().await;
    let id = service.conversation("options").await;
    let details = json!({ "model": ["\"nobody/nothing\" is not a model that is configured here."] });
    let body = json!({ "text": "x", "role": "user", "description": "d", "model": "nobody/nothing" });
    let mut rows = Rows::default();
    let made = service.post_json("/conversations/", &body).await;
    rows.error("POST conversation", &made, 400, &details);
    let wrong_twice = json!({ "description": "d", "model": "nobody/nothing", "temperature": 3 });
    let both = json!({
        "model": details["model"].clone(),
        "temperature": ["Ensure this value is less than or equal to 2."],
    });
    let made = service.post_json("/conversations/", &wrong_twice).await;
    rows.error("with another wrong field", &made, 400, &both);
    for (id, status, details) in [(id.as_str(), 400, &details), (NOBODY, 404, &not_found())] {
        let path = format!("/conversations/{id}/messages/create");
        let made = service.post_json(&path, &body).await;
        rows.error(format!("POST message of {id}"), &made, status, details);
        let changed = patch(&service, id, json!({ "model": "nobody/nothing" })).await;
        rows.error(format!("PATCH {id}"), &changed, status, details);
    }
}

/// C5, S6: what is absent stays, null empties
pub(super) async fn a_patch_changes_what_it_names(on: Database) {
    let service = on.service().await;
    let said = json!({ "title": "t", "description": "d", "temperature": 0.5, "busy": "reject" });
    let id = create(&service, &said).await;
    let before = service.get(&format!("/conversations/{id}")).await.expect(200);

    let changed = patch(
        &service,
        &id,
        json!({ "title": null, "description": " new ", "top_p": 0.25, "temperature": null }),
    )
    .await;

    let changed_json = changed.expect(200);
    assert_eq!(changed_json["title"], Value::Null);
    assert_eq!(changed_json["description"], "new");
    assert_eq!(changed_json["date_created"], before["date_created"]);
    assert!(changed_json["date_updated"].as_str() > before["date_updated"].as_str());
    let read = service.get(&format!("/conversations/{id}")).await;
    assert_eq!(read.text(), changed.text(), "what is read is what was answered");
    let settings: Value = serde_json::from_str(&settings(&service, &id).await).expect("JSON");
    assert_eq!(settings["temperature"], Value::Null);
    assert_eq!(settings["top_p"], 0.25);
    assert_eq!(settings["busy"], "reject");
    let answer = patch(&service, &id, json!({ "description": null })).await;
    assert_error(
        &answer,
        400,
        &json!({ "description": ["This field may not be null."] }),
    );
}

/// C5: nothing named, nothing changed
pub(super) async fn an_empty_patch_changes_nothing(on: Database) {
    let service = on.service().await;
    let id = service.conversation("options").await;
    let before = service.get(&format!("/conversations/{id}")).await.text();
    for body in ["{}", "", r#"{"unknown": 1, "date_updated": "x"}"#] {
        let answer = patch(&service, &id, body).await;
        assert_eq!((answer.status, answer.text()), (200, before.clone()), "{body:?}");
    }
    assert_eq!(service.get(&format!("/conversations/{id}")).await.text(), before);
}

/// C5, B10, B14, E5: nothing is special about it
pub(super) async fn a_patch_is_judged_like_any_body(on: Database) {
    let service = on.service().await;
    let id = service.conversation("options").await;
    let mut rows = Rows::default();
    rows.error(
        "an unknown conversation",
        &patch(&service, NOBODY, "{").await,
        404,
        &not_found(),
    );
    rows.equal("what is not JSON", patch(&service, &id, "{").await.status, 400);
    let twice = patch(&service, &id, r#"{"busy": "queue", "busy": "queue"}"#).await;
    rows.error("a key twice", &twice, 400, &json!({ "busy": ["Duplicate key."] }));
    let request = service.request(Method::PATCH, &format!("/conversations/{id}"));
    let form = Answer::of(request.header("content-type", "text/plain").body("{}")).await;
    rows.equal("another content type", form.status, 415);
    let large = patch(&service, &id, " ".repeat(3_000_000)).await;
    rows.equal("too large", large.status, 413);
}
