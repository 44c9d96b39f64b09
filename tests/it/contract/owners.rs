//! K17, L10, L11, E12: whose conversations are, and how much one key may ask for.

use engagement::{http::table, provider::scripted::Step};
use reqwest::Method;
use serde_json::{Value, json};

use super::behind::Behind;
use super::{Database, NOBODY, Rows, Service, assert_error, not_found};
use crate::support::{Answer, Client, SOON, eventually};

/// The operator's key.
const OWN: &str = "0123456789abcdef0123456789abcdef";

/// A service where keys can be made, and a client of it that holds one.
async fn service_with(on: Database, settings: &[(&str, &str)]) -> Option<Service> {
    let settings: Vec<_> = settings.iter().copied().chain([("API_KEY", OWN)]).collect();
    let mut service = on.service_with(&settings).await?;
    service.client = service.client.with_key(OWN);
    Some(service)
}

/// Somebody with a key of their own, with these limits.
async fn somebody(service: &Service, limits: Value) -> Client {
    let body = json!({ "name": "somebody", "limits": limits });
    let made = service.post_json("/api/v1/keys", &body).await.expect(201);
    service.client.with_key(made["key"].as_str().expect("a key"))
}

/// A conversation with an answered question.
struct Talk {
    conversation: String,
    question: String,
}

impl Talk {
    async fn of(client: &Client) -> Self {
        let conversation = client.conversation("whose").await;
        let question = client.message(&conversation, "user", "Hello").await;
        client.finished_reply(&conversation, &question).await;
        Self {
            conversation,
            question,
        }
    }

    fn nobodys() -> Self {
        Self {
            conversation: NOBODY.to_owned(),
            question: NOBODY.to_owned(),
        }
    }

    fn path(&self, template: &str) -> String {
        template
            .replace("{conversation_id}", &self.conversation)
            .replace("{message_id}", &self.question)
    }
}

