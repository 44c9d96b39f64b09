//! `engagement keys`: before the first start, and beside a service that runs.

use std::time::Duration;

use serde_json::{Value, json};

use super::start::{Place, id_of, status};
use crate::support::postgres;
use crate::support::{Builder, Client, EventStream, SOON, Server, eventually};

/// How soon what was done on the command line counts in a service that runs.
const COUNTS_WITHIN: Duration = Duration::from_secs(5);

async fn until(client: &Client, key: &str, wanted: u16) {
    eventually("the command counts", COUNTS_WITHIN, async || {
        (status(client, key).await == wanted).then_some(())
    })
    .await;
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_can_be_made_before_the_first_start() {
    for place in Place::each().await {
        let run = place.builder().arg("keys").arg("create").arg("web").run().await;

        assert_eq!(run.code, Some(0), "{run:?}");
        let key = run.stdout.trim_end();
        assert_eq!(run.stdout, format!("{key}\n"), "the key alone");
        assert!(
            key.starts_with("eng_live_") && !key.contains(char::is_whitespace),
            "{key}"
        );
        for said in [
            id_of(key),
            "web",
            "live",
            "conversations:write",
            "only time",
            "does not expire",
        ] {
            assert!(run.stderr.contains(said), "no {said} in {run:?}");
        }
        assert!(!run.stderr.contains(key), "{run:?}");
        let server = place.builder().env("LISTEN", "0.0.0.0:0").start().await;
        let client = Client::new(&format!("http://127.0.0.1:{}", server.address().port()), None);
        assert_eq!(status(&client, key).await, 201);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_to_keys_counts_in_services_that_run() {
    for place in Place::each().await {
        let mut servers = vec![place.builder().start().await];
        if place.is_shared() {
            servers.push(place.builder().start().await);
        }
        let clients: Vec<_> = servers.iter().map(Server::client).collect();

        let key = place.keys(&["create", "web"]).await;
        for client in &clients {
            until(client, &key, 201).await;
        }

        let conversation = clients[0].with_key(&key).conversation("watched").await;
        let path = format!("/conversations/{conversation}/events");
        let line = format!("X-API-Key: {key}");
        let mut streams = Vec::new();
        for server in &servers {
            streams.push(EventStream::open(server.address(), &path, &[&line]).await);
        }
        let mut anonymous = EventStream::open(servers[0].address(), &path, &[]).await;

        place.keys(&["revoke", id_of(&key)]).await;

        for (client, stream) in clients.iter().zip(&mut streams) {
            let ended = tokio::time::timeout(COUNTS_WITHIN, stream.next()).await;
            assert_eq!(ended.expect("the stream ends in time"), None);
            until(client, &key, 401).await;
        }
        let other = place.keys(&["create", "other"]).await;
        until(&clients[0], &other, 201).await;
        let message = clients[0]
            .with_key(&other)
            .message(&conversation, "assistant", "on")
            .await;
        let frame = anonymous
            .next()
            .await
            .expect("control: nobody else's stream ended");
        assert_eq!(frame.data["message"]["message_id"], message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_rotated_while_the_service_runs() {
    for place in Place::each().await {
        let server = place.builder().start().await;
        let client = server.client();
        let old = place
            .keys(&["create", "worker", "--scopes", "conversations:write"])
            .await;
        until(&client, &old, 201).await;

        let new = place.keys(&["rotate", id_of(&old), "--overlap", "3s"]).await;

        until(&client, &new, 201).await;
        until(&client, &old, 401).await;
        assert_eq!(status(&client, &new).await, 201);
        let listed = json(&place.keys(&["list", "--json"]).await);
        let of = |at: usize, field: &str| listed["results"][at][field].clone();
        assert_eq!(
            (of(0, "status"), of(1, "status")),
            (json!("expired"), json!("active"))
        );
        assert_eq!((of(0, "name"), of(1, "name")), (json!("worker"), json!("worker")));
        assert_eq!(of(1, "scopes"), json!(["conversations:write"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_says_what_the_service_says() {
    for place in Place::each().await {
        let settings: [&[&str]; 3] = [
            &["create", "admin", "--scopes", "keys:admin,read"],
            &[
                "create",
                "limited",
                "--environment",
                "test",
                "--requests-per-s",
                "5",
                "--messages-per-min",
                "60",
                "--pending-replies",
                "2",
                "--tokens-per-day",
                "1000000",
                "--expires",
                "2999-01-31",
            ],
            &["create", "gone"],
        ];
        let mut keys = Vec::new();
        for arguments in settings {
            keys.push(place.keys(arguments).await);
        }
        place.keys(&["revoke", id_of(&keys[2])]).await;
        let server = place.builder().start().await;

        let listed = json(&place.keys(&["list", "--json"]).await);

        let client = server.client().with_key(&keys[0]);
        let mut shown = client.get("/api/v1/keys").await.expect(200);
        // It was used just now, to ask.
        shown["results"][0]["date_last_used"] = Value::Null;
        assert_eq!(listed["results"].as_array().map(Vec::len), Some(3));
        assert_eq!(shown, listed);
        let limited = &listed["results"][1];
        assert_eq!(
            limited["limits"],
            json!({ "requests_per_s": 5, "messages_per_min": 60, "pending_replies": 2, "tokens_per_day": 1_000_000 })
        );
        assert_eq!(limited["date_expires"], "2999-01-31T00:00:00.000000Z");

        let table = place.keys(&["list"]).await;
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(
            lines[0].starts_with("ID ") && lines[1].contains("keys:admin"),
            "{table}"
        );
        assert!(lines[3].contains("revoked"), "{table}");
        for key in &keys {
            assert!(!table.contains(key.as_str()) && !listed.to_string().contains(key.as_str()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_tells_who_did_what() {
    for place in Place::each().await {
        let operator = "the-operators-key-of-this-test";
        let first = place.keys(&["create", "first"]).await;
        let mut server = place.builder().env("API_KEY", operator).start().await;
        let client = server.client().with_key(operator);
        let made = client
            .post_json("/api/v1/keys", &json!({ "name": "second" }))
            .await
            .expect(201);
        let second = made["key_id"].as_str().expect("an id").to_owned();
        place.keys(&["revoke", id_of(&first)]).await;
        place.keys(&["revoke", id_of(&first)]).await;
        until(&client, &first, 401).await;
        for _ in 0..3 {
            assert_eq!(status(&client, "wrong-canary").await, 401);
        }
        let usual = client.with_key(made["key"].as_str().expect("a key"));
        for _ in 0..2 {
            assert_eq!(usual.get("/api/v1/keys").await.status, 403);
        }
        server.terminate();
        server.wait_exit(SOON).await;

        let audit = json(&place.keys(&["audit", "--json"]).await);

        let entries = audit["results"].as_array().expect("entries");
        let told = |event: &str, key: Value, actor: &str| {
            let is_it =
                |entry: &&Value| entry["event"] == event && entry["key_id"] == key && entry["actor"] == actor;
            entries.iter().filter(is_it).collect::<Vec<_>>()
        };
        let first = json!(id_of(&first));
        assert_eq!(told("key.created", first.clone(), "cli").len(), 1, "{audit}");
        assert_eq!(
            told("key.revoked", first.clone(), "cli").len(),
            1,
            "twice is once: {audit}"
        );
        assert_eq!(told("key.created", json!(second), "operator").len(), 1, "{audit}");
        let refused = told("login.refused", Value::Null, "anonymous");
        let count: u64 = refused.iter().filter_map(|entry| entry["count"].as_u64()).sum();
        assert_eq!(count, 3, "{audit}");
        assert!(
            refused.iter().all(|entry| entry["address"] == "127.0.0.1"),
            "{audit}"
        );
        assert!(!told("login.refused", first, "anonymous").is_empty(), "{audit}");
        let forbidden = told("scope.refused", json!(second), &second);
        let count: u64 = forbidden.iter().filter_map(|entry| entry["count"].as_u64()).sum();
        assert_eq!(count, 2, "{audit}");
        assert!(!audit.to_string().contains("canary"));
        let table = place.keys(&["audit", "--limit", "2"]).await;
        assert_eq!(table.lines().count(), 3, "{table}");
        for said in [
            "a key was made",
            "a key was taken back",
            "credentials were refused",
            "keys were used for what they may not do",
        ] {
            assert!(server.log().contains(said), "no {said:?} in {}", server.log());
        }
        assert!(!server.log().contains("canary"), "{}", server.log());
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_hint() {
    let place = Place::each().await.remove(0);
    let key = place.keys(&["create", "it"]).await;
    place.keys(&["revoke", id_of(&key)]).await;
    let rows: [(&[&str], i32, &str); 14] = [
        (&["create"], 2, "NAME"),
        (&["create", " "], 2, "1 to 100 characters"),
        (
            &["create", "it", "--scopes", "write"],
            2,
            "conversations:write, messages:write",
        ),
        (
            &["create", "it", "--expires-in", "soon"],
            2,
            "90d, 24h, 30m or 10s",
        ),
        (&["create", "it", "--expires-in", "0s"], 2, "at least 1s"),
        (
            &["create", "it", "--expires-in", "99999999999d"],
            2,
            "up to 49710d",
        ),
        (&["create", "it", "--expires", "31.1.2027"], 2, "2027-01-31"),
        (&["create", "it", "--expires", "2020-01-01"], 2, "has passed"),
        (
            &["create", "it", "--expires", "2999-01-01", "--expires-in", "1d"],
            2,
            "cannot be used with",
        ),
        (&["create", "it", "--environment", "prod"], 2, "live or test"),
        (&["create", "it", "--requests-per-s", "0"], 2, "--requests-per-s"),
        (&["revoke", "nobody"], 2, "12 letters and digits"),
        (&["revoke", "000000000000"], 1, "engagement keys list"),
        (&["rotate", id_of(&key)], 1, "engagement keys create NAME"),
    ];
    for (arguments, code, says) in rows {
        let builder = place.builder().arg("keys");
        let run = arguments.iter().fold(builder, Builder::arg);
        let run = run.run().await;
        assert_eq!(run.code, Some(code), "{arguments:?}: {run:?}");
        assert!(
            run.stderr.contains(says) && run.stdout.is_empty(),
            "{arguments:?}: {run:?}"
        );
    }
    let listed = json(&place.keys(&["list", "--json"]).await);
    assert_eq!(
        listed["results"].as_array().map(Vec::len),
        Some(1),
        "nothing was made"
    );
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let run = Server::builder()
        .on(&cluster.url_of("no_such_database"))
        .arg("keys")
        .arg("list");
    let run = run.run().await;
    assert_eq!(run.code, Some(69), "{run:?}");
    assert!(run.stderr.contains("hint: ") && run.stdout.is_empty(), "{run:?}");
}
