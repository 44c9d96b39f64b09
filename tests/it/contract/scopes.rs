//! K2, K10: what stored keys open.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Database, NOBODY, Rows,
    keys::{INVALID, reads},
};
use crate::support::{Answer, Client, SOON, eventually};

/// The key of the configuration: it stays when others are made.
const OPERATOR: &str = "the-operators-key-of-this-test";

/// What each scope lets somebody do: the routes, each with the scope that it takes, and what it then answers.
fn scoped(conversation: &str, message: &str) -> [(Method, String, &'static str, u16); 9] {
    let base = format!("/conversations/{conversation}");
    let reply = format!("{base}/messages/{message}/reply");
    [
        (
            Method::POST,
            "/conversations/".to_owned(),
            "conversations:write",
            400,
        ),
        (Method::PATCH, base.clone(), "conversations:write", 200),
        (
            Method::POST,
            format!("{base}/messages/create"),
            "messages:write",
            400,
        ),
        (Method::POST, format!("{reply}/cancel"), "messages:write", 200),
        (Method::POST, format!("{reply}/retry"), "messages:write", 202),
        (Method::GET, format!("{base}/settings"), "read", 200),
        (Method::GET, "/api/v1/keys".to_owned(), "keys:admin", 200),
        (Method::DELETE, format!("{base}/messages/{NOBODY}"), "delete", 404),
        (
            Method::DELETE,
            format!("/conversations/{NOBODY}/delete"),
            "delete",
            404,
        ),
    ]
}

/// K10, K1: each scope, in each header
pub(super) async fn a_key_may_do_what_its_scopes_say(on: Database) {
    let Some(service) = on.service_with(&[("API_KEY", OPERATOR)]).await else {
        return;
    };
    let operator = service.with_key(OPERATOR);
    let conversation = operator.conversation("scopes").await;
    let message = operator.message(&conversation, "user", "hello").await;
    operator.finished_reply(&conversation, &message).await;
    let mut rows = Rows::default();
    for scope in [
        "conversations:write",
        "messages:write",
        "delete",
        "read",
        "keys:admin",
        "metrics:read",
    ] {
        let key = make(&operator, &json!({ "name": scope, "scopes": [scope] })).await;
        for (header, value) in [
            ("x-api-key", key.clone()),
            ("authorization", format!("Bearer {key}")),
        ] {
            for (method, path, needed, granted) in scoped(&conversation, &message) {
                let request = service
                    .anonymous()
                    .request(method.clone(), &path)
                    .header("content-type", "application/json")
                    .header(header, &value);
                let answer = Answer::of(request).await;
                let row = format!("{method} {path} with {scope} in {header}");
                if needed == scope {
                    rows.equal(&row, answer.status, granted);
                    operator.finished_reply(&conversation, &message).await;
                } else {
                    let said = format!("This key does not have the scope \"{needed}\".");
                    rows.error(&row, &answer, 403, &json!({ "detail": [said] }));
                }
            }
        }
        for path in reads(&conversation, &message) {
            let answer = service.with_key(&key).get(&path).await;
            rows.equal(
                format!("{path} with {scope}"),
                matches!(answer.status, 200 | 204),
                true,
            );
        }
    }
}

/// K7, K10: where reads are closed, they take a scope
pub(super) async fn closed_reads_take_their_scope(on: Database) {
    let settings = [("API_KEY", OPERATOR), ("READS", "key")];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let operator = service.with_key(OPERATOR);
    let conversation = operator.conversation("closed").await;
    let message = operator.message(&conversation, "user", "hello").await;
    operator.finished_reply(&conversation, &message).await;
    let reader = make(&operator, &json!({ "name": "reader", "scopes": ["read"] })).await;
    let writer = make(
        &operator,
        &json!({ "name": "writer", "scopes": ["conversations:write"] }),
    )
    .await;
    let mut rows = Rows::default();
    for path in reads(&conversation, &message) {
        let read = service.with_key(&reader).get(&path).await;
        rows.equal(&path, matches!(read.status, 200 | 204), true);
        let said = json!({ "detail": ["This key does not have the scope \"read\"."] });
        rows.error(&path, &service.with_key(&writer).get(&path).await, 403, &said);
    }
}

/// Makes a key like this.
async fn make(operator: &Client, body: &Value) -> String {
    let made = operator.post_json("/api/v1/keys", body).await.expect(201);
    made["key"].as_str().expect("a key").to_owned()
}

/// K2: nobody is told what is wrong
pub(super) async fn whatever_is_wrong_with_a_key_the_answer_is_the_same(on: Database) {
    let Some(service) = on.service_with(&[("API_KEY", OPERATOR)]).await else {
        return;
    };
    let operator = service.with_key(OPERATOR);
    let good = make(&operator, &json!({ "name": "good" })).await;
    let revoked = make(&operator, &json!({ "name": "revoked" })).await;
    let id = revoked.split('_').nth(2).expect("an id");
    operator.delete(&format!("/api/v1/keys/{id}")).await.expect(200);
    let expired = make(&operator, &json!({ "name": "expired", "expires_in_s": 1 })).await;
    let ask = async |key: &str| {
        let body = json!({ "description": "d" });
        let mut answer = service.with_key(key).post_json("/conversations/", &body).await;
        for varying in ["date", "x-request-id"] {
            answer.headers.remove(varying);
        }
        answer
    };
    eventually("the key expires", SOON, async || {
        (ask(&expired).await.status == 401).then_some(())
    })
    .await;
    let (parts, wrong) = good.split_at(good.len() - 49);
    let of_another = with_checksum(&format!(
        "{parts}{}",
        &expired[expired.len() - 49..expired.len() - 6]
    ));
    let unknown = with_checksum(&format!("eng_live_000000000000_{}", &wrong[..43]));
    let mut rows = Rows::default();
    let malformed = ask("wrong").await;
    rows.error("malformed", &malformed, 401, &json!({ "detail": [INVALID] }));
    for (row, key) in [
        ("a wrong checksum", format!("{good}0")),
        ("an unknown id", unknown),
        ("a wrong secret", of_another),
        ("taken back", revoked),
        ("expired", expired),
    ] {
        let answer = ask(&key).await;
        rows.equal(row, answer.text(), malformed.text());
        rows.equal(row, answer.headers, malformed.headers.clone());
    }
    rows.equal("control: the good one", ask(&good).await.status, 201);
}

/// Completes a key as whoever reads the documents can.
fn with_checksum(body: &str) -> String {
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = body.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            let carry = crc & 1 == 1;
            crc >> 1 ^ if carry { 0xedb8_8320 } else { 0 }
        })
    }) ^ u32::MAX;
    let mut checksum = [b'0'; 6];
    for digit in checksum.iter_mut().rev() {
        *digit = digits[(rest % 62) as usize];
        rest /= 62;
    }
    body.to_owned() + std::str::from_utf8(&checksum).expect("ASCII")
}
