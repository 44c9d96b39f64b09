//! Keys: made, shown rightly and wrongly, and looked at from the command line.

use engagement::model::KeyText;
use reqwest::Method;
use serde_json::json;

use super::planted::{Home, KEY, Told};
use crate::support::{Answer, Client, Run};

const KEYS: &str = "/api/v1/keys";

pub(super) async fn made_on_the_command_line(home: &Home, told: &mut Told) -> String {
    let run = home.run(&["keys", "create", "from outside"]).await;
    let key = run.stdout.trim_end().to_owned();
    told.secret_of(&key);
    let said = Run {
        stdout: String::new(),
        ..run
    };
    told.command("keys create", &said);
    key
}

/// The right id with another secret, whose checksum is right.
fn half_wrong(key: &str) -> String {
    let secret = format!("canaryWrongSecret{}", "0".repeat(26));
    let KeyText { environment, id, .. } = KeyText::parse(key).expect("a key");
    KeyText {
        environment,
        id,
        secret: &secret,
    }
    .compose()
}

fn with_another_end(key: &str) -> String {
    let end = if key.ends_with('0') { '1' } else { '0' };
    format!("{}{end}", &key[..key.len() - 1])
}

/// Shows keys that open, that opened and that never did, wherever a key can stand.
pub(super) async fn shown_in_every_way(client: &Client, from_outside: &str, told: &mut Told) {
    let made = client.post_json(KEYS, &json!({ "name": "over HTTP" })).await;
    let made = made.expect(201);
    let (id, key) = (
        made["key_id"].as_str().expect("an id"),
        made["key"].as_str().expect("a key"),
    );
    told.secret_of(key);
    let rotated = client
        .post_json(&format!("{KEYS}/{id}/rotate"), &json!({ "overlap_s": 3600 }))
        .await;
    let rotated = rotated.expect(201)["key"].as_str().expect("a key").to_owned();
    told.secret_of(&rotated);

    let all = [
        KEY.to_owned(),
        key.to_owned(),
        rotated,
        from_outside.to_owned(),
        half_wrong(key),
        with_another_end(key),
        with_another_end(from_outside),
        key.to_uppercase(),
        format!("{key}{key}"),
        "canary-wrong-key".to_owned(),
        "canary-wrong-key".repeat(300),
    ];
    for shown in &all {
        show(client, shown, told).await;
    }
    let revoked = client.delete(&format!("{KEYS}/{id}")).await;
    revoked.expect(200);
    show(client, key, told).await;
    // A text where a number belongs.
    let wrong = json!({ "overlap_s": key, "expires_in_s": KEY, "date_expires": KEY });
    let answer = client.post_json(&format!("{KEYS}/{id}/rotate"), &wrong).await;
    assert!(answer.status >= 400, "{answer:?}");
    told.error(answer);
}

async fn show(client: &Client, key: &str, told: &mut Told) {
    let bearer = format!("Bearer {key}");
    let ways: [&[(&str, &str)]; 9] = [
        &[("x-api-key", key)],
        &[("authorization", &bearer)],
        &[("x-api-key", key), ("authorization", &bearer)],
        &[("x-api-key", key), ("authorization", "Bearer canary-wrong-key")],
        &[("x-api-key", "canary-wrong-key"), ("authorization", &bearer)],
        &[("x-api-key", key), ("x-api-key", key)],
        &[("authorization", &bearer), ("authorization", &bearer)],
        &[("authorization", key)],
        &[
            ("authorization", "Basic Y2FuYXJ5LWJhc2lj"),
            ("x-forwarded-for", "203.0.113.7"),
        ],
    ];
    let anonymous = client.anonymous();
    for headers in ways {
        for (method, path, accept) in [
            (Method::POST, "/conversations/", "*/*"),
            (Method::GET, KEYS, "application/problem+json"),
            (
                Method::GET,
                "/conversations/canary-path",
                "application/problem+json",
            ),
        ] {
            let request = anonymous.request(method, path).header("accept", accept);
            let request = headers
                .iter()
                .fold(request, |request, (name, value)| request.header(*name, *value));
            // Nothing is made: there is no body.
            told.error(Answer::of(request).await);
        }
    }
}

/// Has the command line show all that it shows of keys and settings.
pub(super) async fn looked_at(home: &Home, told: &mut Told) {
    for command in [
        "keys list",
        "keys list --json",
        "keys audit --limit 1000",
        "keys audit --limit 1000 --json",
        "config show",
        "check",
        "check --production",
        "migrate status",
    ] {
        let words: Vec<_> = command.split(' ').collect();
        let run = home.run(&words).await;
        told.command(command, &run);
    }
}
