//! A reply: the work that turns a user message into an assistant message.

use std::time::Duration;

use super::{ConversationId, MessageId, MessageText, Timestamp};

/// Where a reply stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyState {
    /// Waiting to be worked on.
    Queued,
    /// Somebody holds its lease.
    Running,
    /// Answered, by this message unless that was deleted since.
    Succeeded(Option<MessageId>),
    /// Given up, for this reason.
    Failed(Failure),
    /// Called off.
    Cancelled,
}

/// The reply to one user message, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The user message that is replied to.
    pub message: MessageId,
    /// Where it stands.
    pub state: ReplyState,
    /// How often work on it was begun.
    pub attempts: u32,
    /// When it was asked for.
    pub created: Timestamp,
    /// When work on it first began.
    pub started: Option<Timestamp>,
    /// When it reached its final state.
    pub finished: Option<Timestamp>,
}

/// Why a reply failed: a code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable reason code, for instance `empty_reply`.
    pub code: String,
    /// One sentence that says nothing an outsider should not know.
    pub message: String,
}

impl Failure {
    /// A failure with its code and sentence.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}

/// The right to finish a reply. Each claim gives a new token, so an older holder can change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The user message whose reply this is.
    pub message: MessageId,
    /// The conversation of both.
    pub conversation: ConversationId,
    /// Rises by one with each claim.
    pub token: i64,
}

/// A reply that was claimed, with what a provider needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedReply {
    /// The right to finish it.
    pub lease: Lease,
    /// How often it was claimed, this time included.
    pub attempts: u32,
    /// How often a provider asked for another try.
    pub retries: u32,
    /// What the user said.
    pub prompt: MessageText,
}

/// How work on a reply ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With an answer, to be stored under this id.
    Answered {
        /// The assistant message's identifier.
        id: MessageId,
        /// What the assistant says.
        text: MessageText,
    },
    /// For good, without an answer.
    Failed(Failure),
    /// For now: to be tried again.
    Retry {
        /// Not before this has passed.
        after: Duration,
    },
    /// Unfinished, because the process stops: to be taken up again at once, by anybody.
    Released,
}

/// What became of an [`Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It was stored.
    Stored,
    /// The lease was lost, so nothing was changed.
    LeaseLost,
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Replies that went back into the queue.
    pub requeued: u32,
    /// Replies that were given up.
    pub failed: u32,
}
