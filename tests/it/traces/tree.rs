//! One message is one trace, from the request to the provider, whichever processes take part.

use reqwest::Method;
use serde_json::json;

use super::{MESSAGE, REPLY, below, is_message, traced, with_provider};
use crate::support::{
    Client, EventStream, SOON, Server,
    collector::{Collector, Span},
    postgres,
    upstream::Upstream,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

/// A client's span.
const CLIENT: (&str, &str) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");

/// Says something to the assistant, waits for the answer, and gives the conversation.
async fn say(client: &Client, text: &str) -> String {
    let conversation = client.conversation("traced").await;
    let message = client.message(&conversation, "user", text).await;
    client.finished_reply(&conversation, &message).await;
    conversation
}

/// Everything of the trace of the one message that was said, once the reply to it is there.
async fn trace(collector: &Collector) -> Vec<Span> {
    let request = collector.span("the request", is_message).await;
    let is_reply = |span: &Span| span.name == REPLY && span.trace == request.trace;
    collector.span("the reply", is_reply).await;
    let mut spans = collector.spans();
    spans.retain(|span| span.trace == request.trace);
    spans
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "one span {name} among {spans:#?}");
    found[0]
}

/// What both databases have in common.
fn judge(spans: &[Span], system: &str) {
    let request = one(spans, MESSAGE);
    assert_eq!((request.kind, request.parent.as_str()), (SpanKind::Server, ""));
    assert_eq!(request.says("http.request.method"), "POST");
    assert_eq!(
        request.says("http.route"),
        "/conversations/{conversation_id}/messages/create"
    );
    assert_eq!(request.says("http.response.status_code"), "201");
    assert!(!request.failed);
    assert_eq!(request.resource["service.name"], "engagement");

    for call in ["append_and_claim", "append_message"]
        .iter()
        .filter_map(|name| spans.iter().find(|span| span.name == *name))
        .chain([one(spans, "context"), one(spans, "finish_reply")])
    {
        assert_eq!(call.says("db.system.name"), system);
        assert_eq!(call.says("db.operation.name"), call.name);
    }

    let reply = one(spans, REPLY);
    assert_eq!(reply.kind, SpanKind::Consumer);
    assert_eq!(
        reply.parent, request.id,
        "work on the reply belongs to the request"
    );
    assert_eq!(reply.says("engagement.reply.outcome"), "succeeded");
    assert_eq!(reply.says("engagement.reply.attempt"), "1");
    assert_eq!(reply.says("engagement.provider"), "upstream");

    let chat = one(spans, "chat m");
    assert_eq!((chat.kind, &chat.parent), (SpanKind::Client, &reply.id));
    assert_eq!(chat.events, ["first token"]);
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "m"),
        ("gen_ai.response.finish_reasons", "stop"),
        ("gen_ai.request.temperature", "0.5"),
        ("gen_ai.request.top_p", "0.25"),
        ("gen_ai.request.max_tokens", "77"),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(chat.says(name), value, "{name}");
    }
    for name in [
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "server.port",
    ] {
        assert!(
            chat.says(name).parse::<u64>().is_ok_and(|tokens| tokens > 0),
            "{name}"
        );
    }
    assert!(request.start <= reply.start && reply.start <= chat.start && chat.end <= reply.end);
}

async fn say_with_options(client: &Client) {
    let new = json!({ "description": "traced", "temperature": 0.5, "top_p": 0.25, "max_output_tokens": 77 });
    let opened = client.post_json("/conversations/", &new).await.expect(201);
    let conversation = opened["conversation_id"].as_str().expect("an id").to_owned();
    let message = client.message(&conversation, "user", "Hello there").await;
    client.finished_reply(&conversation, &message).await;
}

#[tokio::test]
async fn one_message_is_one_trace() {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let server = traced(&collector, &provider).start().await;

    say_with_options(&server.client()).await;

    let spans = trace(&collector).await;
    judge(&spans, "sqlite");
    let tree = below(&spans, "", 0);
    assert_eq!(tree[0], MESSAGE);
    let reply = tree
        .iter()
        .position(|line| line.trim() == REPLY)
        .expect("a reply");
    assert_eq!(
        tree[reply + 1..],
        ["    context", "    chat m", "    finish_reply"],
        "{tree:#?}"
    );
    let inside = &tree[1..reply];
    assert!(
        inside.iter().any(|line| line.starts_with("  append_")) && !inside.contains(&"  tell".to_owned()),
        "{tree:#?}"
    );
}

