//! Which pages may call the API from a browser: none, unless the operator names their origins.
//!
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::http::Http;

/// What a request is to the browser's protocol.
pub(super) struct Cors {
    /// The page's origin, if it is one that was named.
    allowed: Option<HeaderValue>,
    preflight: bool,
}

impl Cors {
    /// `None` where no origin is named, so that there is nothing to say to browsers.
    pub(super) fn of(http: &Http, request: &Request) -> Option<Self> {
        let named = &http.settings.cors_origins;
        if named.is_empty() {
            return None;
        }
        let headers = request.headers();
        let origin = headers.get(header::ORIGIN);
        let allowed = origin.filter(|origin| named.iter().any(|named| named.as_bytes() == origin.as_bytes()));
        Some(Self {
            allowed: allowed.cloned(),
            preflight: request.method() == Method::OPTIONS
                && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
        })
    }

    /// The answer to a browser that asks before it asks; no route has a say in it.
    pub(super) fn preflight(&self) -> Option<Response> {
        self.preflight.then(|| StatusCode::NO_CONTENT.into_response())
    }

    /// Says in an answer, also in a refusal, which page may read it.
    pub(super) fn settle(self, headers: &mut HeaderMap) {
        // A cache must not give one origin's answer to another.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = self.allowed else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.preflight {
            const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE");
            const HEADERS: HeaderValue = HeaderValue::from_static(
                "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-API-Key, X-Request-Id",
            );
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        } else {
            const EXPOSED: HeaderValue = HeaderValue::from_static(
                "Idempotent-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id",
            );
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
