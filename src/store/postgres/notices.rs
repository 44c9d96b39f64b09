//! Telling every node what may concern it: that a reply may be due, that something happened in conversations, that work
//! on a reply may be in vain.
//!
//! Hints, and no more: they are never part of a transaction (the server commits those that carry one in single file), they
//! open nothing, and losing them costs a poll. This node hears of them at once, the others soon.

use std::{
    collections::HashSet,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    connection::{Connector, Session},
    link::{Ears, Heard, Link},
};
use crate::{
    model::ConversationId,
    shutdown::Shutdown,
    store::news::{News, key},
};

/// Notices that come within this time of each other travel together.
const AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// How often to look whether others can be heard, and, while they cannot, to tell everybody to look for themselves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A reply may be due.
const REPLIES: &str = "engagement_replies";

/// Something happened in these conversations: their keys, or [`ANYWHERE`].
const EVENTS: &str = "engagement_events";

/// A lease may have been taken from whoever holds it.
const CALLS: &str = "engagement_calls";

const ANYWHERE: &str = "*";

/// The hexadecimal digits of a key, and how many keys a notice can carry: the server takes 8,000 bytes.
const DIGITS: usize = 16;
const KEYS: usize = 400;

/// How many notices full of keys are said at once. Where more happened, it happened anywhere.
const FULL_NOTICES: usize = 10;

/// Wakes this node's workers and watchers at once, and those of other nodes soon.
#[derive(Clone)]
pub(super) struct Notices(Arc<Inner>);

#[derive(Default)]
struct Inner {
    here: Arc<Notify>,
    call_offs: Arc<Notify>,
    news: News,
    /// What the other nodes are still to be told.
    outbox: Mutex<Outbox>,
    asked: Notify,
}

#[derive(Default)]
struct Outbox {
    wakes: bool,
    calls_off: bool,
    keys: HashSet<u64>,
    is_anywhere: bool,
}

impl Notices {
    pub(super) fn start(connector: Connector, tasks: (&Shutdown, &Shutdown)) -> Self {
        let (links, workers) = tasks;
        let notices = Self(Arc::default());
        let hearing = notices.clone();
        let ears = Ears {
            log: false,
            heard: Some(Arc::new(move |heard| hearing.hear(&heard))),
        };
        // notices: whoever hears of this session has not missed anything that is said from now on
        let listen = format!("LISTEN {REPLIES}; LISTEN {EVENTS}; LISTEN {CALLS};");
        let link = Link::open(connector.and(&listen), ears, links);
        workers.spawn(say(link, notices.clone(), workers.clone()));
        notices
    }

    /// A reply may be due.
    pub(super) fn wake(&self) {
        self.0.here.notify_one();
        self.outbox().wakes = true;
        self.0.asked.notify_one();
    }

    /// Somebody may work on a reply in vain.
    pub(super) fn call_off(&self) {
        self.0.call_offs.notify_one();
        self.outbox().calls_off = true;
        self.0.asked.notify_one();
    }

    /// Something happened in these conversations.
    pub(super) fn tell(&self, conversations: &[ConversationId]) {
        if conversations.is_empty() {
            return;
        }
        for conversation in conversations {
            self.0.news.tell(*conversation);
        }
        let mut outbox = self.outbox();
        outbox.keys.extend(conversations.iter().copied().map(key));
        if outbox.keys.len() > KEYS * FULL_NOTICES {
            outbox.keys.clear();
            outbox.is_anywhere = true;
        }
        drop(outbox);
        self.0.asked.notify_one();
    }

    /// What this node's workers wait for.
    pub(super) fn here(&self) -> Arc<Notify> {
        Arc::clone(&self.0.here)
    }

    /// What those wait for who hold leases.
    pub(super) fn call_offs(&self) -> Arc<Notify> {
        Arc::clone(&self.0.call_offs)
    }

