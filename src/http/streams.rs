//! Streams: answers that last. How many there may be, and how one runs.
//!
//! A stream is the body of an answer and no task. It is asked for more when its client has read, and is dropped with its
//! connection, so nothing of it is left behind, and nothing is kept for those who are slow.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
    vec,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::{
    accept::{Attended, Connection},
    problem::Problem,
};
use crate::{
    config::HttpSettings,
    events::{Seen, Watcher},
    limits::network,
    model::{ConversationId, Event},
    shutdown::Shutdown,
    telemetry::metrics::{HttpMetrics, Open, Refused, StreamEnd},
};

/// What a stream is made of.
pub(super) const CONTENT_TYPE: &str = "text/event-stream";

/// How soon a client is to come back when its stream ends before its time.
const RETRY: &[u8] = b"retry: 2000\n\n";

/// What says that the stream is still there.
const HEARTBEAT: &[u8] = b":\n\n";

/// When to try again who got no place: a guess, since a place is free once somebody leaves.
const PATIENCE: Duration = Duration::from_secs(5);

/// On proxies that gather what comes before they pass it on.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// On an answer that is not over with its head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lasting;

/// The places for streams.
#[derive(Debug, Clone)]
pub(super) struct Streams(Arc<Places>);

#[derive(Debug)]
struct Places {
    most: usize,
    most_per_conversation: usize,
    /// As many as there are connections when it is 0.
    most_per_address: usize,
    taken: Mutex<Taken>,
    counts: HttpMetrics,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_conversation: HashMap<ConversationId, usize>,
    by_address: HashMap<IpAddr, usize>,
}

impl Streams {
    pub(super) fn new(settings: &HttpSettings, counts: HttpMetrics) -> Self {
        Self(Arc::new(Places {
            most: settings.max_streams,
            most_per_conversation: settings.max_streams_per_conversation,
            most_per_address: settings.max_streams_per_address,
            taken: Mutex::default(),
            counts,
        }))
    }

    /// Takes a place for as long as the stream lasts.
    pub(super) fn enter(
        &self,
        conversation: ConversationId,
        connection: Option<Connection>,
    ) -> Result<Place, Problem> {
        let address = match &connection {
            Some(connection) if self.0.most_per_address > 0 => Some(network(connection.client())),
            _ => None,
        };
        let mut taken = self.0.taken();
        if taken.all >= self.0.most {
            return Err(Problem::unavailable("There are too many streams.").counted_as(Refused::Streams));
        }
        let of = |count: Option<&usize>| count.copied().unwrap_or_default();
        if of(taken.by_conversation.get(&conversation)) >= self.0.most_per_conversation
            || address.is_some_and(|address| of(taken.by_address.get(&address)) >= self.0.most_per_address)
        {
            return Err(Problem::throttled_for(PATIENCE, Refused::StreamsOfOne));
        }
        taken.all += 1;
        *taken.by_conversation.entry(conversation).or_default() += 1;
        if let Some(address) = address {
            *taken.by_address.entry(address).or_default() += 1;
        }
        drop(taken);
        Ok(Place {
            streams: self.clone(),
            conversation,
            address,
            ended: StreamEnd::Client,
            _open: self.0.counts.streaming(),
            _attended: connection.map(Connection::attend),
        })
    }
}

impl Places {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place.
pub(super) struct Place {
    streams: Streams,
    conversation: ConversationId,
    address: Option<IpAddr>,
    /// Why it ends, as far as is known.
    ended: StreamEnd,
    _open: Open,
    _attended: Option<Attended>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.streams.0.taken();
        taken.all -= 1;
        leave(&mut taken.by_conversation, &self.conversation);
        if let Some(address) = &self.address {
            leave(&mut taken.by_address, address);
        }
        drop(taken);
        self.streams.0.counts.stream_ended(self.ended);
    }
}

fn leave<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The answer to somebody who watches. It ends with what is watched, or early when the service stops, so that its
/// client goes elsewhere, or when the key that opened it opens nothing any more.
pub(super) fn answer<E: fmt::Display>(
    watcher: Watcher,
    place: Place,
    shutdown: Shutdown,
    ended: CancellationToken,
    frame: impl Fn(Event) -> Result<Bytes, E> + Send + 'static,
) -> Response {
    let running = Running {
        watcher,
        waiting: Vec::new().into_iter(),
        shutdown,
        ended,
        place,
    };
    let events = stream::unfold(running, Running::next).map(move |next| match next {
        Next::Event(event) => frame(event).unwrap_or_else(|error| {
            tracing::error!(%error, "an event cannot be written");
            Bytes::new()
        }),
        Next::Heartbeat => Bytes::from_static(HEARTBEAT),
    });
    let first = stream::iter([Bytes::from_static(RETRY)]);
    let mut response = Response::new(Body::from_stream(first.chain(events).map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response.extensions_mut().insert(Lasting);
    response
}

struct Running {
    watcher: Watcher,
    /// Those that were read and not sent yet.
    waiting: vec::IntoIter<Event>,
    shutdown: Shutdown,
    /// When the key opens nothing any more that opened this.
    ended: CancellationToken,
    place: Place,
}

enum Next {
    Event(Event),
    Heartbeat,
}

impl Running {
    async fn next(mut self) -> Option<(Next, Self)> {
        self.place.ended = loop {
            if self.shutdown.has_begun() {
                break StreamEnd::Stopping;
            }
            if self.ended.is_cancelled() {
                break StreamEnd::Key;
            }
            if let Some(event) = self.waiting.next() {
                return Some((Next::Event(event), self));
            }
            // What follows can be a long wait.
            self.waiting = Vec::new().into_iter();
            let seen = tokio::select! {
                biased;
                () = self.shutdown.begun() => break StreamEnd::Stopping,
                () = self.ended.cancelled() => break StreamEnd::Key,
                seen = self.watcher.next() => seen,
            };
            match seen {
                Seen::Events(events) => self.waiting = events.into_iter(),
                Seen::Nothing => return Some((Next::Heartbeat, self)),
                Seen::End => break StreamEnd::Over,
            }
        };
        None
    }
}
