//! The request's name, the shape of its errors, the headers that every answer carries, and the one log line.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use http_body::{Frame, SizeHint};

use crate::{
    clock::Stopwatch,
    http::{
        Http,
        api::{REPLAYED, is_known},
        ops,
        problem::{Form, Problem},
        streams::Lasting,
    },
    model::TraceParent,
    telemetry::traces::Span,
};

/// What the lines of requests are filed under.
const TARGET: &str = "engagement::request";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The client's span (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// On every answer: it is data for a program, not a page, and nobody but the caller is to keep it. What an answer says of
/// these itself stays: the page at `/docs` is one, and has a policy of its own.
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

/// For two years. Not for the names below this one: who they belong to is not known here.
const BY_TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// What is remembered of a request until it is answered.
pub(super) struct Observed {
    watch: Stopwatch,
    request_id: String,
    id_header: HeaderValue,
    method: Method,
    route: Option<MatchedPath>,
    /// How the client would read an error.
    form: Form,
    /// What is traced of it, if anything is; ends with this.
    span: Option<Span>,
}

impl Observed {
    pub(super) fn begin(http: &Http, request: &Request) -> Self {
        let watch = Stopwatch::start();
        let (request_id, id_header) = name(http, request.headers());
        let method = request.method().clone();
        let route = request.extensions().get::<MatchedPath>().cloned();
        let span = trace(http, request, route.as_ref(), &request_id);
        Self {
            watch,
            request_id,
            id_header,
            method,
            route,
            form: Form::wanted(request.headers()),
            span,
        }
    }

    /// In which the request is worked on.
    pub(super) fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// Shapes the error, if it is one, completes the headers and writes the log line.
    pub(super) fn finish(self, http: &Http, mut response: Response) -> Response {
        let mut cause = None;
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            cause = problem.cause().map(str::to_owned);
            if let Some(what) = problem.refused() {
                http.counts.refused(what);
            }
            response = with_headers_of(&response, problem.render(&self.request_id, self.form));
        }
        self.count(http, &response);
        let id_header = self.id_header.clone();
        if response.extensions_mut().remove::<Lasting>().is_some() {
            let status = response.status();
            response = response.map(|body| {
                Body::new(Logged {
                    body,
                    observed: self,
                    status,
                })
            });
        } else {
            self.log(response.status(), cause.as_deref());
        }
        let headers = response.headers_mut();
        headers.reserve(COMMON.len() + 3);
        for (name, value) in COMMON {
            headers.entry(name).or_insert(value);
        }
        headers.insert(REQUEST_ID, id_header);
        if http.settings.hsts {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, BY_TLS_ONLY);
        }
        if http.shutdown.has_begun() {
            // The connection is about to be closed; the client is not to send another request on it.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Counts what was answered, for the metrics.
    fn count(&self, http: &Http, response: &Response) {
        if !http.counts.are_on() {
            return;
        }
        let route = self.route.as_ref().map(MatchedPath::as_str);
        let (method, status) = (self.method.as_str(), response.status().as_u16());
        http.counts.answered(method, route, status, self.watch.elapsed());
        // Only what changes something is ever answered again, so reads do not pay for the look.
        if !self.method.is_safe() && response.headers().contains_key(REPLAYED) {
            http.counts.replayed();
        }
    }

    /// One line: never the path, which holds ids, and never the query, which holds what people look for.
    fn log(&self, status: StatusCode, cause: Option<&str>) {
        // A method can be any token; only those with a meaning are shown.
        let method = if is_known(&self.method) {
            self.method.as_str()
        } else {
            "OTHER"
        };
        let route = self.route.as_ref().map_or("(none)", MatchedPath::as_str);
        let status = status.as_u16();
        if let Some(span) = &self.span {
            span.answered(status);
        }
        let duration_us = u64::try_from(self.watch.elapsed().as_micros()).unwrap_or(u64::MAX);
        let request_id = self.request_id.as_str();
        if status == 500 {
            tracing::error!(target: TARGET, method, route, status, duration_us, request_id, cause, "request");
        } else if status == 503 {
            tracing::warn!(target: TARGET, method, route, status, duration_us, request_id, cause, "request");
        } else {
            tracing::info!(target: TARGET, method, route, status, duration_us, request_id, "request");
        }
    }
}

/// The body of an answer that lasts. Its line is written when it is over.
struct Logged {
    body: Body,
    observed: Observed,
    status: StatusCode,
}

impl HttpBody for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.observed.log(self.status, None);
    }
}

/// Begins the request's span, below the client's if it names one. Who only watches the process asks all the time, and is
/// not traced.
fn trace(http: &Http, request: &Request, route: Option<&MatchedPath>, request_id: &str) -> Option<Span> {
    if !http.traces.is_on() || ops::PATHS.contains(&request.uri().path()) {
        return None;
    }
    let method = request.method();
    let method = is_known(method).then(|| method.as_str());
    let mut named = request.headers().get_all(TRACEPARENT).iter();
    let client = match (named.next(), named.next()) {
        (Some(parent), None) => parent.to_str().ok().and_then(TraceParent::parse),
        _ => None,
    };
    http.traces
        .request(method, route.map(MatchedPath::as_str), client, request_id)
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

/// Keeps what was added around an error's answer: what the error says itself comes first, and only lists have more than that.
fn with_headers_of(outer: &Response, mut rendered: Response) -> Response {
    let own: Vec<HeaderName> = rendered.headers().keys().cloned().collect();
    for (name, value) in outer.headers() {
        let is_list = matches!(*name, header::VARY);
        if (is_list || !own.contains(name)) && *name != header::CONTENT_LENGTH {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    rendered
}
