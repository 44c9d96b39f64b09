//! The layers around the routes, with a route that misbehaves, and the table of routes.

use axum::{Router, routing::get};
use engagement::{
    config::{Config, Settings},
    http::{self, Access, Http, Listener},
    shutdown::Shutdown,
};

use crate::support::Client;

#[test]
fn every_route_says_what_it_takes() {
    let table = http::table();

    let listed: Vec<String> = table
        .iter()
        .map(|route| format!("{} {} {:?}", route.method, route.path, route.access))
        .collect();
    assert_eq!(
        listed,
        [
            "POST /conversations Key",
            "GET /conversations/{conversation_id} Read",
            "PATCH /conversations/{conversation_id} Key",
            "GET /conversations/{conversation_id}/settings Key",
            "DELETE /conversations/{conversation_id}/delete Key",
            "POST /conversations/{conversation_id}/messages/create Key",
            "GET /conversations/{conversation_id}/messages Read",
            "GET /conversations/{conversation_id}/messages/{message_id} Read",
            "DELETE /conversations/{conversation_id}/messages/{message_id} Key",
            "GET /conversations/{conversation_id}/messages/{message_id}/reply Read",
            "POST /conversations/{conversation_id}/messages/{message_id}/reply/cancel Key",
            "POST /conversations/{conversation_id}/messages/{message_id}/reply/retry Key",
            "GET /conversations/{conversation_id}/messages/{message_id}/reply/attempts Read",
            "GET /conversations/{conversation_id}/events Read",
        ]
    );
    assert!(
        table
            .iter()
            .all(|route| route.method == "GET" || route.access == Access::Key)
    );
}

/// E1, E7 and promise 6: the envelope for a panic, which ends its own request only.
#[tokio::test]
async fn a_panic_ends_one_request_and_not_the_others() {
    let config = Config::new(&Settings::default()).unwrap();
    let shutdown = Shutdown::default();
    let http = Http::new(config.http.clone(), &config.access.key, shutdown.clone());
    let misbehaving = Router::new()
        .route(
            "/panics",
            get(async || if true { panic!("a canary") } else { "never" }),
        )
        .route("/works", get(async || "still here"));
    let router = http::layered(misbehaving, &http);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let client = Client::new(&format!("http://{}", listener.address()), None);
    let of_server = shutdown.clone();
    shutdown.spawn(async move {
        http::serve(listener, router, &config.http, &of_server)
            .await
            .unwrap();
    });

    for _ in 0..3 {
        let answer = client.get("/panics").await;

        assert_eq!(answer.status, 500);
        let id = answer.header("x-request-id").to_owned();
        let envelope = serde_json::json!({
            "status": "error",
            "code": 500,
            "message": "Server error",
            "details": { "detail": ["An unexpected error occurred."], "request_id": [id] },
        });
        assert_eq!(answer.json(), envelope, "and nothing of the panic's message");
    }
    assert_eq!(client.get("/works").await.status, 200);
    shutdown.begin();
}
