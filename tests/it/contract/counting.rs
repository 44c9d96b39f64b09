//! O8: what is counted is what was done, no more and no less.

use std::fs;
use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use super::{Database, Rows, Service};
use crate::support::{Answer, SOON, Scrape, Server, eventually, upstream::Upstream};

/// How much more there is of something after what was done.
struct Difference {
    before: Scrape,
    after: Scrape,
}

impl Difference {
    fn of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.after.sum(name, labels) - self.before.sum(name, labels)
    }
}

/// Waits until this is counted: what is done in the background is counted a moment after it shows.
#[expect(clippy::float_cmp, reason = "counts are whole")]
async fn counted(service: &Service, name: &str, labels: &[(&str, &str)], wanted: f64) -> Scrape {
    eventually(&format!("{name} {labels:?} is {wanted}"), 3 * SOON, async || {
        let scrape = Scrape::of(&service.client).await;
        (scrape.sum(name, labels) == wanted).then_some(scrape)
    })
    .await
}

/// O8: requests by method, route and status, however the route was written
pub(super) async fn requests_are_counted_by_route_and_status(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let before = Scrape::of(&service.client).await;
    let conversation = service.conversation_of(&["one", "two"]).await;
    let path = format!("/conversations/{conversation}");
    for spelling in [
        path.clone(),
        format!("{path}/"),
        format!("/api/v1{path}"),
        format!("/api/v1{path}/"),
    ] {
        service.get(&spelling).await.expect(200);
    }
    service.get("/nope").await;
    service.get("/nowhere").await;
    service.get(&format!("/conversations/{}", super::NOBODY)).await;
    service.anonymous().delete(&format!("{path}/delete")).await;
    service.ask(Method::PUT, &path).await;
    service
        .ask(Method::from_bytes(b"BREW").expect("a method"), &path)
        .await;
    let after = Scrape::of(&service.client).await;

    let counted = Difference { before, after };
    let route = "/conversations/{conversation_id}";
    let messages = "/conversations/{conversation_id}/messages/create";
    let delete = "/conversations/{conversation_id}/delete";
    let mut rows = Rows::default();
    for (method, route, status, wanted) in [
        ("POST", "/conversations", "201", 1.0),
        ("POST", messages, "201", 2.0),
        ("GET", route, "200", 4.0),
        ("GET", route, "404", 1.0),
        ("GET", "(none)", "404", 2.0),
        ("DELETE", delete, "401", 1.0),
        ("PUT", route, "405", 1.0),
        ("OTHER", route, "405", 1.0),
        // The reading before.
        ("GET", "/metrics", "200", 1.0),
    ] {
        let labels = [("method", method), ("route", route), ("status", status)];
        let got = counted.of("engagement_http_requests_total", &labels);
        rows.equal(format!("{labels:?}"), got, wanted);
    }
    rows.equal("in all", counted.of("engagement_http_requests_total", &[]), 14.0);
    let labels = [("method", "GET"), ("route", route)];
    let took = counted.of("engagement_http_request_duration_seconds_count", &labels);
    rows.equal("times", took, 5.0);
    let in_flight = counted.after.sum("engagement_http_requests_in_flight", &[]);
    rows.equal("this reading alone is under way", in_flight, 1.0);
    let written = counted.of("engagement_database_write_group_size_sum", &[]);
    rows.equal("each write is in a group", written >= 3.0, true);
}

/// O8: replies by what came of them; nothing waits when all is done
pub(super) async fn replies_are_counted_when_they_end(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let conversation = service.conversation("counted").await;
    for _ in 0..5 {
        let message = service.message(&conversation, "user", "hello").await;
        service.finished_reply(&conversation, &message).await;
    }
    let succeeded = [("outcome", "succeeded")];
    counted(&service, "engagement_reply_attempts_total", &succeeded, 5.0).await;
    let scrape = counted(&service, "engagement_reply_attempts_in_progress", &[], 0.0).await;
    let mut rows = Rows::default();
    let times = scrape.sum("engagement_reply_attempt_duration_seconds_count", &succeeded);
    rows.equal("times", times, 5.0);
    rows.equal(
        "attempts",
        scrape.sum("engagement_reply_attempts_total", &[]),
        5.0,
    );
    rows.equal("up", scrape.sum("engagement_database_up", &[]), 1.0);
    rows.equal(
        "size",
        scrape.sum("engagement_database_size_bytes", &[]) > 0.0,
        true,
    );
    // The database's figures may be some seconds old.
    for name in ["engagement_replies_queued", "engagement_replies_running"] {
        counted(&service, name, &[], 0.0).await;
    }
}

/// O8: limits that were met, and what was answered again
pub(super) async fn refusals_and_replays_are_counted(on: Database) {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1"), ("ADDRESS_READS_PER_S", "1")];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("limited").await);
    let mut refused = 0.0;
    for _ in 0..10 {
        let request = service.anonymous().request(Method::GET, &path);
        let answer = Answer::of(request.header("x-forwarded-for", "203.0.113.7")).await;
        refused += f64::from(u8::from(answer.status == 429));
    }
    for _ in 0..3 {
        let request = service.request(Method::POST, "/conversations/");
        let request = request
            .header("idempotency-key", "again")
            .json(&json!({ "description": "once" }));
        Answer::of(request).await.expect(201);
    }
    let scrape = Scrape::of(&service.client).await;
    let mut rows = Rows::default();
    rows.equal("control: some were refused", refused > 0.0, true);
    let limit = [("limit", "reads")];
    rows.equal(
        "by this limit",
        scrape.sum("engagement_limit_exceeded_total", &limit),
        refused,
    );
    rows.equal(
        "by any",
        scrape.sum("engagement_limit_exceeded_total", &[]),
        refused,
    );
    rows.equal(
        "again",
        scrape.sum("engagement_idempotent_replays_total", &[]),
        2.0,
    );
}

