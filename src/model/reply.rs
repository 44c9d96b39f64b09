//! A reply: the work that turns a user message into an assistant message.

use std::time::Duration;

use super::{
    BusyPolicy, ConversationId, MessageId, MessageText, Owner, ReplyOptions, Role, Timestamp, TraceParent,
};

/// Where a reply stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyState {
    /// Waiting to be worked on.
    Queued,
    /// Somebody holds its lease.
    Running,
    /// Answered.
    Succeeded,
    /// Given up, for this reason.
    Failed(Failure),
    /// Called off.
    Cancelled,
}

impl ReplyState {
    /// Whether nothing more comes of it by itself.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// The reply to one user message, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The user message that is replied to.
    pub message: MessageId,
    /// Where it stands.
    pub state: ReplyState,
    /// The answer that is in its place, unless it was deleted since. While an answer is written anew, and when that
    /// fails, it is the earlier one.
    pub answer: Option<MessageId>,
    /// The number of the event with which it was last queued.
    pub queued: u64,
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

/// The reply that a user message asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewReply {
    /// Whose capacity it takes: the name of a provider that is somewhere else. Such replies take turns within their
    /// conversation, as each sees the earlier ones. `None` for what is answered here, at once and without history.
    pub lane: Option<String>,
    /// What this message wants of it, where that is not what its conversation wants.
    pub options: ReplyOptions,
    /// What to do about unfinished replies of its conversation, if it takes turns.
    pub busy: BusyPolicy,
    /// Whose key asks for it.
    pub owner: Owner,
    /// The span in which it is asked for, if that is traced.
    pub trace: Option<TraceParent>,
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
    /// Whose capacity it takes, as [`NewReply::lane`].
    pub lane: Option<String>,
    /// Whose key asked for it.
    pub owner: Owner,
    /// The span in which it was asked for, as [`NewReply::trace`].
    pub trace: Option<TraceParent>,
}

/// What a reply that takes turns is written from.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// What the message wants, completed by what its conversation wants.
    pub options: ReplyOptions,
    /// What was said before, oldest first: each answer behind its question.
    pub history: Vec<Line>,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// By whom.
    pub role: Role,
    /// What.
    pub text: MessageText,
}

/// What an answer took, in the model's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Read.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
    /// Of those read, the ones that the provider remembered.
    pub cached_tokens: u64,
}

/// Why a model stopped writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FinishReason {
    /// It had said what it had to say.
    #[default]
    Stop,
    /// The answer had reached its longest.
    Length,
    /// What it would have said next is not to be said.
    ContentFilter,
}

impl FinishReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Stop, Self::Length, Self::ContentFilter];

    /// The name on the wire and in databases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
        }
    }

    /// Reads the exact name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Who wrote an answer, and what it took. Not for the public: it is none of their business.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// The provider, by its configured name.
    pub provider: String,
    /// The model, as the provider calls it.
    pub model: String,
    /// What it took, if the provider says so.
    pub usage: Option<Usage>,
}

/// An earlier try at a reply, final since somebody asked for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Counts the tries, from 1.
    pub number: u32,
    /// What came of it.
    pub state: ReplyState,
    /// The answer's identifier, if there was one.
    pub answer: Option<MessageId>,
    /// The answer's text; gone when it was deleted before it was replaced.
    pub text: Option<MessageText>,
    /// When work on it first began.
    pub started: Option<Timestamp>,
    /// When it reached its final state.
    pub finished: Timestamp,
}

/// What came of asking for another try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// It is queued anew.
    Queued(Reply),
    /// It is not final yet.
    Unfinished,
    /// There is no such reply.
    NoReply,
}

/// An answer that is about to become an assistant message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The assistant message's identifier.
    pub id: MessageId,
    /// What the assistant says.
    pub text: MessageText,
    /// Why it stopped there.
    pub finish: FinishReason,
    /// Whether the text was cut at the service's own limit.
    pub truncated: bool,
    /// Who wrote it, and what it took.
    pub account: Account,
}

impl Answer {
    /// A complete answer by nobody in particular.
    pub fn new(id: MessageId, text: MessageText) -> Self {
        Self {
            id,
            text,
            finish: FinishReason::default(),
            truncated: false,
            account: Account::default(),
        }
    }
}

/// How work on a reply ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With an answer.
    Answered(Answer),
    /// For good, without an answer.
    Failed(Failure),
    /// For now: to be tried again.
    Retry {
        /// Not before this has passed.
        after: Duration,
    },
    /// Not begun, because nobody could be asked just now. It counts neither as an attempt nor as a retry.
    Postponed {
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
