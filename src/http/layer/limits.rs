//! Whether somebody asks too often, judged by the head alone; and what an answer says of it.
//!
//! `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-11: which quotas hold, and for each what
//! is left (`r`) and in how many seconds there is one more (`t`).

use std::net::IpAddr;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    response::Response,
};

use crate::{
    access::Caller,
    http::{
        Http,
        accept::Connection,
        ops,
        problem::{Problem, whole_seconds},
    },
    limits::{Bucket, Standing},
    telemetry::metrics::Refused,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What was found out of somebody who asks, until there is an answer.
#[derive(Default)]
pub(super) struct Visit {
    /// The address that answers are counted for. There is none for probes and those who only watch, nor for this machine itself, on which there is
    /// either the operator or a proxy that says nothing of its clients.
    address: Option<IpAddr>,
    /// Where the quotas stand that hold for this request.
    standings: [Option<Standing>; 2],
}

/// Whether an address is heard at all. Judged before anything else is looked at.
pub(super) fn hear(http: &Http, request: &Request) -> Result<Visit, Problem> {
    let connection = request.extensions().get::<Connection>();
    let counted = connection.filter(|connection| !connection.is_from_here() && !connection.watches());
    let address = counted.map(Connection::client);
    let address = address.filter(|_| !ops::is_probe(request.uri().path()));
    if let Some(address) = address {
        let heard = http.limits.hear(address);
        heard.map_err(|standing| refused(http, &standing))?;
    }
    Ok(Visit {
        address,
        ..Visit::default()
    })
}

impl Visit {
    /// Counts the request for whose key it came with, or else for its address. Judged once it is known who asks.
    pub(super) fn judge(&mut self, http: &Http, request: &mut Request) -> Result<(), Problem> {
        let connection = request.extensions().get::<Connection>();
        if ops::is_probe(request.uri().path()) || connection.is_some_and(Connection::watches) {
            return Ok(());
        }
        let creates = is_message(request);
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let judged = if let Some(caller) = request.extensions_mut().get_mut::<Caller>() {
            // From here on they hold for whoever looks at them.
            caller.limits = caller.limits.or(http.settings.limits.keys);
            let requests = http.limits.request(caller.owner, &caller.limits);
            match requests {
                Ok(requests) if creates => http
                    .limits
                    .message(caller.owner, &caller.limits)
                    .map(|messages| [messages, requests]),
                requests => requests.map(|requests| [requests, None]),
            }
        } else {
            match self.address.filter(|_| reads) {
                Some(address) => http.limits.read(address).map(|reads| [reads, None]),
                None => Ok([None, None]),
            }
        };
        self.standings = judged.map_err(|standing| refused(http, &standing))?;
        Ok(())
    }

    /// Counts the answer, if it is of a kind that is counted, and tells in it what is left.
    pub(super) fn settle(self, http: &Http, response: &mut Response) {
        if let Some(address) = self.address {
            match response.status() {
                StatusCode::UNAUTHORIZED => http.limits.unauthorized(address),
                StatusCode::NOT_FOUND => http.limits.not_found(address),
                _ => {}
            }
        }
        for standing in self.standings.iter().flatten() {
            for (name, value) in said(standing) {
                response.headers_mut().append(name, value);
            }
        }
    }
}

/// Whether the request is to create a message.
fn is_message(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    *request.method() == Method::POST
        && route.is_some_and(|route| route.as_str().trim_end_matches('/').ends_with("/messages/create"))
}

/// 429, and what it is that was used up.
fn refused(http: &Http, standing: &Standing) -> Problem {
    if let Some(unsaid) = http.throttled.pass() {
        let limit = name(standing.bucket);
        tracing::warn!(event = "limit.reached", limit, unsaid, "somebody asks too often");
    }
    let problem = Problem::throttled_for(standing.left.more_in, which(standing.bucket));
    said(standing)
        .into_iter()
        .fold(problem, |problem, (name, value)| problem.with_header(name, value))
}

fn said(standing: &Standing) -> [(HeaderName, HeaderValue); 2] {
    let (name, quota, left) = (name(standing.bucket), standing.quota, standing.left);
    let policy = format!("\"{name}\";q={};w={}", quota.limit(), quota.window_s());
    let state = format!("\"{name}\";r={};t={}", left.units, whole_seconds(left.more_in));
    let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    [(RATE_LIMIT_POLICY, value(policy)), (RATE_LIMIT, value(state))]
}

/// As it is counted.
fn which(bucket: Bucket) -> Refused {
    match bucket {
        Bucket::Reads => Refused::Reads,
        Bucket::Unauthorized => Refused::Unauthorized,
        Bucket::NotFound => Refused::NotFound,
        Bucket::Requests => Refused::KeyRequests,
        Bucket::Messages => Refused::KeyMessages,
    }
}

fn name(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Reads => "reads",
        Bucket::Unauthorized => "unauthorized",
        Bucket::NotFound => "not-found",
        Bucket::Requests => "requests",
        Bucket::Messages => "messages",
    }
}
