//! What a request costs inside the process: routing, layers, store and JSON, without sockets.
//!
//! `cargo bench --bench http`.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Request, Response, header},
};
use criterion::{Criterion, criterion_group, criterion_main};
use engagement::{
    access::{Caller, Keyring},
    config::{Config, SEED_KEY, ServiceSettings, Settings},
    http::{self, Http},
    model::{Description, MessageText, Owner, ReplyOptions, Role},
    provider::routes::Providers,
    reply::Parts,
    service::Service,
    shutdown::Shutdown,
    store::sqlite::{Options, SqliteStore},
    telemetry::{Telemetry, metrics::Metrics},
};
use tower_service::Service as _;

fn requests(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&Options::new(directory.path().join("bench.db"))).unwrap();
    let store = Arc::new(store);
    let parts = Parts::over(store.clone(), Providers::rules());
    let (clock, ids) = (parts.clock.clone(), parts.ids.clone());
    let service = Service::new(parts, ServiceSettings::default());
    let id = runtime.block_on(async {
        let description = Description::parse("A conversation").unwrap();
        let id = service
            .create_conversation(None, description, ReplyOptions::default(), Owner::OPERATOR, None)
            .await
            .unwrap()
            .id;
        for _ in 0..30 {
            let text = MessageText::parse("Shall I take a coat with me or not? Tell me please.").unwrap();
            service
                .create_message(
                    id,
                    Role::Assistant,
                    text,
                    ReplyOptions::default(),
                    &Caller::operator(),
                    None,
                )
                .await
                .unwrap();
        }
        id
    });
    let config = Config::new(&Settings::default()).unwrap();
    let keyring = Keyring::open(store, &config.access, clock, ids);
    let telemetry = Telemetry {
        metrics: Metrics::on("sqlite", &http::templates()).unwrap(),
        ..Telemetry::default()
    };
    let http = Http::new(config.http, Shutdown::default(), telemetry);
    http.let_in(runtime.block_on(keyring).unwrap());
    http.open(service);
    let router = http::router(&http);

    for (name, method, path, body) in [
        ("GET a conversation", "GET", format!("/conversations/{id}"), ""),
        (
            "GET a page of 10",
            "GET",
            format!("/conversations/{id}/messages"),
            "",
        ),
        ("GET an unknown path", "GET", "/nowhere".to_owned(), ""),
        (
            "POST a message, durable",
            "POST",
            format!("/conversations/{id}/messages/create"),
            r#"{"role": "assistant", "text": "Take a coat."}"#,
        ),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| answer(router.clone(), method, &path, body));
        });
    }
}

async fn answer(mut router: Router, method: &str, path: &str, body: &'static str) -> Response<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-api-key", SEED_KEY)
        .body(Body::from(body))
        .unwrap();
    router.call(request).await.unwrap()
}

criterion_group!(benches, requests);
criterion_main!(benches);
