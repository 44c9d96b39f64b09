//! Reading bodies, of which all requests together hold so many bytes and no more; and long answers, of which all that
//! wait for their clients do.
//!
//! A share is taken as bytes come, not for what a head declares: who declares much and sends little keeps nobody else out. What is
//! declared only tells early that there is no room for it.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::{
    http::{Http, api::LARGEST_BODY, problem::Problem, room::Room},
    telemetry::metrics::Refused,
};

/// A body of up to this size is not counted any more once it was read: as many of them as are worked on at once are little.
/// An answer of up to this size is not counted at all.
const SMALL: usize = 16 * 1024;

/// Reads the body of a write whole, unless nobody could do anything with it.
pub(in crate::http) async fn read(http: &Http, request: Request) -> Result<Bytes, Problem> {
    if http.in_flight.available_permits() == 0 {
        return Err(Problem::busy(Refused::InFlight));
    }
    if http.overload.is_full() {
        return Err(Problem::busy(Refused::Writes));
    }
    let body = request.into_body();
    if !http.bodies.has_room_for(body.size_hint().lower()) {
        return Err(full());
    }
    match timeout(http.settings.body_timeout, gather(&http.bodies, body)).await {
        Ok(body) => body,
        Err(_) => Err(Problem::body_too_slow()),
    }
}

/// Makes room for an answer until its client has taken it, or gone: who asks for many long ones and reads none would fill
/// the memory.
pub(in crate::http) fn hold(http: &Http, answer: Vec<u8>) -> Result<Body, Problem> {
    let answer = Bytes::from(answer);
    if answer.len() <= SMALL {
        return Ok(Body::from(answer));
    }
    match http.answers.take(answer.len()) {
        Some(share) => Ok(Body::from(share.keep(answer))),
        None => {
            let problem = Problem::unavailable("There are too many long answers that nobody has read yet.");
            Err(problem.counted_as(Refused::Answers))
        }
    }
}

async fn gather(bodies: &Room, mut body: Body) -> Result<Bytes, Problem> {
    let mut share = bodies.take(0).ok_or_else(full)?;
    let mut first: Option<Bytes> = None;
    let mut joined: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        // The client went away or broke the protocol; hardly anybody reads this answer.
        let frame = frame.map_err(|_| Problem::bad_request("The request body is broken."))?;
        let Ok(data) = frame.into_data() else { continue };
        if share.bytes() + data.len() > LARGEST_BODY {
            return Err(Problem::body_too_large());
        }
        if !bodies.grow(&mut share, data.len()) {
            return Err(full());
        }
        // Nearly every body is one frame, which is passed on as it is.
        match (&mut first, joined.is_empty()) {
            (None, true) => first = Some(data),
            _ => {
                if let Some(first) = first.take() {
                    joined.extend_from_slice(&first);
                }
                joined.extend_from_slice(&data);
            }
        }
    }
    let body = first.unwrap_or_else(|| joined.into());
    if body.len() <= SMALL {
        return Ok(body);
    }
    Ok(share.keep(body))
}

fn full() -> Problem {
    Problem::unavailable("There are too many request bodies.").counted_as(Refused::Bodies)
}
