//! What happened in a conversation, in the order in which it became a fact.

use super::{Failure, FinishReason, Message, MessageId, Timestamp};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place among the events of its conversation: rises, from 1, with gaps.
    pub number: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: Happening,
}

/// What can happen. `reply` is always the user message that is replied to.
///
/// The text of a reply is that of its [`Happening::ReplyDelta`]s since its last [`Happening::ReplyStarted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A message was appended, or an answer put in the place of an earlier one.
    MessageCreated {
        /// The message.
        message: Message,
        /// The user message that it answers.
        reply: Option<MessageId>,
        /// The answer whose place it took.
        replaces: Option<MessageId>,
    },
    /// A message is gone.
    MessageDeleted(MessageId),
    /// A reply was asked for.
    ReplyQueued(MessageId),
    /// Writing a reply began, from its first word.
    ReplyStarted {
        /// Which reply.
        reply: MessageId,
        /// How often work on it was begun, this time included.
        attempt: u32,
    },
    /// A piece of a reply was written.
    ReplyDelta {
        /// Which reply.
        reply: MessageId,
        /// The piece, never empty.
        text: String,
    },
    /// A reply is complete.
    ReplySucceeded {
        /// Which reply.
        reply: MessageId,
        /// The answer, unless it was deleted since.
        answer: Option<MessageId>,
        /// Why the writer stopped.
        finish: FinishReason,
        /// Whether the text was cut at the service's own limit.
        truncated: bool,
    },
    /// A reply was given up.
    ReplyFailed {
        /// Which reply.
        reply: MessageId,
        /// Why.
        failure: Failure,
    },
    /// A reply was called off.
    ReplyCancelled {
        /// Which reply.
        reply: MessageId,
        /// What had been written by then, unless that was nothing, or was deleted since.
        answer: Option<MessageId>,
    },
    /// The conversation is gone with all of this. Nothing comes after it.
    ConversationDeleted,
}

impl Happening {
    /// The reply that it is about.
    pub const fn reply(&self) -> Option<MessageId> {
        match self {
            Self::ReplyQueued(reply)
            | Self::ReplyStarted { reply, .. }
            | Self::ReplyDelta { reply, .. }
            | Self::ReplySucceeded { reply, .. }
            | Self::ReplyFailed { reply, .. }
            | Self::ReplyCancelled { reply, .. } => Some(*reply),
            Self::MessageCreated { .. } | Self::MessageDeleted(_) | Self::ConversationDeleted => None,
        }
    }

    /// Whether its reply is final with it, until somebody asks for another try.
    pub const fn ends_reply(&self) -> bool {
        matches!(
            self,
            Self::ReplySucceeded { .. } | Self::ReplyFailed { .. } | Self::ReplyCancelled { .. }
        )
    }
}

/// What a worker tells while it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It begins, from the first word.
    Started {
        /// How often work on the reply was begun, this time included.
        attempt: u32,
    },
    /// It wrote this.
    Delta(String),
}

/// How much of an answer was told while it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// The bytes of its text, from the first, that are stored in deltas; `None` when not even its beginning is.
    pub bytes: Option<usize>,
}
