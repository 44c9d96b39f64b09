//! I: every route that is posted to, and what may have changed by the time that a request comes again.

use std::fs;

use engagement::http::table;
use reqwest::Method;
use serde_json::json;

use super::{Database, NOBODY, Rows, Service, head, not_found};
use crate::support::{Answer, Client, Server};

/// The operator's key: it stays when others are made.
const OWN: &str = "the-operators-key-of-this-test";

async fn post_under(client: &Client, once: &str, path: &str, body: &str) -> Answer {
    let request = client
        .request(Method::POST, path)
        .header("content-type", "application/json")
        .header("idempotency-key", once);
    Answer::of(request.body(body.to_owned())).await
}

/// A path of its own for each route, with something in it to ask for, and the body of a request.
async fn on_something(client: &Client, route: &str) -> (String, &'static str) {
    let conversation = client.conversation("posted to").await;
    let question = client.message(&conversation, "user", "Hello").await;
    client.finished_reply(&conversation, &question).await;
    let key = client
        .post_json("/api/v1/keys", &json!({ "name": "rotated" }))
        .await;
    let key = key.expect(201)["key_id"].as_str().expect("an id").to_owned();
    let path = route
        .replace("{conversation_id}", &conversation)
        .replace("{message_id}", &question)
        .replace("{key_id}", &key);
    (path, body_of(route))
}

fn body_of(route: &str) -> &'static str {
    match route {
        "/conversations" => r#"{"description": "x"}"#,
        "/conversations/{conversation_id}/messages/create" => r#"{"role": "assistant", "text": "x"}"#,
        "/keys" => r#"{"name": "x"}"#,
        "/keys/{key_id}/rotate" => "{}",
        route if ignores_bodies(route) => "",
        other => panic!("say here what is posted to {other}"),
    }
}

fn ignores_bodies(route: &str) -> bool {
    route.ends_with("/reply/cancel") || route.ends_with("/reply/retry")
}

/// The same path with ids that name nothing, if there are any in it.
fn on_nothing(route: &str) -> Option<String> {
    let path = route
        .replace("{conversation_id}", NOBODY)
        .replace("{message_id}", NOBODY)
        .replace("{key_id}", "000000000000");
    (path != route).then_some(path)
}

/// I1, I2, I3, I5: malformed, unknown, repeated, reused
pub(super) async fn every_route_that_is_posted_to_takes_the_header_alike(on: Database) {
    let Some(service) = on.service_with(&[("API_KEY", OWN)]).await else {
        return;
    };
    let client = service.with_key(OWN);
    let malformed = json!({ "Idempotency-Key": ["Send one key of 1 to 255 printable ASCII characters."] });
    let reused = json!({ "Idempotency-Key": ["This key was used for another request."] });
    let mut rows = Rows::default();
    let posted_to = table().into_iter().filter(|route| route.method == "POST");
    for (number, route) in posted_to.enumerate() {
        let once = format!("route-{number}");
        let prefix = route.prefixes.last().expect("a prefix");
        let row = |what: &str| format!("POST {}, {what}", route.path);
        let body = body_of(route.path);
        if let Some(nowhere) = on_nothing(route.path) {
            let nowhere = format!("{prefix}{nowhere}");
            for key in ["", once.as_str()] {
                let answer = post_under(&client, key, &nowhere, body).await;
                rows.error(row("of what is not there"), &answer, 404, &not_found());
            }
        }
        let (path, body) = on_something(&client, route.path).await;
        let path = format!("{prefix}{path}");
        let answer = post_under(&client, "", &path, body).await;
        rows.error(row("malformed"), &answer, 400, &malformed);

        let first = post_under(&client, &once, &path, body).await;
        rows.equal(
            row("the first"),
            (
                matches!(first.status, 200..300),
                first.header("idempotent-replayed"),
            ),
            (true, ""),
        );
        let again = post_under(&client, &once, &path, body).await;
        rows.equal(
            row("again"),
            (again.status, again.text(), again.header("idempotent-replayed")),
            (first.status, first.text(), "true"),
        );
        let other = post_under(&client, &once, &path, &format!("{body} ")).await;
        if ignores_bodies(route.path) {
            rows.equal(
                row("with another body, which is ignored"),
                (other.status, other.text()),
                (first.status, first.text()),
            );
        } else {
            rows.error(row("with another body"), &other, 422, &reused);
        }
    }
}

/// I1, C4: what was judged then is not judged again
pub(super) async fn a_model_that_went_out_of_the_configuration_is_no_reason_to_refuse_what_was_done(
    on: Database,
) {
    let table =
        "[providers.gone]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\nmodels = [\"m\"]\n";
    let server = Server::builder().file("engagement.toml", table);
    let Some(service) = on.start(server).await else {
        return;
    };
    let message = format!(
        "/conversations/{}/messages/create",
        service.conversation("kept").await
    );
    let requests = [
        (
            "/conversations/",
            r#"{"title": "t", "description": "d", "model": "gone/m"}"#,
        ),
        (
            &message,
            r#"{"role": "user", "text": "Hello", "model": "gone/m"}"#,
        ),
    ];
    let mut first = Vec::new();
    for (number, (path, body)) in requests.iter().enumerate() {
        let answer = post_under(&service, &number.to_string(), path, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        first.push(answer);
    }

    fs::write(service.server().home().path().join("engagement.toml"), "").expect("a file of settings");
    let service = service.killed_and_started_again().await;

    let mut rows = Rows::default();
    for (number, (path, body)) in requests.iter().enumerate() {
        // The second time, this process knows that it was there.
        for _ in 0..2 {
            let again = post_under(&service, &number.to_string(), path, body).await;
            rows.equal(path, (again.status, again.text()), (201, first[number].text()));
            rows.equal(path, again.header("idempotent-replayed"), "true");
        }
        let anew = post_under(&service, "anew", path, body).await;
        rows.equal("control: the model is gone", anew.status, 400);
    }
}

/// I6, H8: also where the client asks before it sends
pub(super) async fn who_asks_before_sending_is_answered_again_when_the_conversation_is_gone(on: Database) {
    let service = on.service().await;
    let conversation = service.conversation("gone").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let body = r#"{"role": "assistant", "text": "x"}"#;
    let first = post_under(&service, "asked first", &path, body).await;
    assert_eq!(first.status, 201);
    let gone = service
        .delete(&format!("/conversations/{conversation}/delete"))
        .await;
    assert_eq!(gone.status, 200);

    let again = asking_first(&service, &path, body, "Idempotency-Key: asked first").await;

    assert_eq!((again.status, again.text()), (201, first.text()));
    assert_eq!(again.header("idempotent-replayed"), "true");
    let other = asking_first(&service, &path, body, "Idempotency-Key: another").await;
    assert_eq!(other.status, 404);
    let without = asking_first(&service, &path, body, "A: b").await;
    assert_eq!(without.status, 404);
}

/// Sends the body when it is asked for; gives the answer.
async fn asking_first(service: &Service, path: &str, body: &str, line: &str) -> Answer {
    let (post, length) = (
        format!("POST {path} HTTP/1.1"),
        format!("Content-Length: {}", body.len()),
    );
    let lines = [
        &post,
        "Host: localhost",
        "Content-Type: application/json",
        "Expect: 100-continue",
        &service.key_line(),
        &length,
        line,
    ];
    let mut raw = service.connect().await;
    raw.send(head(&lines)).await.expect("a head to send");
    let first = raw.answer().await.expect("an answer");
    if first.status != 100 {
        return first;
    }
    raw.send(body).await.expect("a body to send");
    raw.answer().await.expect("an answer")
}
