//! What can go wrong, in both forms in which it is told. The examples are what the service writes.

use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode};
use utoipa::openapi::{Content, ContentBuilder, Ref, Response, ResponseBuilder};

use super::{Example, JSON, Needs, Route, schemas};
use crate::{
    http::problem::{Details, Form, Problem},
    model::Scope,
    telemetry::metrics::Refused,
};

const REQUEST_ID: &str = "a7cc8c28-1";

/// The names of statuses among the components, and when it comes to them.
const STATUSES: [(u16, &str, &str); 15] = [
    (
        400,
        "BadRequest",
        "The body, a parameter, a header or the host is wrong. All fields that are wrong are named at once.",
    ),
    (401, "Unauthorized", "There is no key, or it opens nothing."),
    (
        403,
        "Forbidden",
        "The key is good, but does not have the scope that this takes.",
    ),
    (
        404,
        "NotFound",
        "There is no such thing: what never was, what is gone, what another key owns and what is no id look the same.",
    ),
    (
        405,
        "MethodNotAllowed",
        "The path has no such method; those that it has are in `Allow`.",
    ),
    (408, "RequestTimeout", "The body did not come in time."),
    (
        409,
        "Conflict",
        "It cannot be done as things stand: a reply of the conversation is unfinished, the key opens nothing any more, the same \
         request (by its `Idempotency-Key`) is just being carried out, or it was with another API key and showed that one a key.",
    ),
    (
        413,
        "ContentTooLarge",
        "The body is larger than 2 MiB, or its head says so.",
    ),
    (
        414,
        "UriTooLong",
        "Path and query are longer than 8 KiB. May come without a body.",
    ),
    (
        415,
        "UnsupportedMediaType",
        "The request does not say that its body is JSON in UTF-8.",
    ),
    (
        422,
        "UnprocessableContent",
        "The `Idempotency-Key` was used for another request.",
    ),
    (
        429,
        "TooManyRequests",
        "Whoever asks has had as much as they may have for now.",
    ),
    (
        431,
        "RequestHeaderFieldsTooLarge",
        "There are more than 64 headers, or the head has more than 16 KiB. Comes without a body.",
    ),
    (
        500,
        "InternalServerError",
        "Something went wrong that is no fault of the request. The request id leads to the cause in the service's log.",
    ),
    (
        503,
        "ServiceUnavailable",
        "The service is starting, busy or without its database. Whether a change was made is unknown.",
    ),
];

/// A status' name among the components.
pub(super) fn name(status: u16) -> Option<&'static str> {
    let found = STATUSES.iter().find(|(known, ..)| *known == status);
    found.map(|(_, name, _)| *name)
}

/// Every status, by its name.
pub(super) fn responses() -> impl Iterator<Item = (&'static str, Response)> {
    STATUSES
        .iter()
        .map(|(status, name, when)| (*name, described(when, example(*status))))
}

/// Which errors a route can answer.
pub(super) fn of(route: &Route) -> Vec<u16> {
    let mut statuses = vec![400, 414, 431, 500, 503];
    if route.needs != Needs::Nothing {
        statuses.extend([401, 403, 413]);
    }
    if !route.described.is_probe {
        statuses.push(429);
    }
    if route.parameters().next().is_some() {
        statuses.push(404);
    }
    if route.described.body.is_some() {
        statuses.extend([408, 415]);
    }
    if route.method == "POST" {
        statuses.extend([409, 422]);
    }
    statuses.extend(&route.described.errors);
    statuses.retain(|status| !route.described.answers.contains_key(status));
    statuses
}

/// What the service says in such a case; nothing where the HTTP library answers by itself.
fn example(status: u16) -> Option<Problem> {
    let problem = match status {
        400 => Problem::invalid(Details::from([
            (
                "description".into(),
                vec!["This field may not be blank.".to_owned()],
            ),
            (
                "title".into(),
                vec!["Ensure this field has no more than 200 characters.".to_owned()],
            ),
        ])),
        401 => Problem::unauthorized("Authentication credentials were not provided."),
        403 => Problem::forbidden(Scope::Delete),
        404 => Problem::not_found(),
        405 => Problem::method_not_allowed(&Method::PUT, HeaderValue::from_static("GET, HEAD, OPTIONS")),
        408 => Problem::body_too_slow(),
        409 => Problem::under_way("A request with this Idempotency-Key is being carried out."),
        413 => Problem::body_too_large(),
        414 => Problem::uri_too_long(),
        415 => Problem::unsupported_media_type("text/plain"),
        422 => Problem::unprocessable("Idempotency-Key", "This key was used for another request."),
        429 => Problem::throttled_for(Duration::from_secs(5), Refused::KeyRequests),
        500 => Problem::internal("not told"),
        503 => Problem::busy(Refused::InFlight),
        _ => return None,
    };
    debug_assert_eq!(problem.status(), StatusCode::from_u16(status).unwrap_or_default());
    Some(problem)
}

fn described(when: &str, example: Option<Problem>) -> Response {
    let mut response = ResponseBuilder::new().description(when);
    let mut names = vec!["X-Request-Id", "RateLimit", "RateLimit-Policy"];
    if let Some(problem) = example {
        names.extend(
            ["WWW-Authenticate", "Retry-After", "Allow"]
                .iter()
                .filter(|name| problem.has(name)),
        );
        let (envelope, _) = problem.clone().written(REQUEST_ID, Form::Envelope);
        let (rfc9457, kind) = problem.written(REQUEST_ID, Form::Rfc9457);
        response = response
            .content(JSON, content("Error", &envelope))
            .content(kind, content("Problem", &rfc9457));
    }
    for name in names {
        response = response.header_ref(name, Ref::new(format!("#/components/headers/{name}")));
    }
    response.build()
}

fn content(schema: &str, example: &[u8]) -> Content {
    let content = ContentBuilder::new().schema(Some(schemas::named(schema)));
    let example = Example::new(String::from_utf8_lossy(example));
    content.example(Some(example.value())).build()
}