#[tokio::test]
async fn one_message_is_one_trace_across_nodes() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let on = |builder| {
        with_provider(builder, &provider)
            .env("OTLP_ENDPOINT", &collector.url())
            .on(database.url())
    };
    let node = on(Server::builder())
        .arg("serve")
        .arg("--no-replies")
        .start()
        .await;
    let _worker = on(Server::builder()).arg("worker").start().await;

    say_with_options(&node.client()).await;

    let spans = trace(&collector).await;
    judge(&spans, "postgresql");
    let instance = |name: &str| one(&spans, name).resource["service.instance.id"].clone();
    assert_ne!(instance(MESSAGE), instance(REPLY), "two processes took part");
    assert_eq!(instance("append_message"), instance(MESSAGE));
    assert_eq!(instance("chat m"), instance(REPLY));
}

#[tokio::test]
async fn a_clients_trace_goes_on_and_what_is_none_begins_another() {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let server = traced(&collector, &provider).start().await;
    let client = server.client();
    let conversation = client.conversation("traced").await;
    let path = format!("/conversations/{conversation}/messages");
    let (trace, span) = CLIENT;
    let good = format!("00-{trace}-{span}-01");
    let ask = async |headers: &[&str], id: &str| {
        let mut request = client.request(Method::GET, &path).header("x-request-id", id);
        for header in headers {
            request = request.header("traceparent", *header);
        }
        assert_eq!(request.send().await.expect("an answer").status(), 200);
        let named = |span: &Span| span.says("engagement.request.id") == id;
        collector.span(id, named).await
    };

    let continued = ask(&[&good], "continued").await;
    assert_eq!(
        (continued.trace.as_str(), continued.parent.as_str()),
        (trace, span)
    );

    let upper = good.to_uppercase();
    for (id, headers) in [
        ("none", vec![]),
        ("empty", vec![""]),
        ("upper", vec![upper.as_str()]),
        ("twice", vec![good.as_str(), good.as_str()]),
        (
            "short",
            vec!["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"],
        ),
    ] {
        let begun = ask(&headers, id).await;
        assert_ne!(begun.trace, trace, "{id}");
        assert_eq!(begun.parent, "", "{id}");
    }
}

/// With this ratio; what a client records or not is asked for with its header.
async fn recorded(ratio: &str, headers: &[Option<&str>]) -> Vec<Span> {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let builder = traced(&collector, &provider).env("TRACE_RATIO", ratio);
    let mut server = builder.start().await;
    let client = server.client();
    for header in headers {
        let conversation = client.conversation("traced").await;
        let path = format!("/conversations/{conversation}/messages/create");
        let mut request = client
            .request(Method::POST, &path)
            .json(&json!({ "role": "user", "text": "Hello" }));
        if let Some(header) = header {
            request = request.header("traceparent", *header);
        }
        let made = request.send().await.expect("an answer");
        assert_eq!(made.status(), 201);
        let made: serde_json::Value = made.json().await.expect("a message");
        client
            .finished_reply(&conversation, made["message_id"].as_str().expect("an id"))
            .await;
    }
    // With the last word everything is there that will ever be.
    server.terminate();
    assert_eq!(server.wait_exit(2 * SOON).await.code(), Some(0));
    collector.spans()
}

#[tokio::test]
async fn what_the_client_does_not_record_is_not_recorded_here_nor_is_the_reply_to_it() {
    let (trace, span) = CLIENT;
    let not_recorded = format!("00-{trace}-{span}-00");
    let spans = recorded("1", &[Some(&not_recorded)]).await;
    assert!(spans.iter().all(|span| span.trace != trace), "{spans:#?}");
    assert!(!spans.iter().any(is_message) && !spans.iter().any(|span| span.name == REPLY));

    let is_recorded = format!("00-{trace}-{span}-01");
    let control = recorded("1", &[Some(&is_recorded)]).await;
    assert!(
        control
            .iter()
            .any(|span| span.trace == trace && span.name == REPLY),
        "control"
    );
}

#[tokio::test]
async fn a_ratio_of_nothing_records_what_clients_record_and_nothing_else() {
    let (trace, span) = CLIENT;
    let is_recorded = format!("00-{trace}-{span}-01");
    let spans = recorded("0", &[None, Some(&is_recorded)]).await;
    assert!(!spans.is_empty());
    assert!(spans.iter().all(|span| span.trace == trace), "{spans:#?}");
}

