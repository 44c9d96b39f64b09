//! Reading bodies, of which all requests together hold so many bytes and no more.
//!
//! A share is taken as bytes come, not for what a head declares: who declares much and sends little keeps nobody else out. What is
//! declared only tells early that there is no room for it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::{
    http::{Http, api::LARGEST_BODY, problem::Problem},
    telemetry::metrics::Refused,
};

/// A body of up to this size is not counted any more once it was read: as many of them as are worked on at once are little.
const SMALL: usize = 16 * 1024;

/// How many bytes of bodies are held.
pub(in crate::http) struct Bodies {
    most: usize,
    held: Arc<AtomicUsize>,
}

/// What one body holds of them.
struct Share {
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Bodies {
    pub(in crate::http) fn new(most: usize) -> Self {
        let held = Arc::default();
        Self { most, held }
    }

    /// How many bytes are held now.
    pub(in crate::http) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        let room = self.most.saturating_sub(self.held.load(Ordering::Relaxed));
        usize::try_from(bytes).is_ok_and(|bytes| bytes <= room)
    }

    fn share(&self) -> Share {
        let held = Arc::clone(&self.held);
        Share { bytes: 0, held }
    }

    /// Adds to a share, if there is room.
    fn grow(&self, share: &mut Share, bytes: usize) -> bool {
        share.bytes += bytes;
        self.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.most
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body that was read, and its share for as long as it is needed.
struct Held {
    body: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

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

async fn gather(bodies: &Bodies, mut body: Body) -> Result<Bytes, Problem> {
    let mut share = bodies.share();
    let mut first: Option<Bytes> = None;
    let mut joined: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        // The client went away or broke the protocol; hardly anybody reads this answer.
        let frame = frame.map_err(|_| Problem::bad_request("The request body is broken."))?;
        let Ok(data) = frame.into_data() else { continue };
        if share.bytes + data.len() > LARGEST_BODY {
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
    Ok(Bytes::from_owner(Held { body, _share: share }))
}

fn full() -> Problem {
    Problem::unavailable("There are too many request bodies.").counted_as(Refused::Bodies)
}
