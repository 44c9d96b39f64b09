//! O6, O7: the document that describes the service, and its page.

use reqwest::Method;
use serde_json::Value;

use super::{Database, Rows, Service};
use crate::support::Answer;

const DOCUMENTS: [&str; 4] = ["/openapi.json", "/openapi.json/", "/api/schema/", "/api/schema"];

/// What is needed for the page, as a browser finds it there.
fn files_of(page: &str) -> Vec<&str> {
    let links = page
        .split("=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    links
        .filter(|link| link.contains('/') && !link.contains("svg+"))
        .collect()
}

async fn asked_with(service: &Service, path: &str, name: &str, value: &str) -> Answer {
    Answer::of(service.request(Method::GET, path).header(name, value)).await
}

/// O6: the same document in each of its places, for everybody
pub(super) async fn the_document_describes_the_service_to_everybody(on: Database) {
    let service = on.service().await;
    let anyone = service.anonymous();
    let first = anyone.get(DOCUMENTS[0]).await;
    assert_eq!(first.expect(200)["openapi"], "3.1.0");
    let mut rows = Rows::default();
    for path in DOCUMENTS {
        let answer = anyone.get(path).await;
        rows.equal(path, answer.status, 200);
        rows.equal(path, answer.header("content-type"), "application/json");
        rows.equal(path, answer.body == first.body, true);
        let head = anyone.ask(Method::HEAD, path).await;
        rows.equal(
            path,
            (head.status, head.header("content-length")),
            (200, answer.header("content-length")),
        );
        let options = anyone.ask(Method::OPTIONS, path).await;
        rows.equal(
            path,
            (options.status, options.header("allow")),
            (204, "GET, HEAD, OPTIONS"),
        );
        rows.equal(path, service.ask(Method::POST, path).await.status, 405);
    }
    rows.equal(
        "under the prefix",
        anyone.get("/api/v1/openapi.json").await.status,
        404,
    );
}

/// O6: also where reads are closed
pub(super) async fn the_document_is_open_where_reads_are_closed(on: Database) {
    let Some(service) = on.service_with(&[("ENGAGEMENT_READS", "key")]).await else {
        return;
    };
    for path in ["/openapi.json", "/docs"] {
        assert_eq!(service.anonymous().get(path).await.status, 200, "{path}");
    }
}

/// O6: whoever has it is told so
pub(super) async fn whoever_has_the_document_is_told_so(on: Database) {
    let service = on.service().await;
    let mut rows = Rows::default();
    for path in [
        "/openapi.json",
        "/api/schema/",
        "/docs",
        "/docs/swagger-ui-bundle.js",
    ] {
        let first = service.get(path).await;
        let etag = first.header("etag").to_owned();
        rows.equal(path, first.header("cache-control"), "no-cache");
        for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}")] {
            let again = asked_with(&service, path, "if-none-match", &known).await;
            rows.equal(
                format!("{path} {known}"),
                (again.status, again.body.len()),
                (304, 0),
            );
            rows.equal(format!("{path} {known}"), again.header("etag"), &etag);
        }
        let other = asked_with(&service, path, "if-none-match", "\"other\"").await;
        rows.equal(path, (other.status, other.body == first.body), (200, true));
    }
}

/// O7, H1: nothing from elsewhere, and nothing that its policy does not let in
pub(super) async fn the_page_needs_nothing_from_elsewhere(on: Database) {
    let service = on.service().await;
    let anyone = service.anonymous();
    let mut rows = Rows::default();
    for path in ["/docs", "/docs/"] {
        let page = anyone.get(path).await;
        rows.equal(path, page.status, 200);
        rows.equal(path, page.header("content-type"), "text/html; charset=utf-8");
        let policy = page.header("content-security-policy").to_owned();
        rows.equal(
            path,
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "),
            true,
        );
        rows.equal(path, policy.contains("unsafe") || policy.contains("http"), false);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            rows.equal(format!("{path} {name}"), page.header(name), value);
        }
        let text = page.text();
        rows.equal(
            path,
            text.contains("<script>") || text.contains("<style") || text.contains("://"),
            false,
        );
        let files = files_of(&text);
        rows.equal(path, files.len(), 6);
        for file in files {
            rows.equal(file, file.starts_with("/docs/") || file == "/openapi.json", true);
            rows.equal(file, anyone.get(file).await.status, 200);
        }
    }
    rows.equal("of no name", anyone.get("/docs/nothing.js").await.status, 404);
    let plain = anyone.get("/openapi.json").await;
    rows.equal(
        "elsewhere",
        plain.header("content-security-policy"),
        "default-src 'none'; frame-ancestors 'none'",
    );
}

/// O6: the document says where it is itself
pub(super) async fn the_document_names_its_own_places(on: Database) {
    let service = on.service().await;
    let document: Value = service.get("/openapi.json").await.expect(200);
    for path in ["/openapi.json", "/api/schema/", "/docs", "/livez", "/readyz"] {
        assert_eq!(document["paths"][path]["servers"][0]["url"], "/", "{path}");
    }
}
