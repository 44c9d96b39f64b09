//! Conversations on their way from one service to another.

use super::{
    Account, Attempt, Conversation, FinishReason, Message, MessageId, Owner, ReplyOptions, ReplyState,
    Timestamp,
};

/// A conversation without its messages.
#[derive(Debug, Clone, PartialEq)]
pub struct MovedConversation {
    /// The conversation.
    pub conversation: Conversation,
    /// Whose it is.
    pub owner: Owner,
    /// What it wants of its replies.
    pub options: ReplyOptions,
}

/// A message, in the order of its conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct MovedMessage {
    /// The message.
    pub message: Message,
    /// What the reply to it came to. A message without one gets none.
    pub reply: Option<MovedReply>,
}

/// A reply that is final.
#[derive(Debug, Clone, PartialEq)]
pub struct MovedReply {
    /// What came of it.
    pub state: ReplyState,
    /// The message that answers, which comes later; `None` when there is none, or it was deleted.
    pub answer: Option<MessageId>,
    /// How often work on it was begun.
    pub attempts: u32,
    /// When it was asked for.
    pub created: Timestamp,
    /// When work on it first began.
    pub started: Option<Timestamp>,
    /// When it reached its final state.
    pub finished: Timestamp,
    /// Why the writer stopped.
    pub finish: FinishReason,
    /// Whether the text was cut at the service's own limit.
    pub truncated: bool,
    /// What its message wanted of it.
    pub options: ReplyOptions,
    /// Who wrote it, and what it took.
    pub account: Account,
    /// Earlier tries, oldest first.
    pub earlier: Vec<MovedAttempt>,
}

/// An earlier try at a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct MovedAttempt {
    /// The try. While its answer is in its place, the text is there alone.
    pub attempt: Attempt,
    /// Who wrote it, and what it took.
    pub account: Account,
}
