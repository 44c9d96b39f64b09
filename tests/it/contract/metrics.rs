//! O8 to O11: who is told the metrics, where and how.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use super::overload::{empty, fill};
use super::{Database, Rows, not_found};
use crate::support::{Answer, Client, DEFAULT_KEY, Scrape, Server};

const LONG_KEY: &str = "a-key-of-the-configuration-for-production";

/// O8: the format, and what no label ever holds
pub(super) async fn metrics_are_text_that_prometheus_reads(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let conversation = service.conversation("metrics are no place for words").await;
    let message = service.message(&conversation, "user", "nor for these").await;
    let anyone = service.anonymous();
    let mut rows = Rows::default();

    let plain = anyone.get("/metrics").await;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    rows.equal("the type", plain.header("content-type"), kind);
    let request = anyone.request(Method::GET, "/metrics");
    let asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let named = Answer::of(request.header("accept", asked)).await;
    rows.equal("whatever is named", named.header("content-type"), kind);

    let text = Scrape::of(&anyone).await.text;
    for what in [
        &conversation,
        &message,
        "words",
        "nor for these",
        DEFAULT_KEY,
        "127.0.0.1",
    ] {
        rows.equal(what, text.contains(what), false);
    }
    rows.equal(
        "control",
        text.contains("/conversations/{conversation_id}/messages/create"),
        true,
    );
}

/// O8: one path at the root, with the methods of any that reads
pub(super) async fn metrics_are_at_the_root_and_only_read(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let mut rows = Rows::default();
    let head = service.ask(Method::HEAD, "/metrics").await;
    rows.equal("HEAD", (head.status, head.body.len()), (200, 0));
    let options = service.ask(Method::OPTIONS, "/metrics").await;
    let allow = "GET, HEAD, OPTIONS";
    rows.equal("OPTIONS", (options.status, options.header("allow")), (204, allow));
    let post = service.post_json("/metrics", &json!({})).await;
    rows.equal("POST", (post.status, post.header("allow")), (405, allow));
    let versioned = service.get("/api/v1/metrics").await;
    rows.error("under the prefix", &versioned, 404, &not_found());
}

/// A request for the metrics with these headers.
async fn asked_with(client: &Client, headers: &[(&str, &str)]) -> u16 {
    let request = client.request(Method::GET, "/metrics");
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::of(request).await.status
}

/// O9: who is told beside the API
pub(super) async fn metrics_are_for_this_machine_or_for_a_key_that_may_read_them(on: Database) {
    let near: &[(&str, &str)] = &[];
    let far: &[(&str, &str)] = &[("LISTEN", "0.0.0.0:0"), ("ALLOW_DEFAULT_KEY", "1")];
    let proxied: &[(&str, &str)] = &[("TRUSTED_PROXIES", "127.0.0.1")];
    let production: &[(&str, &str)] = &[("PRODUCTION", "1"), ("API_KEY", LONG_KEY)];
    let forwarded: &[(&str, &str)] = &[("x-forwarded-for", "203.0.113.7")];
    let standard: &[(&str, &str)] = &[("forwarded", "for=203.0.113.7")];
    let named: &[(&str, &str)] = &[("via", "1.1 proxy")];
    let mut rows = Rows::default();
    for (settings, headers, anyone, with_key) in [
        (near, near, 200, 200),
        (near, forwarded, 401, 200),
        (near, standard, 401, 200),
        (near, named, 401, 200),
        (proxied, forwarded, 401, 200),
        (far, near, 401, 200),
        (production, near, 401, 200),
    ] {
        if settings == production && !matches!(on, Database::Sqlite) {
            // Not over the tests' servers, which may lose what they acknowledge.
            continue;
        }
        let Some(service) = on.service_with(settings).await else {
            return;
        };
        let key = if settings == production {
            LONG_KEY
        } else {
            DEFAULT_KEY
        };
        let client = service.client.with_key(key);
        let row = format!("{settings:?} {headers:?}");
        let got = asked_with(&client.anonymous(), headers).await;
        rows.equal(format!("{row}: anyone"), got, anyone);
        let got = asked_with(&client.with_key("wrong"), headers).await;
        rows.equal(format!("{row}: with a wrong key"), got, anyone);
        let got = asked_with(&client, headers).await;
        rows.equal(format!("{row}: with the key"), got, with_key);
    }
}