#[tokio::test]
async fn a_ratio_of_one_half_records_some() {
    let requests = [None; 40];
    let spans = recorded("0.5", &requests).await;
    let messages: Vec<_> = spans.iter().filter(|span| is_message(span)).collect();
    // One of these by chance once in 2^39.
    assert!((1..40).contains(&messages.len()), "{}", messages.len());
    for message in messages {
        let replies = spans
            .iter()
            .filter(|span| span.trace == message.trace && span.name == REPLY);
        assert_eq!(replies.count(), 1, "what is recorded is recorded whole");
    }
}

#[tokio::test]
async fn a_streams_span_ends_with_the_stream() {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let server = traced(&collector, &provider).start().await;
    let conversation = say(&server.client(), "Hello").await;
    let path = format!("/conversations/{conversation}/events");
    let mut stream = EventStream::open(server.address(), &path, &[]).await;
    stream.until("reply.succeeded").await;

    let after = server.client().conversation("after it").await;
    let read = |span: &Span| span.name == "GET /conversations/{conversation_id}";
    server
        .client()
        .get(&format!("/conversations/{after}"))
        .await
        .expect(200);
    collector.span("a later request", read).await;
    let is_stream = |span: &Span| span.name == "GET /conversations/{conversation_id}/events";
    assert!(!collector.spans().iter().any(is_stream), "it goes on");

    drop(stream);
    let span = collector.span("the stream", is_stream).await;
    let later = collector.span("a later request", read).await;
    assert!(span.start < later.start && later.end < span.end);
    assert_eq!(span.says("http.response.status_code"), "200");
}

#[tokio::test]
async fn a_provider_that_fails_shows_and_so_does_each_try() {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let server = traced(&collector, &provider).start().await;

    say(&server.client(), "fault:status_500:1 please").await;

    let succeeded = |span: &Span| span.says("engagement.reply.outcome") == "succeeded";
    let last = collector.span("the second try", succeeded).await;
    let mut spans = collector.spans();
    spans.retain(|span| span.trace == last.trace);
    let request = one(&spans, MESSAGE);
    assert!(!request.failed, "the request has nothing to do with it");
    let mut tries: Vec<_> = spans.iter().filter(|span| span.name == REPLY).collect();
    tries.sort_by_key(|span| span.start);
    let story: Vec<_> = tries
        .iter()
        .map(|span| {
            assert_eq!(span.parent, request.id);
            (
                span.says("engagement.reply.attempt"),
                span.says("engagement.reply.outcome"),
            )
        })
        .collect();
    assert_eq!(story, [("1", "retry"), ("2", "succeeded")]);
    let chats: Vec<_> = tries
        .iter()
        .map(|reply| {
            let chat = spans
                .iter()
                .find(|span| span.parent == reply.id && span.name == "chat m");
            let chat = chat.expect("a question");
            (chat.failed, chat.says("error.type").to_owned())
        })
        .collect();
    assert_eq!(
        chats,
        [(true, "provider_failed".to_owned()), (false, String::new())]
    );
}

#[tokio::test]
async fn a_reply_that_is_asked_for_again_belongs_to_that_request() {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let server = traced(&collector, &provider).start().await;
    let client = server.client();
    let conversation = client.conversation("traced").await;
    let message = client.message(&conversation, "user", "Hello").await;
    client.finished_reply(&conversation, &message).await;

    let path = format!("/conversations/{conversation}/messages/{message}/reply/retry");
    assert!(client.post_json(&path, &json!({})).await.status < 300);
    client.finished_reply(&conversation, &message).await;

    let is_retry = |span: &Span| span.name.ends_with("/reply/retry");
    let retry = collector.span("the request", is_retry).await;
    let is_reply = |span: &Span| span.name == REPLY && span.parent == retry.id;
    let reply = collector.span("the reply", is_reply).await;
    assert_eq!(reply.trace, retry.trace);
}

#[tokio::test]
async fn only_what_somebody_asked_for_is_traced() {
    let (collector, provider) = (Collector::start().await, Upstream::start().await);
    let mut server = traced(&collector, &provider).start().await;
    let client = server.client();
    for probe in ["/livez", "/readyz"] {
        client.get(probe).await.expect(200);
    }
    client.get("/nothing/here").await.expect(404);
    say(&client, "Hello").await;
    server.terminate();
    server.wait_exit(2 * SOON).await;

    let spans = collector.spans();
    let mut roots: Vec<_> = spans
        .iter()
        .filter(|span| span.parent.is_empty())
        .map(|span| span.name.as_str())
        .collect();
    roots.sort_unstable();
    roots.dedup();
    roots.retain(|name| !name.ends_with("/reply"));
    assert_eq!(roots, ["GET", "POST /conversations/", MESSAGE]);
}
