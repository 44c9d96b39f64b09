//! Streams: answers that last. How many there may be, and how one runs.
//!
//! A stream is the body of an answer and no task. It is asked for more when its client has read, and is dropped with its
//! connection, so nothing of it is left behind. For those who are slow little is held, and of long texts no more than there
//! is [`Room`] for: what is not held is read again.

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
    room::{Room, Share},
};
use crate::{
    config::HttpSettings,
    events::{Seen, Watcher},
    limits::network,
    model::{ConversationId, Event, Happening},
    shutdown::Shutdown,
    telemetry::metrics::{HttpMetrics, Open, Refused, StreamEnd},
};

/// What a stream is made of.
pub(super) const CONTENT_TYPE: &str = "text/event-stream";

/// How soon a client is to come back when its stream ends before its time.
const RETRY: &[u8] = b"retry: 2000\n\n";

/// What says that the stream is still there.
const HEARTBEAT: &[u8] = b":\n\n";

/// What a stream holds without asking for room, in bytes.
const LITTLE: usize = 16 * 1024;

/// What is sent at once of that for which there is no room: the smaller, the more often it is read.
const PIECE: usize = 64 * 1024;

/// What all streams hold together besides.
const MOST: usize = 64 * 1024 * 1024;

/// About what an event takes besides its text.
const EVENT: usize = 128;

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
    room: Room,
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
            room: Room::of(MOST),
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
pub(super) fn answer<E: fmt::Display + 'static>(
    watcher: Watcher,
    place: Place,
    shutdown: Shutdown,
    ended: CancellationToken,
    frame: impl Fn(Event) -> Result<Bytes, E> + Send + 'static,
) -> Response {
    let running = Running {
        watcher,
        waiting: Vec::new().into_iter(),
        share: None,
        begun: None,
        frame,
        shutdown,
        ended,
        place,
    };
    let first = stream::iter([Bytes::from_static(RETRY)]);
    let events = stream::unfold(running, Running::next);
    let mut response = Response::new(Body::from_stream(first.chain(events).map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response.extensions_mut().insert(Lasting);
    response
}

struct Running<F> {
    watcher: Watcher,
    /// Those that were read and not sent yet, and what they take of the room.
    waiting: vec::IntoIter<Event>,
    share: Option<Share>,
    begun: Option<Begun>,
    frame: F,
    shutdown: Shutdown,
    /// When the key opens nothing any more that opened this.
    ended: CancellationToken,
    place: Place,
}

/// A frame of which a beginning was sent, as there was no room for the whole. It is made anew for each piece.
struct Begun {
    number: u64,
    length: usize,
    sent: usize,
}

impl<E: fmt::Display, F: Fn(Event) -> Result<Bytes, E>> Running<F> {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        self.place.ended = loop {
            // What has begun is sent to its end.
            let is_between = self.begun.is_none();
            if is_between && self.shutdown.has_begun() {
                break StreamEnd::Stopping;
            }
            if is_between && self.ended.is_cancelled() {
                break StreamEnd::Key;
            }
            if let Some(event) = self.waiting.next() {
                match self.send(event) {
                    Some(bytes) => return Some((bytes, self)),
                    None => break StreamEnd::Client,
                }
            }
            // What follows can be a long wait.
            self.hold(Vec::new(), None);
            let seen = tokio::select! {
                biased;
                () = self.shutdown.begun(), if is_between => break StreamEnd::Stopping,
                () = self.ended.cancelled(), if is_between => break StreamEnd::Key,
                seen = self.watcher.next() => seen,
            };
            match seen {
                Seen::Events(events) => self.take(events),
                Seen::Nothing if is_between => return Some((Bytes::from_static(HEARTBEAT), self)),
                Seen::Nothing => {}
                Seen::End => break StreamEnd::Over,
            }
        };
        None
    }

    /// Takes what was read, or as much as there is room for. The rest is read again.
    fn take(&mut self, mut events: Vec<Event>) {
        let share = self.share(events.iter().map(size).sum());
        if share.is_none() {
            let mut bytes = 0;
            let few = events.iter().take_while(|event| {
                bytes += size(event);
                bytes <= LITTLE
            });
            let few = few.count().max(1);
            events.truncate(few);
            if let Some(last) = events.last() {
                self.watcher.go_back_to(last.number);
            }
        }
        self.hold(events, share);
    }

    /// The frame of an event, or as much as there is room for; `None` when what it tells of has changed since it was begun:
    /// the client comes back, and is told that.
    fn send(&mut self, event: Event) -> Option<Bytes> {
        let number = event.number;
        if self.waiting.len() == 0 {
            self.share = None;
        }
        let frame = (self.frame)(event).unwrap_or_else(|error| {
            tracing::error!(%error, "an event cannot be written");
            Bytes::new()
        });
        let length = frame.len();
        let sent = match self.begun.take() {
            None => 0,
            Some(begun) if (begun.number, begun.length) == (number, length) => begun.sent,
            Some(_) => return None,
        };
        if length <= LITTLE {
            return Some(frame);
        }
        if let Some(share) = self.share(length) {
            return Some(share.keep(frame.slice(sent..)));
        }
        let left = frame.get(sent..).unwrap_or_default();
        let piece = Bytes::copy_from_slice(left.get(..PIECE).unwrap_or(left));
        if piece.len() < left.len() {
            let sent = sent + piece.len();
            self.begun = Some(Begun { number, length, sent });
            self.hold(Vec::new(), None);
            self.watcher.go_back_to(number.saturating_sub(1));
        }
        Some(piece)
    }

    fn hold(&mut self, events: Vec<Event>, share: Option<Share>) {
        (self.waiting, self.share) = (events.into_iter(), share);
    }

    /// A share of the room, if there is any. What is little takes none.
    fn share(&self, bytes: usize) -> Option<Share> {
        let counted = if bytes <= LITTLE { 0 } else { bytes };
        self.place.streams.0.room.take(counted)
    }
}

/// About how many bytes an event takes while it is held.
fn size(event: &Event) -> usize {
    let text = match &event.what {
        Happening::MessageCreated { message, .. } => message.text.as_str().len(),
        Happening::ReplyDelta { text, .. } => text.len(),
        _ => 0,
    };
    EVENT + text
}
