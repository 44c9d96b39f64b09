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
//! - Whatever changes a conversation's messages or replies appends its events in the same breath. Their numbers rise in
//!   the order in which they can be read: whoever has read up to a number has missed nothing in front of it.
//! - A write that comes with a [`Once`] is remembered in the same breath. When it was carried out before, it is not
//!   carried out, and fails with [`Error::Repeated`]; what fails is not remembered.
//! - Of the replies of one conversation that take turns, one at a time can be claimed; the others wait for it, in the
//!   order of their messages.

mod codec;
pub mod copy;
pub mod django;
mod error;
pub mod export;
pub mod import;
mod keys;
mod news;
mod once;
pub mod postgres;
mod schema;
pub mod sqlite;
mod timeline;
mod traced;
pub mod vitals;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

pub use error::Error;
pub use news::{News, Subscription};
pub use once::{Mark, Once, Remembered};
pub use schema::{LATEST, MigrationState};
pub use traced::Traced;

use crate::model::{
    ApiKey, Attempt, AuditEntry, ClaimedReply, Context, Conversation, ConversationChange, ConversationId,
    Event, Finished, KeyId, Lease, Message, MessageId, MessagePage, MessageQuery, NewConversation,
    NewMessage, NewReply, Outcome, Owner, Progress, Reply, ReplyOptions, Retried, Rotated, Successor, Swept,
    Timestamp, Told,
};

/// What a line of history counts besides its text, in bytes.
const LINE: usize = 16;

/// The time at which a reply is due that waits for its turn, in microseconds.
const NEVER: i64 = i64::MAX;

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

