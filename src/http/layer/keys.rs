//! Whether a request carries the key. Judged after route and method, before anything else is looked at.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::http::{Http, api::LARGEST_BODY, problem::Problem};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The keys that open the service, as digests: comparing those tells nothing of a key's length.
pub(in crate::http) struct Keys {
    digest: [u8; 32],
}

impl Keys {
    pub(in crate::http) fn new(key: &str) -> Self {
        Self {
            digest: Sha256::digest(key).into(),
        }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut given = headers.get_all(API_KEY).iter();
        let key = given
            .next()
            .ok_or_else(|| Problem::unauthorized("Authentication credentials were not provided."))?;
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        // Of two keys, neither can be trusted to be the one that was meant.
        let good = bool::from(digest.ct_eq(&self.digest)) && given.next().is_none();
        if good {
            Ok(())
        } else {
            Err(Problem::unauthorized("Invalid API key."))
        }
    }
}

/// Lets a request pass that carries the key and does not declare more than a body may hold.
pub(in crate::http) async fn require_key(
    State(http): State<Arc<Http>>,
    request: Request,
    next: Next,
) -> Response {
    match declared_size(request.headers()).and_then(|()| http.keys.admit(request.headers())) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn declared_size(headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > LARGEST_BODY as u64 => Err(Problem::body_too_large()),
        _ => Ok(()),
    }
}
