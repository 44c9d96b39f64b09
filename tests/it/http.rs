//! The layers around the routes, with a route that misbehaves, and the table of routes.

use axum::{Router, routing::get};
use engagement::{
    config::{Config, Settings},
    http::{self, Access, Http, Listener},
    shutdown::Shutdown,
    telemetry::Telemetry,
};

use crate::support::{Answer, Client};

#[test]
fn every_route_says_what_it_takes() {
    let table = http::table();

    let listed: Vec<String> = table
        .iter()
        .map(|route| {
            let takes = match route.access {
                Access::Key(scope) => scope.as_str(),
                Access::Read => "-",
            };
            let prefix = if route.prefixes.contains(&"") {
                ""
            } else {
                "/api/v1"
            };
            format!("{} {prefix}{} {takes}", route.method, route.path)
        })
        .collect();
    assert_eq!(
        listed,
        [
            "POST /conversations conversations:write",
            "GET /conversations/{conversation_id} -",
            "PATCH /conversations/{conversation_id} conversations:write",
            "GET /conversations/{conversation_id}/settings read",
            "DELETE /conversations/{conversation_id}/delete delete",
            "POST /conversations/{conversation_id}/messages/create messages:write",
            "GET /conversations/{conversation_id}/messages -",
            "GET /conversations/{conversation_id}/messages/{message_id} -",
            "DELETE /conversations/{conversation_id}/messages/{message_id} delete",
            "GET /conversations/{conversation_id}/messages/{message_id}/reply -",
            "POST /conversations/{conversation_id}/messages/{message_id}/reply/cancel messages:write",
            "POST /conversations/{conversation_id}/messages/{message_id}/reply/retry messages:write",
            "GET /conversations/{conversation_id}/messages/{message_id}/reply/attempts -",
            "GET /conversations/{conversation_id}/events -",
            "POST /api/v1/keys keys:admin",
            "GET /api/v1/keys keys:admin",
            "GET /api/v1/keys/{key_id} keys:admin",
            "DELETE /api/v1/keys/{key_id} keys:admin",
            "POST /api/v1/keys/{key_id}/rotate keys:admin",
        ]
    );
    assert!(
        table
            .iter()
            .all(|route| route.method == "GET" || route.access != Access::Read)
    );
}

/// E1, E7 and promise 6: the envelope for a panic, which ends its own request only.
#[tokio::test]
async fn a_panic_ends_one_request_and_not_the_others() {
    let config = Config::new(&Settings::default()).unwrap();
    let shutdown = Shutdown::default();
    let http = Http::new(config.http.clone(), shutdown.clone(), Telemetry::default());
    let misbehaving = Router::new()
        .route(
            "/panics",
            get(async || if true { panic!("a canary") } else { "never" }),
        )
        .route("/works", get(async || "still here"));
    let router = http::layered(misbehaving, &http);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let client = Client::new(&format!("http://{}", listener.address()), None);
    shutdown.spawn(async move {
        http::serve(listener, router, &http).await.unwrap();
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
    let named = client
        .request(reqwest::Method::GET, "/panics")
        .header("accept", "application/problem+json");
    let problem = Answer::of(named).await;
    let expected = serde_json::json!({
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "An unexpected error occurred.",
        "errors": { "detail": ["An unexpected error occurred."] },
        "request_id": problem.header("x-request-id"),
    });
    assert_eq!(problem.json(), expected);
    assert_eq!(client.get("/works").await.status, 200);
    shutdown.begin();
}
