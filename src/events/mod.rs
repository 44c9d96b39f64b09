//! Watching a conversation, or one of its replies: everything that happened since some point, and then what happens.
//!
//! Whoever watches reads from the store, at the speed at which it can: what comes live and what comes again is read the
//! same way, so nothing is skipped, doubled or kept in memory for the slow. The store's news only says when to look.
//! What is watched ends with the conversation, and a reply with its last event; a watcher that leaves changes nothing.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    clock::Stopwatch,
    model::{ConversationId, Event, Happening, MessageId},
    store::{self, Portion, Store, Subscription},
    telemetry::ids::Logged,
};

/// How long nothing may be heard by whoever waits, so that nobody on the way takes the connection for dead.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// How soon to look again while the store is away.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// What a watcher gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// This happened, in this order.
    Events(Vec<Event>),
    /// Nothing, for a while.
    Nothing,
    /// Nothing comes any more.
    End,
}

/// Somebody who watches.
pub struct Watcher {
    store: Arc<dyn Store>,
    conversation: ConversationId,
    reply: Option<MessageId>,
    /// The number of the last event that was seen.
    after: u64,
    news: Subscription,
    /// What happened since the last look, if that saw everything there was.
    heard: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    is_over: bool,
}

/// What one look into the store gave.
struct Looked {
    seen: Seen,
    /// Whether there was nothing else to see.
    is_all: bool,
}

impl Watcher {
    /// Watches what happens in a conversation after the event with this number; with `reply`, only what concerns the
    /// reply to this message, until it is final.
    pub fn new(
        store: Arc<dyn Store>,
        conversation: ConversationId,
        reply: Option<MessageId>,
        after: u64,
    ) -> Self {
        Self {
            news: store.news().subscribe(conversation),
            store,
            conversation,
            reply,
            after,
            heard: None,
            is_over: false,
        }
    }

    /// Watches somebody of whom nothing comes any more.
    #[must_use]
    pub fn over(mut self) -> Self {
        self.is_over = true;
        self
    }

    /// Whether nothing comes any more.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Goes back to the event with this number: what comes after it comes again.
    pub fn go_back_to(&mut self, number: u64) {
        self.after = number;
        self.heard = None;
        self.is_over = false;
    }

    /// Waits for what comes next. Dropping the future misses nothing.
    pub async fn next(&mut self) -> Seen {
        let watch = Stopwatch::start();
        while !self.is_over {
            if let Some(heard) = self.heard.take() {
                let left = HEARTBEAT.saturating_sub(watch.elapsed());
                tokio::select! {
                    () = heard => {}
                    // Looks all the same before it waits again: news are a hint.
                    () = sleep(left) => return Seen::Nothing,
                }
            }
            // Before the look: what happens during it is not missed.
            let happened = Box::pin(self.news.happened());
            match self.look().await {
                Ok(looked) => {
                    if looked.is_all {
                        self.heard = Some(happened);
                    }
                    match looked.seen {
                        Seen::Nothing => {}
                        seen => return seen,
                    }
                }
                Err(store::Error::Unavailable(_)) if watch.elapsed() < HEARTBEAT => {
                    sleep(AFTER_FAILURE).await;
                }
                Err(store::Error::Unavailable(_)) => return Seen::Nothing,
                Err(error) => {
                    tracing::error!(%error, conversation = %Logged(self.conversation), "reading events failed");
                    return Seen::End;
                }
            }
        }
        Seen::End
    }

    async fn look(&mut self) -> store::Result<Looked> {
        let mut read = self.read().await?;
        if matches!(&read, Some(read) if read.events.is_empty()) && self.is_final().await? {
            // Read again: its last events came before it was found to be final.
            read = self.read().await?;
            self.is_over = matches!(&read, Some(read) if read.events.is_empty());
        }
        let Portion { mut events, is_all } = match read {
            None => {
                self.is_over = true;
                let gone = Event {
                    number: self.after + 1,
                    at: crate::model::Timestamp::from_micros(0),
                    what: Happening::ConversationDeleted,
                };
                Portion {
                    events: vec![gone],
                    is_all: true,
                }
            }
            Some(portion) => portion,
        };
        // What comes after the end is a later try, for those who ask for it.
        if let Some(end) = events.iter().position(|event| self.is_end(&event.what)) {
            events.truncate(end + 1);
            self.is_over = true;
        }
        let seen = match events.last() {
            None if self.is_over => Seen::End,
            None => Seen::Nothing,
            Some(last) => {
                self.after = last.number;
                Seen::Events(events)
            }
        };
        Ok(Looked { seen, is_all })
    }

    async fn read(&self) -> store::Result<Option<Portion>> {
        self.store.events(self.conversation, self.reply, self.after).await
    }

    /// Whether what is watched is a reply of which nothing more comes.
    async fn is_final(&self) -> store::Result<bool> {
        let Some(message) = self.reply else {
            return Ok(false);
        };
        let reply = self.store.reply(self.conversation, message).await?;
        Ok(reply.is_none_or(|reply| reply.state.is_final()))
    }

    fn is_end(&self, what: &Happening) -> bool {
        match what {
            Happening::MessageDeleted(message) => self.reply == Some(*message),
            what => self.reply.is_some() && what.reply() == self.reply && what.ends_reply(),
        }
    }
}
