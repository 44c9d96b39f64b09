//! How the process is: whether it lives, whether it should get requests, and its metrics.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use utoipa::{ToSchema, openapi::ContentBuilder};

use super::{
    Http,
    accept::Connection,
    api,
    layer::{keys::judge, proxies::X_FORWARDED_FOR},
    openapi::{
        self, Described, Example, Needs, OPERATIONS,
        schemas::{HealthStatus, string},
    },
    problem::Problem,
};
use crate::{config::MetricsAccess, model::Scope, telemetry::metrics::Metric};

const LIVE: &str = "/livez";
const READY: &str = "/readyz";
const METRICS: &str = "/metrics";

/// All paths of this room.
pub(super) const PATHS: [&str; 3] = [LIVE, READY, METRICS];

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Whether a path is a probe's, which is answered whoever asks how often.
pub(super) fn is_probe(path: &str) -> bool {
    [LIVE, READY].contains(&path)
}

/// Beside the API.
pub(super) fn router(http: &Arc<Http>) -> Router {
    let router = match http.settings.metrics_access {
        MetricsAccess::Nobody => probes(),
        MetricsAccess::Near | MetricsAccess::Key => with_guarded_metrics(),
    };
    router.with_state(Arc::clone(http))
}

/// Beside the work on replies, where nobody knows any keys.
pub(super) fn workers_router(http: &Arc<Http>) -> Router {
    let router = match http.settings.metrics_access {
        MetricsAccess::Nobody | MetricsAccess::Key => probes(),
        MetricsAccess::Near => with_guarded_metrics(),
    };
    router.with_state(Arc::clone(http))
}

fn with_guarded_metrics() -> Router<Arc<Http>> {
    probes().route(METRICS, api::resource(get(guarded_metrics), METHODS))
}

/// For those who watch, on a listener of their own.
pub(super) fn watchers_router(http: &Arc<Http>) -> Router {
    probes()
        .route(METRICS, api::resource(get(metrics), METHODS))
        .with_state(Arc::clone(http))
}

/// What the probes and the metrics answer.
pub(super) fn operations() -> [openapi::Route; 3] {
    let probe = |id, summary, description: &str, ok: &str, bad: &str| {
        Described::new(id, OPERATIONS, summary)
            .saying(description)
            .probe()
            .answers::<Health>(200, "Yes.", Example::new(ok))
            .answers::<Health>(503, "No.", Example::new(bad))
    };
    let live = probe(
        "live",
        "Does the process work?",
        "Answered whatever else is going on, without a key, at the root only.",
        r#"{"status":"ok","checks":{"process":"ok"}}"#,
        r#"{"status":"unavailable","checks":{"process":"unavailable"}}"#,
    );
    let ready = probe(
        "ready",
        "Can the service do its work?",
        "Looks at the database too. A load balancer sends requests to where this is 200.",
        r#"{"status":"ok","checks":{"database":"ok","process":"ok"}}"#,
        r#"{"status":"unavailable","checks":{"database":"starting","process":"ok"}}"#,
    );
    [
        openapi::Route::public(LIVE, live),
        openapi::Route::public(READY, ready),
        openapi::Route {
            needs: Needs::KeyAtTimes,
            ..openapi::Route::public(METRICS, described_metrics())
        },
    ]
}

fn described_metrics() -> Described {
    const EXAMPLE: &str = "\
        # HELP engagement_http_requests_total Requests that were answered; a stream counts when it begins.\n\
        # TYPE engagement_http_requests_total counter\n\
        engagement_http_requests_total{method=\"GET\",route=\"/conversations/{conversation_id}\",status=\"200\"} 42\n";
    let page = ContentBuilder::new().schema(Some(string()));
    let page = page.example(Some(EXAMPLE.into())).build();
    Described::new("readMetrics", OPERATIONS, "Read the metrics")
        .saying(
            "For Prometheus. Without a key from the service's own machine only, and in production from nowhere: otherwise with a key that \
             has the scope `metrics:read`. Where metrics have an address of their own, or are switched off, there is nothing here.",
        )
        .answers_with(200, "The metrics.", "text/plain", page)
        .failing(404)
}

fn probes() -> Router<Arc<Http>> {
    Router::new()
        .route(LIVE, api::resource(get(live), METHODS))
        .route(READY, api::resource(get(ready), METHODS))
}

/// Tells the metrics to who may know them.
async fn guarded_metrics(State(http): State<Arc<Http>>, request: Request) -> Result<Response, Problem> {
    if http.settings.metrics_access == MetricsAccess::Key || !is_near(&request) {
        judge(&http, Scope::MetricsRead, &request)?;
    }
    metrics(State(http)).await
}

/// Whether it is this machine itself that asks. A proxy on it may ask for anybody, whether it was named to us or not.
fn is_near(request: &Request) -> bool {
    let connection = request.extensions().get::<Connection>();
    let passed_on = [&header::FORWARDED, &header::VIA, &X_FORWARDED_FOR];
    connection.is_some_and(Connection::is_from_here)
        && !passed_on
            .into_iter()
            .any(|name| request.headers().contains_key(name))
}

async fn metrics(State(http): State<Arc<Http>>) -> Result<Response, Problem> {
    let mut page = http.metrics.page().await.ok_or_else(Problem::not_found)?;
    page.tell(Metric::HttpBodies, &[], http.bodies.held());
    page.tell(Metric::HttpAnswers, &[], http.answers.held());
    page.tell(Metric::HttpWriteLimit, &[], http.overload.limit());
    let text = page
        .into_text()
        .map_err(|cause| Problem::internal(cause.to_string()))?;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// How the process is.
#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(value_type = HealthStatus, inline)]
    status: &'static str,
    /// Each thing that was looked at, and what was found.
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
            let wait = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, wait);
            response
        }
        Ok(response) => response,
        Err(problem) => Problem::into_response(problem),
    }
}