async fn ask(client: &Client, method: &str, path: &str) -> Answer {
    let request = client.request(method.parse::<Method>().expect("a method"), path);
    let request = match method {
        "POST" => request
            .header("content-type", "application/json")
            .body(r#"{"role": "assistant", "text": "x"}"#),
        "PATCH" => request
            .header("content-type", "application/json")
            .body(r#"{"title": "x"}"#),
        _ => request,
    };
    Answer::of(request).await
}

/// K17: every route, with every kind of conversation
pub(super) async fn another_key_finds_nothing_on_any_route(on: Database) {
    let Some(service) = service_with(on, &[("OWNERSHIP", "strict")]).await else {
        return;
    };
    let (owner, other) = (
        somebody(&service, json!({})).await,
        somebody(&service, json!({})).await,
    );
    let gone = Talk::of(&owner).await;
    ask(
        &owner,
        "DELETE",
        &gone.path("/conversations/{conversation_id}/delete"),
    )
    .await
    .expect(200);
    let mut rows = Rows::default();
    let mut routes = 0;
    for route in table() {
        if !route.path.contains("{conversation_id}") {
            continue;
        }
        routes += 1;
        let talk = Talk::of(&owner).await;
        let row = |who: &str| format!("{} {} by {who}", route.method, route.path);
        for (who, client, of) in [
            ("another", &other, &talk),
            ("the operator", &service.client, &talk),
            ("the owner of what is gone", &owner, &gone),
            ("the owner of nothing", &owner, &Talk::nobodys()),
        ] {
            let answer = ask(client, route.method, &of.path(route.path)).await;
            rows.error(row(who), &answer, 404, &not_found());
        }
        // A stream would not end; its head does.
        let method = if route.method == "GET" {
            "HEAD"
        } else {
            route.method
        };
        let own = ask(&owner, method, &talk.path(route.path)).await;
        rows.equal(row("the owner"), own.status == 404 || own.status >= 500, false);
    }
    rows.equal("routes", routes >= 13, true);
}

/// K17: who reads without a key, and who followed by rotation
pub(super) async fn reads_without_a_key_and_successors_see_what_is_there(on: Database) {
    let Some(service) = service_with(on, &[("OWNERSHIP", "strict")]).await else {
        return;
    };
    let owner = somebody(&service, json!({})).await;
    let talk = Talk::of(&owner).await;
    let path = talk.path("/conversations/{conversation_id}");
    let keys = service.get("/api/v1/keys").await.expect(200);
    let id = keys["results"][0]["key_id"].as_str().expect("an id").to_owned();

    let rotated = service
        .post_json(&format!("/api/v1/keys/{id}/rotate"), &json!({}))
        .await
        .expect(201);

    let successor = owner.with_key(rotated["key"].as_str().expect("a key"));
    assert_eq!(successor.get(&path).await.status, 200);
    assert_eq!(service.anonymous().get(&path).await.status, 200);
    assert_error(&service.get(&path).await, 404, &not_found());
}

/// K17: by default, all keys share
pub(super) async fn keys_share_conversations_by_default(on: Database) {
    let Some(service) = service_with(on, &[]).await else {
        return;
    };
    let (one, other) = (
        somebody(&service, json!({})).await,
        somebody(&service, json!({})).await,
    );
    let conversation = one.conversation("shared").await;
    other.message(&conversation, "user", "Hello").await;
    let path = format!("/conversations/{conversation}/delete");
    assert_eq!(service.delete(&path).await.status, 200);
}

/// I3: two keys, two requests
pub(super) async fn the_same_idempotency_key_of_two_api_keys_is_two_requests(on: Database) {
    let Some(service) = service_with(on, &[]).await else {
        return;
    };
    let (one, other) = (
        somebody(&service, json!({})).await,
        somebody(&service, json!({})).await,
    );
    let conversation = one.conversation("shared").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let post = async |client: &Client| {
        let request = client
            .request(Method::POST, &path)
            .header("idempotency-key", "same")
            .header("content-type", "application/json")
            .body(r#"{"role": "assistant", "text": "x"}"#);
        Answer::of(request).await.expect(201)["message_id"].clone()
    };
    let (first, second, again) = (post(&one).await, post(&other).await, post(&one).await);
    assert_ne!(first, second);
    assert_eq!(first, again);
}

/// I1, I3: a key is made once, shown again to whoever asks again, and to nobody else
pub(super) async fn a_key_is_made_once_and_shown_again_to_the_same_only(on: Database) {
    let Some(service) = service_with(on, &[]).await else {
        return;
    };
    let make = async |client: &Client, path: &str, body: &Value| {
        let request = client
            .request(Method::POST, path)
            .header("idempotency-key", "made once")
            .json(body);
        Answer::of(request).await
    };
    let admin = json!({ "name": "admin", "scopes": ["keys:admin"] });
    let first = make(&service, "/api/v1/keys", &admin).await;
    let second = make(&service, "/api/v1/keys", &admin).await;
    assert_eq!((second.status, second.text()), (201, first.text()));
    assert_eq!(second.header("location"), first.header("location"));
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert!(!second.headers.contains_key("sealed-key"));
    let keys = service.get("/api/v1/keys").await.expect(200);
    assert_eq!(keys["results"].as_array().map(Vec::len), Some(1));

    // An owner's other key may not see what this one was shown.
    let shown = first.json();
    let holder = service.client.with_key(shown["key"].as_str().expect("a key"));
    let body = json!({ "name": "second" });
    make(&holder, "/api/v1/keys", &body).await.expect(201);
    let rotate = format!("/api/v1/keys/{}/rotate", shown["key_id"].as_str().expect("an id"));
    let rotated = service.post_json(&rotate, &json!({})).await.expect(201);
    let successor = service.client.with_key(rotated["key"].as_str().expect("a key"));
    let kept_from = make(&successor, "/api/v1/keys", &body).await;
    let detail = "This was carried out with another API key, and is shown to that one only.";
    assert_error(&kept_from, 409, &json!({ "detail": [detail] }));
}

/// I1, I2, I3: the same keys, whichever header they are in and however they are written
pub(super) async fn a_key_is_shown_again_however_the_same_is_asked(on: Database) {
    let Some(service) = service_with(on, &[]).await else {
        return;
    };
    let admin = json!({ "name": "admin", "scopes": ["keys:admin"] });
    let made = service.post_json("/api/v1/keys", &admin).await.expect(201);
    let (id, key) = (made["key_id"].as_str(), made["key"].as_str());
    let (id, key) = (id.expect("an id"), key.expect("a key"));
    let rotate = format!("/api/v1/keys/{id}/rotate");
    let (own, bearer) = (
        format!("X-API-Key: {key}"),
        format!("Authorization: Bearer {key}"),
    );
    let mut rows = Rows::default();
    for (path, body, once) in [
        ("/api/v1/keys", r#"{"name": "once"}"#, "made"),
        (&rotate, "{}", "rotated"),
    ] {
        let (bare, quoted) = (
            format!("Idempotency-Key: {once}"),
            format!("Idempotency-Key: \"{once}\""),
        );
        let post = async |lines: &[&str]| {
            let (first, length) = (
                format!("POST {path} HTTP/1.1"),
                format!("Content-Length: {}", body.len()),
            );
            let head = [
                first.as_str(),
                "Host: localhost",
                "Content-Type: application/json",
                &length,
            ];
            service.exchange(&[head.as_slice(), lines].concat(), body).await
        };
        let first = post(&[&own, &bare]).await;
        rows.equal(path, first.status, 201);
        for (row, lines) in [
            ("in quotes", [&own, &quoted, "A: b"]),
            ("as a bearer", [&bearer, &bare, "A: b"]),
            (
                "with a proxy's own beside it",
                [&own, &bare, "Authorization: Basic azpw"],
            ),
        ] {
            let again = post(&lines).await;
            rows.equal(
                format!("{path}, {row}"),
                (again.status, again.text()),
                (201, first.text()),
            );
            rows.equal(row, again.header("idempotent-replayed"), "true");
        }
    }
}

/// L10: as many unfinished replies as a key may have
pub(super) async fn a_key_has_so_many_unfinished_replies(on: Database) {
    let held = [Step::Hold("one".into()), Step::Hold("two".into())];
    let service = on.inside_with(held, "key_pending_replies = 2").await;
    let first = service.conversation("pending").await;
    let second = service.conversation("pending too").await;
    service.message(&first, "user", "one").await;
    service.message(&second, "user", "two").await;
    let path = format!("/conversations/{first}/messages/create");

    let refused = service
        .post_json(&path, &json!({ "role": "user", "text": "three" }))
        .await;

    assert_throttled(&refused, 1);
    service
        .message(&first, "assistant", "asks for no reply, so it may come")
        .await;
    service.provider.release_times(2);
    eventually("there is room again", SOON, async || {
        let again = service
            .post_json(&path, &json!({ "role": "user", "text": "four" }))
            .await;
        (again.status == 201).then_some(())
    })
    .await;
}

/// E12: as many unfinished replies as the service takes
pub(super) async fn the_service_has_so_many_unfinished_replies(on: Database) {
    let held = [Step::Hold("one".into())];
    let service = on.inside_with(held, "max_pending_replies = 1").await;
    let conversation = service.conversation("pending").await;
    let question = service.message(&conversation, "user", "one").await;
    let path = format!("/conversations/{conversation}/messages/create");

    let refused = service
        .post_json(&path, &json!({ "role": "user", "text": "two" }))
        .await;

    assert_error(
        &refused,
        503,
        &json!({ "detail": ["Too many replies are unfinished."] }),
    );
    assert_eq!(refused.header("retry-after"), "1");
    service.provider.release();
    service.finished_reply(&conversation, &question).await;
    eventually("there is room again", SOON, async || {
        let again = service
            .post_json(&path, &json!({ "role": "user", "text": "two" }))
            .await;
        (again.status == 201).then_some(())
    })
    .await;
}

/// L11: as many tokens as a key has in a day
pub(super) async fn a_key_has_so_many_tokens_in_a_day(on: Database) {
    let Some(service) = service_with(on, &[("KEY_TOKENS_PER_DAY", "100")]).await else {
        return;
    };
    let unlimited = somebody(&service, json!({ "tokens_per_day": 1_000_000 })).await;
    let conversation = service.conversation("spent").await;
    service.message(&conversation, "user", "for nothing").await;
    let path = format!("/conversations/{conversation}/messages/create");

    // Another node has counted what its replies have cost.
    Behind::of(&service).await.spend_for_the_operator(100).await;

    let refused = eventually("it is known here", SOON, async || {
        let answer = service
            .post_json(&path, &json!({ "role": "user", "text": "more" }))
            .await;
        (answer.status != 201).then_some(answer)
    })
    .await;
    assert_throttled(&refused, 24 * 60 * 60);
    unlimited.message(&conversation, "user", "by another").await;
    service.message(&conversation, "assistant", "costs nothing").await;
}

/// That somebody is told to come back, within so many seconds.
#[track_caller]
fn assert_throttled(answer: &Answer, within: u64) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=within).contains(&wait), "{wait}");
    let detail = format!("Request was throttled. Expected available in {wait} seconds.");
    assert_error(answer, 429, &json!({ "detail": [detail] }));
}
