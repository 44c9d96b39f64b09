//! What went wrong, in the envelope that every error of the service's contract has:
//! `{"status": "error", "code": …, "message": …, "details": {field: [text, …]}}`.

use std::{borrow::Cow, collections::BTreeMap};

use axum::{
    body::Body,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{model::ModelName, service};

/// Field by field, what is wrong with it.
pub(super) type Details = BTreeMap<Cow<'static, str>, Vec<String>>;

/// The field of what belongs to no field.
const DETAIL: &str = "detail";

/// An error on its way to the client. The `observe` layer turns it into the envelope.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    details: Details,
    headers: Vec<(header::HeaderName, HeaderValue)>,
    /// What the operator may know and the client may not.
    cause: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let details = Details::from([(Cow::Borrowed(DETAIL), vec![detail.into()])]);
        Self {
            status,
            details,
            headers: Vec::new(),
            cause: None,
        }
    }

    fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 400: these fields are wrong.
    pub(super) fn invalid(details: Details) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            details,
            headers: Vec::new(),
            cause: None,
        }
    }

    /// 400: one field is wrong.
    pub(super) fn invalid_field(field: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self::invalid(Details::from([(field.into(), vec![text.into()])]))
    }

    /// 400: the request as a whole is wrong.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400: the event that is named in this field did not happen.
    pub(super) fn no_such_event(field: &'static str) -> Self {
        Self::invalid_field(field, "There is no such event.")
    }

    /// 401: no key, or a wrong one.
    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"))
    }

    /// 404, the same for what never was, what is gone and what is no id.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found.")
    }

    /// 404: the list ends before the page.
    pub(super) fn no_such_page() -> Self {
        let details = Details::from([(Cow::Borrowed("page"), vec!["Invalid page.".to_owned()])]);
        Self {
            status: StatusCode::NOT_FOUND,
            details,
            headers: Vec::new(),
            cause: None,
        }
    }

    /// 405, with the methods that there are.
    pub(super) fn method_not_allowed(method: &Method, allow: HeaderValue) -> Self {
        let detail = format!("Method \"{}\" not allowed.", shortened(method.as_str()));
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail).with_header(header::ALLOW, allow)
    }

    /// 408: the body did not come.
    pub(super) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "The request body took too long.")
            .with_header(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// 409: it would have to wait for something that is under way.
    pub(super) fn conflict(detail: &str) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 413: the body is too large.
    pub(super) fn body_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Request body is larger than 2 MiB.",
        )
    }

    /// 414: the address is too long.
    pub(super) fn uri_too_long() -> Self {
        Self::new(StatusCode::URI_TOO_LONG, "Request target is longer than 8 KiB.")
    }

    /// 415: the body is no JSON.
    pub(super) fn unsupported_media_type(given: &str) -> Self {
        let detail = format!("Unsupported media type \"{}\" in request.", shortened(given));
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 429: the client has as much as it may have for now.
    pub(super) fn throttled() -> Self {
        /// A guess: a place is free once somebody leaves.
        const SECONDS: u64 = 5;
        let detail = format!("Request was throttled. Expected available in {SECONDS} seconds.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).with_header(header::RETRY_AFTER, SECONDS.into())
    }

    /// 500. The cause goes to the log and nowhere else.
    pub(super) fn internal(cause: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred.");
        Self {
            cause: Some(cause.into()),
            ..problem
        }
    }

    /// 503: what is unavailable.
    pub(super) fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The same, with a cause for the log.
    fn because(mut self, cause: String) -> Self {
        self.cause = Some(cause);
        self
    }

    /// What the log says about it.
    pub(super) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer, headers and envelope.
    pub(super) fn render(mut self, request_id: &str) -> Response {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            self.details
                .insert(Cow::Borrowed("request_id"), vec![request_id.to_owned()]);
        }
        let envelope = Envelope {
            status: "error",
            code: self.status.as_u16(),
            message: message(self.status),
            details: &self.details,
        };
        let mut response = match serde_json::to_vec(&envelope) {
            Ok(json) => Response::new(Body::from(json)),
            Err(_) => Response::new(Body::empty()),
        };
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().extend(self.headers);
        response
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    status: &'static str,
    code: u16,
    message: &'static str,
    details: &'a Details,
}

fn message(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "Validation or Client Error",
        StatusCode::UNAUTHORIZED => "Invalid or missing API key",
        StatusCode::NOT_FOUND => "Resource not found",
        StatusCode::INTERNAL_SERVER_ERROR => "Server error",
        other => other.canonical_reason().unwrap_or("Error"),
    }
}

/// Nobody offers a model of this name.
pub(super) fn no_such_model(name: &ModelName) -> String {
    format!("\"{}\" is not a model that is configured here.", name.as_str())
}

/// What a client sent, short enough to be sent back.
pub(super) fn shortened(text: &str) -> &str {
    const MOST: usize = 100;
    text.char_indices()
        .nth(MOST)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

/// Carries the problem to the `observe` layer.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<service::Error> for Problem {
    fn from(error: service::Error) -> Self {
        match error {
            service::Error::NotFound => Self::not_found(),
            service::Error::NoSuchPage => Self::no_such_page(),
            service::Error::NoSuchEvent => Self::no_such_event("after"),
            service::Error::UnknownModel(name) => Self::invalid_field("model", no_such_model(&name)),
            service::Error::Busy => Self::conflict("A reply of this conversation is unfinished."),
            service::Error::Unavailable(cause) => {
                Self::unavailable("The database is unavailable.").because(cause)
            }
            service::Error::Full => {
                Self::unavailable("The database has no room left.").because(error.to_string())
            }
            service::Error::Broken(cause) => Self::internal(cause),
        }
    }
}