/// Events, as far as they were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Portion {
    /// In their order.
    pub events: Vec<Event>,
    /// Whether there were no others after them.
    pub is_all: bool,
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
    async fn create_conversation(
        &self,
        new: NewConversation,
        once: Option<Once<Conversation>>,
    ) -> Result<Conversation>;

    /// Whose a conversation is, which never changes; `None` when there is no such conversation.
    async fn owner(&self, id: ConversationId) -> Result<Option<Owner>>;

    /// Changes a conversation and moves its date; `None` when there is no such conversation.
    async fn change_conversation(
        &self,
        id: ConversationId,
        change: ConversationChange,
        now: Timestamp,
    ) -> Result<Option<Conversation>>;

    /// What a conversation wants of its replies; `None` when there is no such conversation.
    async fn options(&self, id: ConversationId) -> Result<Option<ReplyOptions>>;

    /// Reads a conversation.
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>>;

    /// Deletes a conversation with its messages and replies; whether there was one.
    async fn delete_conversation(&self, id: ConversationId) -> Result<bool>;

    /// Appends a message and moves the conversation's date. A user message is stored together with
    /// its reply, queued and due at once, or, if it takes turns, once it is its turn. `None` when there is no such
    /// conversation. When a reply that takes turns is unfinished, the new one's policy decides: [`Error::Busy`], or the
    /// unfinished ones are cancelled in the same breath as by [`ReplyStore::cancel_reply`], what they had written being
    /// kept under identifiers that the store makes of the new message's.
    async fn append_message(&self, new: NewMessage, once: Option<Once<Message>>) -> Result<Option<Message>>;

    /// Appends a user message whose reply may be claimed in the same breath: the claimant begins once message, reply
    /// and lease are stored, whether or not anybody still waits for this future. Without need for a claimant it is as
    /// [`ConversationStore::append_message`], and whoever is woken claims the reply.
    async fn append_and_claim(
        &self,
        new: NewMessage,
        claimant: Claimant,
        once: Option<Once<Message>>,
    ) -> Result<Option<Message>> {
        drop(claimant);
        self.append_message(new, once).await
    }

    /// Reads a message of this conversation.
    async fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>>;

    /// Deletes a message of this conversation and moves the conversation's date; whether there was
    /// one. A user message takes its reply with it, and all that was written of it; an assistant message leaves the
    /// reply that led to it, but not what was told of its text while it was written.
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

    /// Takes up to `limit` due replies, the longest due first, each under a new lease of this length, and counts the
    /// attempt. Of the lanes that are in `room` it takes no more than so many each, the longest due of them; those that
    /// it leaves may count for the limit, unless the lane has no room at all.
    async fn claim_replies(
        &self,
        limit: usize,
        room: Vec<(String, usize)>,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<ClaimedReply>>;

    /// What a reply is written from: the options, and what was said before its message, the newest whole turns (a user
    /// message, and what the assistant said to it) that have at most so many bytes together. A turn that is only partly
    /// in front of the message is not part of it, nor is an earlier answer to the message itself. `None` when the
    /// message is gone.
    async fn context(
        &self,
        conversation: ConversationId,
        message: MessageId,
        bytes: usize,
    ) -> Result<Option<Context>>;

    /// Stores what a worker has to tell, if it still has its lease.
    async fn tell(&self, lease: Lease, progress: Vec<Progress>, now: Timestamp) -> Result<Finished>;

    /// Makes leases last this much longer from now; answers those that were lost.
    async fn renew_leases(&self, leases: Vec<Lease>, now: Timestamp, lease: Duration) -> Result<Vec<Lease>>;

    /// Stores how work on a reply ended: the answer, the reply's state, the conversation's date and the events that say so
    /// together, or nothing at all when the lease was lost. `told` is how much of an answer's text was told since its last
    /// beginning. If there is an earlier answer, the new one takes its place, and the earlier one goes to its attempt.
    async fn finish_reply(
        &self,
        lease: Lease,
        outcome: Outcome,
        told: Told,
        now: Timestamp,
    ) -> Result<Finished>;

    /// Calls a reply off, whoever works on it. What was told of its text becomes an assistant message with this id, if
    /// that is more than white space and there is no earlier answer. A final reply stays as it is. Gives the reply;
    /// `None` when there is none.
    async fn cancel_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        partial: MessageId,
        now: Timestamp,
        once: Option<Once<Reply>>,
    ) -> Result<Option<Reply>>;

    /// Queues a final reply anew, and remembers what it had come to as an attempt. Its answer, if there is one, stays
    /// in its place until there is a new one. Lane, owner and trace are those of the new try; what its message wants of it
    /// stays as it is.
    async fn retry_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        asked: NewReply,
        now: Timestamp,
        once: Option<Once<Reply>>,
    ) -> Result<Retried>;

    /// The earlier tries at a reply, oldest first; `None` when there is no such reply.
    async fn attempts(
        &self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<Vec<Attempt>>>;

    /// What a message wants of its reply, where that is not what its conversation wants; `None` when there is no such
    /// reply.
    async fn reply_options(
        &self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<ReplyOptions>>;

    /// Puts replies whose lease has run out back into the queue, and fails those that have lost
    /// `most_lost` leases. Also pulls in retries that a step of the clock has put more than
    /// `longest_pause` away.
    async fn sweep_replies(&self, now: Timestamp, most_lost: u32, longest_pause: Duration) -> Result<Swept>;

    /// Treats every running reply as one whose lease has run out. Only for a process that knows to be
    /// the only one, before it claims anything.
    async fn reclaim_replies(&self, now: Timestamp, most_lost: u32) -> Result<Swept>;

    /// How long until the next queued reply is due, if there is one; zero when it is due already.
    /// Replies whose lane is one of the `full` ones do not count.
    async fn until_due(&self, full: Vec<String>, now: Timestamp) -> Result<Option<Duration>>;

    /// How many replies are unfinished, by who asked for them.
    async fn pending_replies(&self) -> Result<Vec<(Owner, u64)>>;

    /// Told whenever a reply may have become due. A hint: it may come in vain, and asking
    /// [`ReplyStore::until_due`] now and then must be enough.
    fn wakeups(&self) -> Arc<Notify>;

    /// Told when somebody else may have taken a lease from this process. A hint: renewing tells.
    fn call_offs(&self) -> Arc<Notify>;
}

/// What happened in conversations.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Reads events after this number, in their order: a portion of them, with at least one if there is any. With
    /// `reply` only those of the reply to this message, and its message's own. `None` when there is no such
    /// conversation.
    async fn events(
        &self,
        conversation: ConversationId,
        reply: Option<MessageId>,
        after: u64,
    ) -> Result<Option<Portion>>;

    /// The number of a conversation's last event; `None` when there is no such conversation.
    async fn last_event(&self, conversation: ConversationId) -> Result<Option<u64>>;

    /// Forgets the pieces in which some final replies were told that ended before this time; from then on their events
    /// tell the text in one piece. Gives how many replies that were, fewer than there are if it would take long.
    async fn prune_deltas(&self, before: Timestamp) -> Result<u32>;

    /// Tells who waits for something to happen.
    fn news(&self) -> &News;
}

