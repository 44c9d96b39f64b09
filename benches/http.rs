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
    clock::Clock,
    config::{Config, SEED_KEY, Settings},
    http::{self, Http},
    ids::IdSource,
    model::{Description, MessageText, ReplyOptions, Role},
    provider::routes::Providers,
    reply::Intake,
    service::Service,
    shutdown::Shutdown,
    store::sqlite::{Options, SqliteStore},
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
    let service = Service::new(
        Arc::new(store),
        Clock::system(),
        IdSource::random(),
        Intake::default(),
        Arc::new(Providers::rules()),
    );
    let id = runtime.block_on(async {
        let description = Description::parse("A conversation").unwrap();
        let id = service
            .create_conversation(None, description, ReplyOptions::default())
            .await
            .unwrap()
            .id;
        for _ in 0..30 {
            let text = MessageText::parse("Shall I take a coat with me or not? Tell me please.").unwrap();
            service
                .create_message(id, Role::Assistant, text, ReplyOptions::default())
                .await
                .unwrap();
        }
        id
    });
    let config = Config::new(&Settings::default()).unwrap();
    let http = Http::new(config.http, &config.access.key, Shutdown::default());
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
