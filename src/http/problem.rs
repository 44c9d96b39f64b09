//! What went wrong, in the envelope that every error of the service's contract has:
//! `{"status": "error", "code": …, "message": …, "details": {field: [text, …]}}`; or, for those who name it, as RFC 9457 has it.

mod form;

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
pub(super) use form::{Envelope, Form, Rfc9457};

use crate::{
    access,
    model::{ModelName, Scope},
    service,
    telemetry::metrics::Refused,
};

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
    /// What was full or used up, if that is all that is wrong.
    refused: Option<Refused>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let details = Details::from([(Cow::Borrowed(DETAIL), vec![detail.into()])]);
        Self {
            status,
            details,
            headers: Vec::new(),
            cause: None,
            refused: None,
        }
    }

    /// The same, with a header in its answer.
    pub(super) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
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
            refused: None,
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

    /// 403: the key is good, but not for this.
    pub(super) fn forbidden(scope: Scope) -> Self {
        let detail = format!("This key does not have the scope \"{}\".", scope.as_str());
        Self::new(StatusCode::FORBIDDEN, detail)
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
            refused: None,
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

    /// 409: the same is being done; once it is, it can be asked for again.
    pub(super) fn under_way(detail: &str) -> Self {
        Self::conflict(detail).with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 422: one field is right by itself and wrong here.
    pub(super) fn unprocessable(field: &'static str, text: &str) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            ..Self::invalid_field(field, text)
        }
    }

    /// Whether it is a 422.
    pub(super) fn is_unprocessable(&self) -> bool {
        self.status == StatusCode::UNPROCESSABLE_ENTITY
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

    /// 429: the client has as much as it may have for now, and perhaps not after this time.
    pub(super) fn throttled_for(wait: Duration, limit: Refused) -> Self {
        let seconds = whole_seconds(wait).max(1);
        let detail = format!("Request was throttled. Expected available in {seconds} seconds.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
            .with_header(header::RETRY_AFTER, seconds.into())
            .counted_as(limit)
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

    /// 503: as much is being worked on as there may be.
    pub(super) fn busy(what: Refused) -> Self {
        Self::unavailable("The service is busy.").counted_as(what)
    }

    /// The same, because this was full or used up.
    pub(super) fn counted_as(mut self, what: Refused) -> Self {
        self.refused = Some(what);
        self
    }

    /// What was full or used up.
    pub(super) fn refused(&self) -> Option<Refused> {
        self.refused
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

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether its answer has such a header.
    pub(super) fn has(&self, header: &str) -> bool {
        self.headers
            .iter()
            .any(|(name, _)| name.as_str().eq_ignore_ascii_case(header))
    }

    /// The body of its answer, and the content type.
    pub(super) fn written(self, request_id: &str, form: Form) -> (Vec<u8>, &'static str) {
        form.write(self.status, self.details, request_id)
    }

    /// The answer, headers and body.
    pub(super) fn render(mut self, request_id: &str, form: Form) -> Response {
        let (status, headers_of_problem) = (self.status, std::mem::take(&mut self.headers));
        let (body, kind) = self.written(request_id, form);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        for (name, value) in headers_of_problem {
            headers.append(name, value);
        }
        response
    }
}

/// Rounded up: who comes then comes late enough.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
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

impl From<access::Error> for Problem {
    fn from(error: access::Error) -> Self {
        match error {
            access::Error::NoSuchKey => Self::not_found(),
            access::Error::NotActive => Self::conflict("This key opens nothing any more."),
            access::Error::Repeated => service::Error::Repeated.into(),
            access::Error::Chance(_) => Self::internal(error.to_string()),
            access::Error::Store(cause) => service::Error::from(cause).into(),
        }
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
            service::Error::Repeated => {
                Self::under_way("A request with this Idempotency-Key was just carried out.")
            }
            service::Error::Backlogged => {
                Self::unavailable("Too many replies are unfinished.").counted_as(Refused::Backlog)
            }
            service::Error::TooManyReplies => {
                Self::throttled_for(Duration::from_secs(1), Refused::KeyReplies)
            }
            service::Error::Spent { until } => Self::throttled_for(until, Refused::KeyTokens),
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