/// What changed about keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyChanges {
    /// As they are now.
    pub keys: Vec<ApiKey>,
    /// The number of the last change.
    pub last: u64,
}

/// API keys: which there are, what happened around them, what they spent.
///
/// A key is never deleted, so that what it did can be told. Few change, and seldom.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a key and the entry that says so. [`Error::Conflict`] when its id is taken.
    async fn create_key(&self, key: ApiKey, entry: AuditEntry, once: Option<Once<ApiKey>>) -> Result<ApiKey>;

    /// Takes a key back. One that was taken back before stays as it is, without another entry; `None` when there is no
    /// such key.
    async fn revoke_key(&self, id: KeyId, now: Timestamp, entry: AuditEntry) -> Result<Option<ApiKey>>;

    /// Puts a key in the place of another that opens something: with its owner, its name, what it may do and how much.
    /// The other one expires when the overlap is over, unless it does so sooner.
    async fn rotate_key(
        &self,
        id: KeyId,
        successor: Successor,
        entry: AuditEntry,
        once: Option<Once<ApiKey>>,
    ) -> Result<Rotated>;

    /// Every key, the oldest first.
    async fn keys(&self) -> Result<Vec<ApiKey>>;

    /// The keys that changed after the change with this number: from 0 on, all.
    async fn keys_changed(&self, after: u64) -> Result<KeyChanges>;

    /// Remembers when keys were last used, unless something later is known.
    async fn touch_keys(&self, used: Vec<(KeyId, Timestamp)>) -> Result<()>;

    /// Adds entries of what happened, and forgets those from before this time.
    async fn note(&self, entries: Vec<AuditEntry>, forgotten: Timestamp) -> Result<()>;

    /// What happened, the newest first, at most so many.
    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>>;

    /// Adds to what owners spent on this day (since 1970-01-01, UTC), in tokens.
    async fn spend(&self, spent: Vec<(Owner, u64)>, day: i64) -> Result<()>;

    /// What owners spent on this day.
    async fn spent(&self, day: i64) -> Result<Vec<(Owner, u64)>>;
}

/// Requests that were carried out once.
#[async_trait]
pub trait OnceStore: Send + Sync {
    /// What is remembered of a request with this mark's id, unless it is from before `forgotten`.
    async fn remembered(&self, id: Uuid, forgotten: Timestamp) -> Result<Option<Remembered>>;

    /// Forgets some of the requests from before this time. Gives how many, fewer than there are if it would take long.
    async fn forget_requests(&self, before: Timestamp) -> Result<u32>;
}

/// Everything a store does.
#[async_trait]
pub trait Store: ConversationStore + ReplyStore + EventStore + KeyStore + OnceStore {
    /// Whether reads and writes can be expected to work, or why not. Cheap.
    async fn check(&self) -> Result<()>;

    /// Answers once the store can no longer be trusted (a commit met an I/O error), with the reason.
    /// The process is to end then: what is on disk is known only after reopening.
    async fn broken(&self) -> String;

    /// Finishes what was begun and closes the database.
    async fn close(&self);
}
