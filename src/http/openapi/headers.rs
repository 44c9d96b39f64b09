//! Headers of answers, each described once.

use utoipa::openapi::{Header, ObjectBuilder, header::HeaderBuilder, schema::Type};

use super::{Needs, Route, schemas};

/// By their names.
pub(super) fn all() -> Vec<(&'static str, Header)> {
    vec![
        (
            "X-Request-Id",
            header(
                "The request's own name if it is a plain one, else a new one. It is in the service's log.",
                schemas::string().pattern(Some("^[A-Za-z0-9._-]{1,64}$")),
                "a7cc8c28-1",
            ),
        ),
        (
            "RateLimit",
            header(
                "What is left of each limit that holds for whoever asks: `r` units, and one more in `t` seconds.",
                schemas::string(),
                "\"requests\";r=49;t=1",
            ),
        ),
        (
            "RateLimit-Policy",
            header(
                "The limits that hold for whoever asks: `q` units in `w` seconds.",
                schemas::string(),
                "\"requests\";q=50;w=1",
            ),
        ),
        (
            "Retry-After",
            header(
                "In how many seconds to ask again.",
                ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)),
                1,
            ),
        ),
        (
            "Location",
            header(
                "The path of what was created, with the prefix that the request used.",
                schemas::string().pattern(Some("^/")),
                "/api/v1/conversations/550e8400-e29b-41d4-a716-446655440000",
            ),
        ),
        (
            "Link",
            header(
                "For a user message: the place to watch its reply.",
                schemas::string(),
                "</api/v1/conversations/550e8400-e29b-41d4-a716-446655440000/messages/0199c0de-0000-7000-8000-000000000001/reply>; rel=\"monitor\"",
            ),
        ),
        (
            "Idempotent-Replayed",
            header(
                "The request had been carried out before: this is the answer of then.",
                schemas::one_of(["true"]),
                "true",
            ),
        ),
        (
            "WWW-Authenticate",
            header("How to come with a key.", schemas::one_of(["ApiKey"]), "ApiKey"),
        ),
        (
            "Allow",
            header(
                "The methods that the path has.",
                schemas::string(),
                "GET, HEAD, OPTIONS",
            ),
        ),
        (
            "X-Accel-Buffering",
            header(
                "Tells proxies to pass on what comes as it comes.",
                schemas::one_of(["no"]),
                "no",
            ),
        ),
        (
            "ETag",
            header(
                "The name of this version, for `If-None-Match`.",
                schemas::string(),
                "\"9f86d081884c7d65\"",
            ),
        ),
    ]
}

fn header(description: &str, schema: ObjectBuilder, example: impl Into<serde_json::Value>) -> Header {
    HeaderBuilder::new()
        .description(Some(description))
        .schema(Some(schema))
        .example(Some(example.into()))
        .build()
}

/// Those that an answer can have whatever it is.
pub(super) fn of_answers(route: &Route, status: u16) -> Vec<&'static str> {
    let mut names = vec!["X-Request-Id"];
    if !route.described.is_probe {
        names.extend(["RateLimit", "RateLimit-Policy"]);
    }
    if route.method == "POST" && matches!(route.needs, Needs::Key(_)) {
        names.push("Idempotent-Replayed");
    }
    if status == 503 {
        names.push("Retry-After");
    }
    names
}