    /// What this node's watchers wait for.
    pub(super) fn news(&self) -> &News {
        &self.0.news
    }

    fn hear(&self, heard: &Heard<'_>) {
        match heard {
            Heard::Opened => {
                self.0.here.notify_one();
                self.0.call_offs.notify_one();
                self.0.news.tell_all();
            }
            Heard::Notice { channel, .. } if *channel == CALLS => self.0.call_offs.notify_one(),
            Heard::Notice { channel, payload } if *channel == EVENTS => match keys(payload) {
                Some(keys) => keys.into_iter().for_each(|key| self.0.news.tell_key(key)),
                None => self.0.news.tell_all(),
            },
            // A reply, or what a newer node may say.
            Heard::Notice { .. } => self.0.here.notify_one(),
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the others what there is to tell.
    async fn send(&self, session: &Session) {
        let outbox = std::mem::take(&mut *self.outbox());
        let (channels, payloads) = outbox.notices();
        let sent = if channels.is_empty() {
            // A session that listens only would not notice its own end.
            session.batch("").await
        } else {
            session
                .execute(
                    "-- notices
                     SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS notices (channel, payload)",
                    &[&channels, &payloads],
                )
                .await
                .map(|_| ())
        };
        if sent.is_err() {
            let mut unsent = self.outbox();
            unsent.wakes |= outbox.wakes;
            unsent.calls_off |= outbox.calls_off;
            unsent.is_anywhere |= outbox.is_anywhere || !outbox.keys.is_empty();
        }
    }
}

impl Outbox {
    /// The channels and payloads of all that there is to say.
    fn notices(&self) -> (Vec<&'static str>, Vec<String>) {
        let (mut channels, mut payloads) = (Vec::new(), Vec::new());
        let mut add = |channel, payload| {
            channels.push(channel);
            payloads.push(payload);
        };
        if self.wakes {
            add(REPLIES, String::new());
        }
        if self.calls_off {
            add(CALLS, String::new());
        }
        if self.is_anywhere {
            add(EVENTS, ANYWHERE.to_owned());
        } else {
            let keys: Vec<_> = self.keys.iter().copied().collect();
            for portion in keys.chunks(KEYS) {
                let mut payload = String::with_capacity(portion.len() * DIGITS);
                for key in portion {
                    // Writing into a string cannot fail.
                    let _ = write!(payload, "{key:016x}");
                }
                add(EVENTS, payload);
            }
        }
        (channels, payloads)
    }
}

/// The keys in a notice; `None` when it says anything else.
fn keys(payload: &str) -> Option<Vec<u64>> {
    let digits = payload.as_bytes().chunks(DIGITS);
    digits
        .map(|digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
        .collect()
}

async fn say(link: Link, notices: Notices, tasks: Shutdown) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_look = tokio::select! {
            () = tasks.begun() => break,
            () = notices.0.asked.notified() => false,
            _ = looks.tick() => true,
        };
        match link.up() {
            Some(session) => notices.send(&session).await,
            // Without a session nobody is told or heard, and everybody polls.
            None if is_look => notices.0.news.tell_all(),
            None => {}
        }
        sleep(AT_MOST_EVERY).await;
    }
    if let Some(session) = link.up() {
        notices.send(&session).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_can_be_heard() {
        let outbox = Outbox {
            keys: (0..1_000).map(|key| key * 0x0123_4567_89ab).collect(),
            wakes: true,
            ..Outbox::default()
        };
        let (channels, payloads) = outbox.notices();
        assert_eq!(channels, [REPLIES, EVENTS, EVENTS, EVENTS]);
        assert!(payloads.iter().all(|payload| payload.len() < 8_000));
        let heard: HashSet<u64> = payloads
            .iter()
            .flat_map(|payload| keys(payload).unwrap())
            .collect();
        assert_eq!(heard, outbox.keys);
        assert_eq!(keys(ANYWHERE), None);
    }
}
