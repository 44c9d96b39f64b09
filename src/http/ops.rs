//! Health: whether the process lives, and whether it should get requests.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use super::{Http, api, problem::Problem};

const LIVE: &str = "/livez";
const READY: &str = "/readyz";

/// Whether a path is a probe's, which is answered whoever asks how often.
pub(super) fn is_probe(path: &str) -> bool {
    [LIVE, READY].contains(&path)
}

pub(super) fn router(http: &Arc<Http>) -> Router {
    Router::new()
        .route(LIVE, api::resource(get(live), "GET, HEAD, OPTIONS"))
        .route(READY, api::resource(get(ready), "GET, HEAD, OPTIONS"))
        .with_state(Arc::clone(http))
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    checks: BTreeMap<&'static str, &'static str>,
}

async fn live() -> Response {
    answer(BTreeMap::from([("process", "ok")]))
}

async fn ready(State(http): State<Arc<Http>>) -> Response {
    let database = match http.service.get() {
        None => "starting",
        Some(service) => match service.check().await {
            Ok(()) => "ok",
            Err(_) => "unavailable",
        },
    };
    let process = if http.shutdown.has_begun() {
        "stopping"
    } else {
        "ok"
    };
    answer(BTreeMap::from([("database", database), ("process", process)]))
}

fn answer(checks: BTreeMap<&'static str, &'static str>) -> Response {
    let ok = checks.values().all(|check| *check == "ok");
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let health = Health {
        status: if ok { "ok" } else { "unavailable" },
        checks,
    };
    match api::json(status, &health) {
        Ok(mut response) if !ok => {
            response.headers_mut().insert(
                axum::http::header::RETRY_AFTER,
                axum::http::HeaderValue::from_static("1"),
            );
            response
        }
        Ok(response) => response,
        Err(problem) => Problem::into_response(problem),
    }
}
