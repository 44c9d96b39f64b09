//! Around everything: the request's name, panics, errors, common headers and the one log line.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use futures_util::FutureExt;

use crate::{
    clock::Stopwatch,
    http::{Http, problem::Problem},
};

/// What the lines of requests are filed under.
const TARGET: &str = "engagement::request";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// On every answer: it is data for a program, not a page, and nobody but the caller is to keep it.
const COMMON: [(HeaderName, HeaderValue); 7] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex"),
    ),
];

pub(in crate::http) async fn observe(
    State(http): State<Arc<Http>>,
    request: Request,
    next: Next,
) -> Response {
    let watch = Stopwatch::start();
    let (request_id, id_header) = name(&http, request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();

    let ran = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response =
        ran.unwrap_or_else(|_| axum::response::IntoResponse::into_response(Problem::internal("a panic")));

    let mut cause = None;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        cause = problem.cause().map(str::to_owned);
        response = with_headers_of(&response, problem.render(&request_id));
    }
    let headers = response.headers_mut();
    for (name, value) in COMMON {
        headers.insert(name, value);
    }
    headers.insert(REQUEST_ID, id_header);
    if http.shutdown.has_begun() {
        // The connection is about to be closed; the client is not to send another request on it.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    log(
        &method,
        route.as_ref(),
        response.status(),
        watch.elapsed(),
        &request_id,
        cause.as_deref(),
    );
    response
}

/// The client's name for the request if it is a plain one, else ours.
fn name(http: &Http, headers: &HeaderMap) -> (String, HeaderValue) {
    const LONGEST: usize = 64;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    if let Some(given) = headers.get(REQUEST_ID)
        && (1..=LONGEST).contains(&given.len())
        && given.as_bytes().iter().all(plain)
        && let Ok(id) = given.to_str()
    {
        return (id.to_owned(), given.clone());
    }
    let id = http.request_ids.next();
    let header = HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("unnamed"));
    (id, header)
}

/// Keeps what inner layers added to an error's answer.
fn with_headers_of(outer: &Response, mut rendered: Response) -> Response {
    for (name, value) in outer.headers() {
        if !rendered.headers().contains_key(name) && *name != header::CONTENT_LENGTH {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    rendered
}

/// One line: never the path, which holds ids, and never the query, which holds what people look for.
fn log(
    method: &Method,
    route: Option<&MatchedPath>,
    status: StatusCode,
    duration: Duration,
    request_id: &str,
    cause: Option<&str>,
) {
    // A method can be any token; only those with a meaning are shown.
    let method = if crate::http::api::is_known(method) {
        method.as_str()
    } else {
        "OTHER"
    };
    let route = route.map_or("(none)", MatchedPath::as_str);
    let status = status.as_u16();
    let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    match status {
        500 => {
            tracing::error!(target: TARGET, method, route, status, duration_us, request_id, cause, "request")
        }
        503 => {
            tracing::warn!(target: TARGET, method, route, status, duration_us, request_id, cause, "request")
        }
        _ => tracing::info!(target: TARGET, method, route, status, duration_us, request_id, "request"),
    }
}