/// O9: the scope, which is none of the usual ones
pub(super) async fn a_key_needs_the_scope_for_metrics(on: Database) {
    let settings = [("LISTEN", "0.0.0.0:0"), ("API_KEY", LONG_KEY)];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let operator = service.client.with_key(LONG_KEY);
    let mut rows = Rows::default();
    for (scopes, expected) in [
        (json!(["metrics:read"]), 200),
        (json!(["read", "messages:write", "keys:admin"]), 403),
    ] {
        let new = json!({ "name": "watcher", "scopes": scopes });
        let made = operator.post_json("/api/v1/keys", &new).await.expect(201);
        let client = operator.with_key(made["key"].as_str().expect("a key"));
        rows.equal(scopes, client.get("/metrics").await.status, expected);
    }
}

/// O10: a listener that is for nothing else
pub(super) async fn metrics_can_have_a_listener_of_their_own(on: Database) {
    let settings = [
        ("METRICS_LISTEN", "127.0.0.1:0"),
        ("ALLOWED_HOSTS", "chat.example.com"),
        ("ADDRESS_404S_PER_MIN", "2"),
    ];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let watchers = service.server().watchers().await;
    let mut rows = Rows::default();
    for path in ["/metrics", "/livez", "/readyz"] {
        rows.equal(path, watchers.get(path).await.status, 200);
    }
    for path in ["/conversations", "/api/v1/keys", "/"] {
        // It is not the whole API that is described.
        let answer = Answer::unjudged(watchers.request(Method::GET, path)).await;
        rows.equal(path, answer.expect("an answer").status, 404);
    }
    for again in 0..5 {
        let answer = asked_with(&watchers, &[("x-forwarded-for", "203.0.113.7")]).await;
        rows.equal(format!("however often: {again}"), answer, 200);
    }
    let beside = service.request(Method::GET, "/metrics");
    let beside = Answer::of(beside.header("host", "chat.example.com")).await;
    rows.error("beside the API", &beside, 404, &not_found());
}

/// O10: for workers, which otherwise listen nowhere
#[tokio::test]
async fn a_worker_tells_its_metrics_there() {
    let Some(Database::Postgres(cluster)) = Database::postgres().await else {
        return;
    };
    let database = cluster.database().await;
    let builder = Server::builder()
        .without("LISTEN")
        .on(database.url())
        .arg("worker");
    let worker = builder.env("METRICS_LISTEN", "127.0.0.1:0").start().await;

    let scrape = Scrape::of(&worker.watchers().await).await;

    assert!(scrape.sum("engagement_database_up", &[]) > 0.0);
}

/// O11: and by whom they can be switched off
pub(super) async fn metrics_can_be_switched_off(on: Database) {
    for settings in [
        &[("METRICS", "0")][..],
        &[("METRICS", "0"), ("METRICS_LISTEN", "127.0.0.1:0")],
    ] {
        let Some(service) = on.service_with(settings).await else {
            return;
        };
        let mut rows = Rows::default();
        rows.error("/metrics", &service.get("/metrics").await, 404, &not_found());
        rows.equal("the rest", service.get("/livez").await.status, 200);
        let told = service.server().stderr();
        rows.equal("a listener", told.contains("listening for metrics"), false);
    }
}

/// O11, E9: on either listener
pub(super) async fn metrics_are_told_while_the_service_is_full(on: Database) {
    for own_listener in [false, true] {
        let mut settings = vec![("MAX_IN_FLIGHT", "1")];
        settings.extend(own_listener.then_some(("METRICS_LISTEN", "127.0.0.1:0")));
        let Some(service) = on.service_with(&settings).await else {
            return;
        };
        let client = if own_listener {
            service.server().watchers().await
        } else {
            service.anonymous()
        };
        let full = fill(&service).await;
        for _ in 0..20 {
            let answer = timeout(Duration::from_secs(6), client.get("/metrics")).await;
            assert_eq!(answer.expect("an answer at once").status, 200);
        }
        let refused = Scrape::of(&client).await;
        empty(full).await;
        let refused = refused.sum(
            "engagement_http_overload_refused_total",
            &[("reason", "requests")],
        );
        assert!(refused > 0.0, "who was refused is counted");
    }
}