/// O8: streams while they are open, and why they ended
pub(super) async fn streams_are_counted_while_they_last(on: Database) {
    let Some(service) = on.service_with(&[("MAX_STREAMS", "2")]).await else {
        return;
    };
    let conversation = service.conversation("watched").await;
    let events = format!("/conversations/{conversation}/events");
    let (one, other) = (service.watch(&events).await, service.watch(&events).await);
    assert_eq!(service.get(&events).await.status, 503);
    let scrape = Scrape::of(&service.client).await;
    let mut rows = Rows::default();
    rows.equal("open", scrape.sum("engagement_streams", &[]), 2.0);
    let full = [("reason", "streams")];
    let refused = scrape.sum("engagement_http_overload_refused_total", &full);
    rows.equal("refused", refused, 1.0);

    drop(one);
    counted(
        &service,
        "engagement_streams_ended_total",
        &[("reason", "client")],
        1.0,
    )
    .await;
    service
        .delete(&format!("/conversations/{conversation}/delete"))
        .await
        .expect(200);
    let scrape = counted(
        &service,
        "engagement_streams_ended_total",
        &[("reason", "over")],
        1.0,
    )
    .await;
    rows.equal("open", scrape.sum("engagement_streams", &[]), 0.0);
    drop(other);
}

/// A service with a provider of language models.
async fn with_a_provider(on: Database, provider: &Upstream) -> Option<Service> {
    let home = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let url = provider.openai_url();
    let table = format!("[providers.p]\nbase_url = '{url}'\nmodels = ['m']\nconcurrency = 7\n");
    fs::write(home.path().join("engagement.toml"), table).expect("a file of settings");
    on.start(Server::builder_over(&home)).await
}

/// O8: a provider's answers and failures, what they took, and whether it is left alone
pub(super) async fn a_provider_that_fails_shows(on: Database) {
    let provider = Upstream::start().await;
    let Some(service) = with_a_provider(on, &provider).await else {
        return;
    };
    let mut outcomes = Vec::new();
    for text in ["stream:3 please", "fault:status_400 please", "another one"] {
        let conversation = service.conversation("asked").await;
        let message = service.message(&conversation, "user", text).await;
        let reply = service
            .finished_reply_within(3 * SOON, &conversation, &message)
            .await;
        outcomes.push(reply["status"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(outcomes, ["succeeded", "failed", "succeeded"]);
    let failed = [("outcome", "failed"), ("code", "provider_rejected")];
    let scrape = counted(&service, "engagement_reply_attempts_total", &failed, 1.0).await;

    let mut rows = Rows::default();
    let of = |name: &str, label: &str, value: &str| scrape.sum(name, &[("provider", "p"), (label, value)]);
    for (outcome, wanted) in [
        ("answered", 2.0),
        ("failed", 1.0),
        ("retry", 0.0),
        ("left_alone", 0.0),
    ] {
        rows.equal(
            outcome,
            of("engagement_provider_requests_total", "outcome", outcome),
            wanted,
        );
    }
    let p = [("provider", "p")];
    for (name, wanted) in [
        ("engagement_provider_request_duration_seconds_count", 3.0),
        ("engagement_provider_first_token_seconds_count", 2.0),
        ("engagement_provider_requests_in_flight", 0.0),
        ("engagement_provider_requests_limit", 7.0),
    ] {
        rows.equal(name, scrape.sum(name, &p), wanted);
    }
    rows.equal(
        "it is asked",
        of("engagement_provider_breaker", "state", "closed"),
        1.0,
    );
    rows.equal("one state", scrape.sum("engagement_provider_breaker", &p), 1.0);
    rows.equal(
        "tokens",
        of("engagement_provider_tokens_total", "type", "output") > 0.0,
        true,
    );
    rows.equal(
        "tokens",
        of("engagement_provider_tokens_total", "type", "input") > 0.0,
        true,
    );
}

/// O8: a provider that fails again and again is left alone, and that shows
pub(super) async fn a_provider_that_is_left_alone_shows(on: Database) {
    let provider = Upstream::start().await;
    let Some(service) = with_a_provider(on, &provider).await else {
        return;
    };
    for _ in 0..8 {
        let conversation = service.conversation("asked").await;
        service
            .message(&conversation, "user", "fault:status_503 please")
            .await;
    }
    let open = [("provider", "p"), ("state", "open")];
    let scrape = counted(&service, "engagement_provider_breaker", &open, 1.0).await;
    let failed = [("provider", "p"), ("outcome", "retry")];
    let failures = scrape.sum("engagement_provider_requests_total", &failed);
    assert!(failures >= 5.0, "{failures} failures");
    let retries = scrape.sum("engagement_reply_attempts_total", &[("outcome", "retry")]);
    assert!(retries >= 1.0, "{retries} retries");
}
