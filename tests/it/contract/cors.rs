//! H9: pages of other origins.

use reqwest::Method;
use serde_json::json;

use super::{Database, Rows};
use crate::support::{Answer, Client};

const APP: &str = "https://app.example";

async fn ask(service: &Client, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = service.request(method, path);
    Answer::of(
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value)),
    )
    .await
}

/// H9: off as it comes
pub(super) async fn no_origin_is_allowed_unless_it_is_listed(on: Database) {
    let service = on.service().await;
    let path = format!("/conversations/{}", service.conversation("cors").await);
    let preflight = [("origin", APP), ("access-control-request-method", "POST")];
    for answer in [
        ask(&service, Method::GET, &path, &[("origin", APP)]).await,
        ask(&service, Method::OPTIONS, &path, &preflight).await,
    ] {
        let allowed = answer
            .headers
            .keys()
            .find(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(allowed, None);
    }
}

/// H9: by exact name
pub(super) async fn a_listed_origin_is_allowed_by_its_own_name(on: Database) {
    let listed = format!("{APP},http://localhost:5173");
    let Some(service) = on.service_with(&[("CORS_ORIGINS", &listed)]).await else {
        return;
    };
    let path = format!("/conversations/{}", service.conversation("cors").await);
    let mut rows = Rows::default();
    for (origin, allowed) in [
        (APP, APP),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://app.example", ""),
        ("https://app.example:8443", ""),
        ("https://app.example.evil", ""),
        ("https://x.app.example", ""),
        ("null", ""),
    ] {
        let answer = ask(&service, Method::GET, &path, &[("origin", origin)]).await;
        rows.equal(origin, answer.status, 200);
        rows.equal(origin, answer.header("access-control-allow-origin"), allowed);
        rows.equal(
            origin,
            answer.header("vary").to_ascii_lowercase().contains("origin"),
            true,
        );
    }
    let refused = service
        .anonymous()
        .request(Method::POST, "/conversations/")
        .header("origin", APP);
    let refused = Answer::of(refused.json(&json!({}))).await;
    rows.equal(
        "an error",
        (refused.status, refused.header("access-control-allow-origin")),
        (401, APP),
    );
}

/// H9: asking before writing
pub(super) async fn a_preflight_allows_the_methods_and_headers_for_ten_minutes(on: Database) {
    let Some(service) = on.service_with(&[("CORS_ORIGINS", APP)]).await else {
        return;
    };
    let preflight = |origin| {
        [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-api-key"),
        ]
    };
    let answer = ask(
        &service.anonymous(),
        Method::OPTIONS,
        "/conversations/",
        &preflight(APP),
    )
    .await;
    let mut rows = Rows::default();
    rows.equal("success", (200..300).contains(&answer.status), true);
    rows.equal("origin", answer.header("access-control-allow-origin"), APP);
    rows.equal("age", answer.header("access-control-max-age"), "600");
    let methods = answer.header("access-control-allow-methods").to_ascii_uppercase();
    for method in ["GET", "POST", "PATCH", "DELETE"] {
        rows.equal(method, methods.contains(method), true);
    }
    let headers = answer.header("access-control-allow-headers").to_ascii_lowercase();
    for header in [
        "x-api-key",
        "content-type",
        "authorization",
        "idempotency-key",
        "last-event-id",
    ] {
        rows.equal(header, headers.contains(header), true);
    }

    let stranger = ask(
        &service,
        Method::OPTIONS,
        "/conversations/",
        &preflight("https://evil.example"),
    )
    .await;
    rows.equal("a stranger", stranger.header("access-control-allow-origin"), "");
}

/// H9, L8: a page that is told to wait can know it
pub(super) async fn a_page_may_read_refusals_and_what_they_say(on: Database) {
    let settings = [
        ("CORS_ORIGINS", APP),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("ADDRESS_404S_PER_MIN", "1"),
    ];
    let Some(service) = on.service_with(&settings).await else {
        return;
    };
    let headers = [("origin", APP), ("x-forwarded-for", "203.0.113.7")];
    let mut rows = Rows::default();
    for status in [404, 429] {
        let answer = ask(&service, Method::GET, "/nowhere", &headers).await;
        rows.equal(status, answer.status, status);
        rows.equal(status, answer.header("access-control-allow-origin"), APP);
        let exposed = answer
            .header("access-control-expose-headers")
            .to_ascii_lowercase();
        for header in [
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "idempotent-replayed",
            "x-request-id",
        ] {
            let named = exposed.split(", ").any(|name| name == header);
            rows.equal(format!("{status} {header}"), named, true);
        }
        let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
        rows.equal(status, vary, ["Accept", "Origin"]);
    }
}
