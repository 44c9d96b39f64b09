//! Receivers of every kind, and none: requests do not wait for them.

use std::net::TcpListener;

use super::{traced, with_provider};
use crate::support::{
    SOON, Server,
    collector::{Collector, Manner, Span},
    eventually,
    upstream::Upstream,
};

const LOST: &str = "spans were lost";

/// Where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// Does what the service is there for while this receives its traces; gives what it logged, and how long the end took in
/// its own words.
async fn serve_beside(url: &str) -> String {
    let provider = Upstream::start().await;
    let mut server = with_provider(Server::builder(), &provider)
        .env("OTLP_ENDPOINT", url)
        .start()
        .await;
    let client = server.client();
    for _ in 0..5 {
        let conversation = client.conversation("traced").await;
        let message = client.message(&conversation, "user", "Hello").await;
        let reply = client.finished_reply(&conversation, &message).await;
        assert_eq!(reply["status"], "succeeded");
        assert_eq!(client.texts(&conversation).await.len(), 2);
    }
    server.terminate();
    // It has its drain of 8 seconds only where something is under way; a receiver gets a second.
    let status = server.wait_exit(SOON).await;
    assert_eq!(status.code(), Some(0));
    server.log()
}

#[tokio::test]
async fn whatever_the_receiver_does_requests_go_on_and_the_end_comes() {
    for manner in [Manner::Hangs, Manner::Refuses(503), Manner::Refuses(401)] {
        let collector = Collector::that(manner).await;
        let log = serve_beside(&collector.url()).await;
        assert!(log.contains(LOST), "{manner:?}: {log}");
        assert!(!collector.heads().is_empty(), "{manner:?}: it was asked");
    }
    let log = serve_beside(&nowhere()).await;
    assert!(log.contains(LOST), "nobody there: {log}");
}

#[tokio::test]
async fn control_nothing_is_lost_where_it_is_received_up_to_the_last_request() {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let mut server = traced(&collector, &provider).start().await;
    server.client().conversation("the last").await;
    server.terminate();
    server.wait_exit(SOON).await;

    assert!(!server.log().contains(LOST), "{}", server.log());
    let last = |span: &Span| span.name == "POST /conversations/";
    assert!(
        collector.spans().iter().any(last),
        "what was done last is told, too"
    );
}

#[tokio::test]
async fn a_receiver_that_comes_late_gets_what_comes_then() {
    let (provider, url) = (Upstream::start().await, nowhere());
    let server = with_provider(Server::builder(), &provider)
        .env("OTLP_ENDPOINT", &url)
        .start()
        .await;
    let client = server.client();
    client.conversation("untold").await;
    eventually("the loss is said", 3 * SOON, async || {
        server.log().contains(LOST).then_some(())
    })
    .await;

    let collector = Collector::at(url.trim_start_matches("http://")).await;
    client.conversation("told").await;
    let made = |span: &Span| span.name == "POST /conversations/";
    collector.span("a request", made).await;
}

#[tokio::test]
async fn headers_go_along_and_the_path_is_put_behind_the_base() {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let server = with_provider(Server::builder(), &provider)
        .env("OTLP_ENDPOINT", &format!("{}/some/base/", collector.url()))
        .file("headers", "authorization=Bearer%20token, x-tenant=us\n")
        .env("OTLP_HEADERS_FILE", "headers")
        .env("OTLP_SERVICE_NAME", "chat")
        .start()
        .await;
    server.client().conversation("traced").await;

    let span = collector.span("a request", |_| true).await;
    assert_eq!(span.resource["service.name"], "chat");
    assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
    let head = &collector.heads()[0];
    for line in [
        "post /some/base/v1/traces http/1.1\r\n",
        "authorization: bearer token\r\n",
        "x-tenant: us\r\n",
        "content-type: application/x-protobuf\r\n",
    ] {
        assert!(head.contains(line), "{line:?} in {head}");
    }
}

#[tokio::test]
async fn the_variables_of_other_kits_change_nothing() {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let server = traced(&collector, &provider)
        .foreign_env("OTEL_EXPORTER_OTLP_HEADERS", "x-other=1")
        .foreign_env("OTEL_TRACES_SAMPLER", "always_off")
        .foreign_env("OTEL_SERVICE_NAME", "other")
        .foreign_env("OTEL_RESOURCE_ATTRIBUTES", "other=1")
        .foreign_env("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0")
        .start()
        .await;
    server.client().conversation("traced").await;

    let made = |span: &Span| span.name == "POST /conversations/";
    let span = collector.span("a request", made).await;
    assert_eq!(span.says("http.response.status_code"), "201");
    assert_eq!(span.resource["service.name"], "engagement");
    assert_eq!(span.resource.len(), 3, "{:?}", span.resource);
    assert!(!collector.heads()[0].contains("x-other"));
}

#[tokio::test]
async fn a_start_with_settings_that_make_no_sense_is_refused() {
    for (name, value, says) in [
        (
            "OTLP_ENDPOINT",
            "localhost:4318",
            "otlp_endpoint: must begin with http://",
        ),
        (
            "OTLP_ENDPOINT",
            "http://localhost:4318/v1/traces",
            "leave out /v1/traces",
        ),
        ("TRACE_RATIO", "2", "trace_ratio: must be from 0 to 1"),
        ("OTLP_HEADERS", "canary", "otlp_headers: is no list of headers"),
        (
            "OTLP_HEADERS_FILE",
            "/nonexistent",
            "otlp_headers_file: cannot read",
        ),
        ("OTLP_CA_FILE", "/nonexistent", "otlp_ca_file: cannot read"),
    ] {
        let mut builder = Server::builder().env(name, value);
        if name != "OTLP_ENDPOINT" {
            builder = builder.env("OTLP_ENDPOINT", "https://127.0.0.1:1");
        }
        let run = builder.run().await;
        assert_eq!(run.code, Some(78), "{name}={value}: {run:?}");
        assert!(run.stderr.contains(says), "{name}={value}: {}", run.stderr);
        assert!(!run.stderr.contains("canary"), "{}", run.stderr);
    }
}
