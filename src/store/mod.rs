//! What the service remembers, in words.
//!
//! Each method is one complete business fact, atomic inside: it has happened wholly when its future
//! answers `Ok`, durably so, and not at all when it answers an error other than
//! [`Error::Unavailable`], after which it may have happened. A caller may drop the future at any time; what was asked
//! for happens all the same or not at all. Lookups answer `Option`. No SQL and no driver's type passes this door.
//!
//! Rules every adapter keeps, and the conformance suite in `tests/it/store` proves:
//!
//! - The messages of a conversation have an order that the database assigns; later appends come later.
//! - No date of a message lies before that of the message in front of it, whatever the clock does.
//! - A user message and its queued reply are stored together, and never one without the other.
//! - A reply is finished by the holder of its current lease, or not at all.
//! - What a deletion acknowledged is gone, and nothing that was under way brings it back.

pub mod copy;
mod error;
pub mod postgres;
mod schema;
pub mod sqlite;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;

pub use error::Error;
pub use schema::{LATEST, MigrationState};

use crate::model::{
    ClaimedReply, Conversation, ConversationId, Finished, Lease, Message, MessageId, MessagePage,
    MessageQuery, NewConversation, NewMessage, Outcome, Reply, Swept, Timestamp,
};

/// What store methods answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What came of asking for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageAnswer {
    /// The page.
    Page(MessagePage),
    /// The list ends before it.
    NoSuchPage,
    /// There is no such conversation.
    NoConversation,
}

/// Somebody who is free to work on the reply to a message that is about to be appended.
pub struct Claimant {
    lease: Duration,
    begin: Box<dyn FnOnce(ClaimedReply) + Send + Sync>,
}

impl Claimant {
    /// Somebody who takes a lease of this length and, once it is stored, begins. Must not block.
    pub fn new(lease: Duration, begin: impl FnOnce(ClaimedReply) + Send + Sync + 'static) -> Self {
        Self {
            lease,
            begin: Box::new(begin),
        }
    }

    /// How long the lease is to last.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Hands over the reply, whose lease is stored. Whoever is dropped instead was not needed.
    pub fn begin(self, claimed: ClaimedReply) {
        (self.begin)(claimed);
    }
}

/// Conversations and their messages.
#[async_trait]
pub trait ConversationStore: Send + Sync {
    /// Creates a conversation. [`Error::Conflict`] when the id is taken.
    async fn create_conversation(&self, new: NewConversation) -> Result<Conversation>;

    /// Reads a conversation.
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>>;

    /// Deletes a conversation with its messages and replies; whether there was one.
    async fn delete_conversation(&self, id: ConversationId) -> Result<bool>;

    /// Appends a message and moves the conversation's date. A user message is stored together with
    /// its reply, queued and due at once. `None` when there is no such conversation.
    async fn append_message(&self, new: NewMessage) -> Result<Option<Message>>;

    /// Appends a user message whose reply may be claimed in the same breath: the claimant begins once message, reply
    /// and lease are stored, whether or not anybody still waits for this future. Without need for a claimant it is as
    /// [`ConversationStore::append_message`], and whoever is woken claims the reply.
    async fn append_and_claim(&self, new: NewMessage, claimant: Claimant) -> Result<Option<Message>> {
        drop(claimant);
        self.append_message(new).await
    }

    /// Reads a message of this conversation.
    async fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>>;

    /// Deletes a message of this conversation and moves the conversation's date; whether there was
    /// one. A user message takes its reply with it; an assistant message leaves the reply that led to it.
    async fn delete_message(
        &self,
        conversation: ConversationId,
        id: MessageId,
        now: Timestamp,
    ) -> Result<bool>;

    /// Reads a page of messages, oldest first, and the count of the whole list, in one snapshot.
    async fn messages(&self, query: MessageQuery) -> Result<PageAnswer>;
}

/// Replies: the queue and its leases.
///
/// Times come from the caller's clock; a database that many nodes share uses its own instead.
#[async_trait]
pub trait ReplyStore: Send + Sync {
    /// Reads the reply to a user message of this conversation.
    async fn reply(&self, conversation: ConversationId, message: MessageId) -> Result<Option<Reply>>;

    /// Takes up to `limit` due replies, the longest due first, each under a new lease of this
    /// length, and counts the attempt.
    async fn claim_replies(&self, limit: usize, now: Timestamp, lease: Duration)
    -> Result<Vec<ClaimedReply>>;

    /// Makes leases last this much longer from now; answers those that were lost.
    async fn renew_leases(&self, leases: Vec<Lease>, now: Timestamp, lease: Duration) -> Result<Vec<Lease>>;

    /// Stores how work on a reply ended: the answer, the reply's state and the conversation's date
    /// together, or nothing at all when the lease was lost.
    async fn finish_reply(&self, lease: Lease, outcome: Outcome, now: Timestamp) -> Result<Finished>;

    /// Puts replies whose lease has run out back into the queue, and fails those that have lost
    /// `most_lost` leases. Also pulls in retries that a step of the clock has put more than
    /// `longest_pause` away.
    async fn sweep_replies(&self, now: Timestamp, most_lost: u32, longest_pause: Duration) -> Result<Swept>;

    /// Treats every running reply as one whose lease has run out. Only for a process that knows to be
    /// the only one, before it claims anything.
    async fn reclaim_replies(&self, now: Timestamp, most_lost: u32) -> Result<Swept>;

    /// How long until the next queued reply is due, if there is one; zero when it is due already.
    async fn until_due(&self, now: Timestamp) -> Result<Option<Duration>>;

    /// Told whenever a reply may have become due. A hint: it may come in vain, and asking
    /// [`ReplyStore::until_due`] now and then must be enough.
    fn wakeups(&self) -> Arc<Notify>;
}

/// Everything a store does.
#[async_trait]
pub trait Store: ConversationStore + ReplyStore {
    /// Whether reads and writes can be expected to work, or why not. Cheap.
    async fn check(&self) -> Result<()>;

    /// Answers once the store can no longer be trusted (a commit met an I/O error), with the reason.
    /// The process is to end then: what is on disk is known only after reopening.
    async fn broken(&self) -> String;

    /// Finishes what was begun and closes the database.
    async fn close(&self);
}
