//! K11 to K16: keys that are made, shown, taken back and replaced.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Database, Rows, Service, assert_error, not_found};
use crate::support::{Answer, Client, SOON, eventually};

/// The key of the configuration: it stays when others are made.
const OPERATOR: &str = "the-operators-key-of-this-test";

const KEYS: &str = "/api/v1/keys";

async fn service(on: Database) -> Option<Service> {
    let mut service = on.service_with(&[("API_KEY", OPERATOR)]).await?;
    service.client = service.client.with_key(OPERATOR);
    Some(service)
}

/// Makes a key like this; gives its id and the key.
async fn make(client: &Client, body: &Value) -> (String, String) {
    let made = client.post_json(KEYS, body).await.expect(201);
    let of = |field: &str| made[field].as_str().expect("a text").to_owned();
    (of("key_id"), of("key"))
}

async fn writes_with(client: &Client, key: &str) -> u16 {
    let body = json!({ "description": "d" });
    let answer = client.with_key(key).post_json("/conversations/", &body).await;
    answer.status
}

/// K11, K12, K16: a key from its making to its end
pub(super) async fn a_key_is_made_shown_used_and_taken_back(on: Database) {
    let Some(service) = service(on).await else { return };
    let body = json!({
        "name": "  web app ",
        "scopes": ["messages:write", "conversations:write"],
        "limits": { "requests_per_s": 50, "tokens_per_day": 1_000_000_000_000_u64 },
        "expires_in_s": 3600,
    });

    let made = service.post_json(KEYS, &body).await;

    let shape = made.expect(201);
    let (id, key) = (
        shape["key_id"].as_str().expect("an id"),
        shape["key"].as_str().expect("a key"),
    );
    assert_eq!(made.header("location"), format!("{KEYS}/{id}"));
    assert_eq!(key.len(), "eng_live_".len() + 12 + 1 + 43 + 6, "{key}");
    assert!(key.starts_with(&format!("eng_live_{id}_")), "{key}");
    let date = |field: &str| shape[field].as_str().expect("a date").to_owned();
    let rest = format!(
        r#"{{"key_id":"{id}","name":"web app","environment":"live","scopes":["conversations:write","messages:write"],"limits":{{"requests_per_s":50,"messages_per_min":null,"pending_replies":null,"tokens_per_day":1000000000000}},"date_created":"{}","date_expires":"{}","date_revoked":null,"date_last_used":null,"status":"active""#,
        date("date_created"),
        date("date_expires"),
    );
    assert_eq!(made.text(), format!(r#"{rest},"key":"{key}"}}"#));
    let one = service.get(&format!("{KEYS}/{id}")).await;
    assert_eq!((one.status, one.text()), (200, format!("{rest}}}")));
    let all = service.get(KEYS).await;
    assert_eq!(
        (all.status, all.text()),
        (200, format!(r#"{{"results":[{rest}}}]}}"#))
    );

    assert_eq!(writes_with(&service, key).await, 201, "it counts at once");
    let path = format!("{KEYS}/{id}");
    eventually("its use is noted", SOON, async || {
        let key = service.get(&path).await.expect(200);
        key["date_last_used"].is_string().then_some(())
    })
    .await;

    let revoked = service.delete(&path).await.expect(200);
    assert_eq!(revoked["status"], "revoked");
    assert!(revoked["date_revoked"].is_string() && revoked["key"].is_null());
    assert_eq!(writes_with(&service, key).await, 401);
    let again = service.delete(&path).await.expect(200);
    assert_eq!(again, revoked, "twice is once");
}

/// K11: who has no business with keys, and where the routes are
pub(super) async fn keys_are_for_administrators_and_have_one_prefix(on: Database) {
    let Some(service) = service(on).await else { return };
    let (id, usual) = make(&service, &json!({ "name": "usual" })).await;
    let (_, admin) = make(&service, &json!({ "name": "admin", "scopes": ["keys:admin"] })).await;
    let mut rows = Rows::default();
    let routes = [
        (Method::GET, KEYS.to_owned(), 200),
        (Method::POST, KEYS.to_owned(), 400),
        (Method::GET, format!("{KEYS}/{id}"), 200),
        (Method::POST, format!("{KEYS}/{id}/rotate"), 201),
        (Method::DELETE, format!("{KEYS}/{id}"), 200),
    ];
    for (method, path, granted) in &routes {
        let ask = async |client: &Client| {
            let request = client
                .request(method.clone(), path)
                .header("content-type", "application/json");
            Answer::of(request).await
        };
        let row = format!("{method} {path}");
        let detail = |said: &str| json!({ "detail": [said] });
        let missing = detail("Authentication credentials were not provided.");
        rows.error(&row, &ask(&service.anonymous()).await, 401, &missing);
        let lacking = detail("This key does not have the scope \"keys:admin\".");
        rows.error(&row, &ask(&service.with_key(&usual)).await, 403, &lacking);
        rows.equal(&row, ask(&service.with_key(&admin)).await.status, *granted);
        let unversioned = path.trim_start_matches("/api/v1");
        rows.error(
            unversioned,
            &service.ask(method.clone(), unversioned).await,
            404,
            &not_found(),
        );
    }
    let options = service.anonymous().ask(Method::OPTIONS, KEYS).await;
    rows.equal(
        "OPTIONS",
        (options.status, options.header("allow")),
        (204, "POST, GET, HEAD, OPTIONS"),
    );
}

/// K13: whatever is wrong with a body, at once
pub(super) async fn a_key_is_judged_field_by_field(on: Database) {
    let Some(service) = service(on).await else { return };
    let mut rows = Rows::default();
    let long = "x".repeat(101);
    for (body, details) in [
        (json!({}), json!({ "name": ["This field is required."] })),
        (
            json!({
                "name": "a\nb",
                "environment": "prod",
                "scopes": ["read", "write", 7],
                "limits": { "requests_per_s": 0, "messages_per_min": "5", "tokens_per_day": 1.5 },
                "date_expires": "soon",
                "expires_in_s": 0,
            }),
            json!({
                "name": ["Control characters are not allowed."],
                "environment": ["\"prod\" is not a valid choice."],
                "scopes": ["\"write\" is not a valid choice.", "\"7\" is not a valid choice."],
                "limits.requests_per_s": ["Ensure this value is greater than or equal to 1."],
                "limits.messages_per_min": ["A valid integer is required."],
                "limits.tokens_per_day": ["A valid integer is required."],
                "date_expires": ["A date and time of RFC 3339 is required."],
                "expires_in_s": ["Ensure this value is greater than or equal to 1."],
            }),
        ),
        (
            json!({ "name": long, "scopes": [], "limits": [] }),
            json!({
                "name": ["Ensure this field has no more than 100 characters."],
                "scopes": ["This list may not be empty."],
                "limits": ["Invalid data. Expected a dictionary."],
            }),
        ),
        (
            json!({ "name": " ", "scopes": "read", "date_expires": "2020-01-01" }),
            json!({
                "name": ["This field may not be blank."],
                "scopes": ["Expected a list of items."],
                "date_expires": ["This date has passed."],
            }),
        ),
        (
            json!({ "name": "n", "date_expires": "2999-01-01", "expires_in_s": 60 }),
            json!({ "expires_in_s": ["Give either this or date_expires."] }),
        ),
    ] {
        rows.error(&body, &service.post_json(KEYS, &body).await, 400, &details);
    }
    let nulls =
        json!({ "name": "n", "environment": null, "scopes": null, "limits": null, "date_expires": null });
    let made = service.post_json(KEYS, &nulls).await.expect(201);
    rows.equal(
        "usual scopes",
        made["scopes"].clone(),
        json!(["conversations:write", "messages:write", "delete", "read"]),
    );
    rows.equal("no end", made["date_expires"].clone(), Value::Null);
    let dated = json!({ "name": "n", "environment": "test", "date_expires": "2999-01-31" });
    let made = service.post_json(KEYS, &dated).await.expect(201);
    rows.equal("a date", &made["date_expires"], "2999-01-31T00:00:00.000000Z");
    rows.equal(
        "for tests",
        made["key"]
            .as_str()
            .is_some_and(|key| key.starts_with("eng_test_")),
        true,
    );
}

/// K11, R4: what names no key
pub(super) async fn a_key_that_is_not_there_is_not_found(on: Database) {
    let Some(service) = service(on).await else { return };
    let mut rows = Rows::default();
    for id in ["000000000000", "x", "00000000000%2d", "0000000000000"] {
        for (method, path) in [
            (Method::GET, format!("{KEYS}/{id}")),
            (Method::DELETE, format!("{KEYS}/{id}")),
            (Method::POST, format!("{KEYS}/{id}/rotate")),
        ] {
            let request = service
                .request(method.clone(), &path)
                .header("content-type", "application/json");
            let answer = Answer::of(request.body("{")).await;
            rows.error(format!("{method} {path}"), &answer, 404, &not_found());
        }
    }
}

/// K15: a key takes another's place
pub(super) async fn a_rotated_key_goes_on_for_a_while(on: Database) {
    let Some(service) = service(on).await else { return };
    let body =
        json!({ "name": "worker", "scopes": ["conversations:write"], "limits": { "pending_replies": 3 } });
    let (id, old) = make(&service, &body).await;
    let rotate = |id: &str| format!("{KEYS}/{id}/rotate");

    let answer = service
        .post_json(&rotate(&id), &json!({ "overlap_s": 3600 }))
        .await;
    let made = answer.expect(201);
    let (new_id, new) = (
        made["key_id"].as_str().expect("an id"),
        made["key"].as_str().expect("a key"),
    );

    assert_eq!(answer.header("location"), format!("{KEYS}/{new_id}"));
    assert_ne!(new_id, id);
    assert_eq!(
        (&made["name"], &made["scopes"]),
        (&json!("worker"), &json!(["conversations:write"]))
    );
    assert_eq!(made["limits"]["pending_replies"], 3);
    for key in [&old, new] {
        assert_eq!(writes_with(&service, key).await, 201, "both open it for now");
    }
    let before = service.get(&format!("{KEYS}/{id}")).await.expect(200);
    assert!(before["date_expires"].is_string(), "{before}");

    let at_once = service
        .post_json(&rotate(new_id), &json!({ "overlap_s": 0 }))
        .await
        .expect(201);
    assert_eq!(writes_with(&service, new).await, 401);
    assert_eq!(
        writes_with(&service, at_once["key"].as_str().expect("a key")).await,
        201
    );

    let late = service.post_json(&rotate(new_id), &json!({})).await;
    assert_error(
        &late,
        409,
        &json!({ "detail": ["This key opens nothing any more."] }),
    );
    let wrong = service
        .post_json(&rotate(&id), &json!({ "overlap_s": -1, "expires_in_s": "x" }))
        .await;
    let details = json!({
        "overlap_s": ["Ensure this value is greater than or equal to 0."],
        "expires_in_s": ["A valid integer is required."],
    });
    assert_error(&wrong, 400, &details);
}

/// K14: what a key opened ends with it
pub(super) async fn the_streams_of_a_key_end_with_it(on: Database) {
    let Some(service) = service(on).await else { return };
    let conversation = service.conversation("watched").await;
    let (id, key) = make(&service, &json!({ "name": "reader" })).await;
    let path = format!("/conversations/{conversation}/events");
    let mut with_key = service
        .watch_with(&path, &[&format!("Authorization: Bearer {key}")])
        .await;
    let mut anonymous = service.watch(&path).await;

    service.delete(&format!("{KEYS}/{id}")).await.expect(200);

    assert_eq!(with_key.next().await, None);
    let message = service.message(&conversation, "assistant", "still here").await;
    let frame = anonymous.next().await.expect("control: nobody else's ends");
    assert_eq!(frame.data["message"]["message_id"], message);
}
