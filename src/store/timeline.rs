//! How events are numbered, stored and told.
//!
//! Most of what happens is told by what is there anyway: a message was said, a reply to it was queued, it was answered.
//! Only what is not has rows of its own: that writing began, its pieces, how it ended if there is more to say than
//! "with this answer". So the usual message costs nothing more for being watched.
//!
//! A message at place `seq` has the numbers from `seq` * 2^24 on ([`of_message`]). What happens between two messages
//! has the next ones ([`next`]). A row, stored or made of a message, has the number of its first event, and leaves the
//! numbers behind it to the others: how many depends on its kind alone ([`Kind::span`]). So everything stays in its
//! place, and what is told can change when a message is deleted, or the pieces of an answer are forgotten, without any
//! number being used twice.

use crate::model::{Event, Failure, FinishReason, Happening, Message, MessageId, Role, Timestamp};

/// The numbers that lie between those of two messages, as a power of two: more than an answer can have pieces. With it,
/// numbers of conversations of 500 million messages are exact in JavaScript.
const BETWEEN: u32 = 24;

/// The first number of a message by its place.
pub(super) const fn of_message(seq: u64) -> u64 {
    seq << BETWEEN
}

/// The place of the message that a number belongs to, or comes after.
pub(super) const fn place_of(number: u64) -> u64 {
    number >> BETWEEN
}

/// The last number that something can have that happened in a conversation, by its last message and its last event.
pub(super) fn last(last_seq: u64, last_event: u64) -> u64 {
    match last_seq {
        0 => last_event,
        seq => last_event.max(of_message(seq) + Kind::WIDEST),
    }
}

/// The place of an answer's `message.created` among what its row tells.
const CREATED: u64 = 3;

/// The number of what happens next, of this kind, and the last number that it takes; `None` when there is none left
/// before the next message.
pub(super) fn next(last_seq: u64, last_event: u64, kind: Kind) -> Option<(u64, u64)> {
    let first = last(last_seq, last_event) + 1;
    let end = first + kind.span() - 1;
    (place_of(end) == last_seq).then_some((first, end))
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message was appended that asks for nothing.
    Said,
    /// A message was appended that asks for a reply.
    Asked,
    /// A reply was asked for again.
    Queued,
    /// Writing a reply began.
    Started,
    /// A piece of a reply was written.
    Delta,
    /// A reply is complete.
    Succeeded,
    /// A reply was given up.
    Failed,
    /// A reply was called off.
    Cancelled,
    /// A message was deleted.
    Deleted,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Said,
        Self::Asked,
        Self::Queued,
        Self::Started,
        Self::Delta,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Deleted,
    ];

    /// The largest [`Kind::span`].
    pub(super) const WIDEST: u64 = 5;

    /// The name in databases. The first two are no rows there.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Said => "said",
            Self::Asked => "asked",
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Delta => "delta",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Deleted => "deleted",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// How many numbers a row takes.
    pub(super) const fn span(self) -> u64 {
        match self {
            Self::Asked => 2,
            // reply.started, the rest of the text, message.deleted, message.created, and how it ended.
            Self::Succeeded | Self::Cancelled => Self::WIDEST,
            _ => 1,
        }
    }
}

/// A row, together with the message that it brings, if that still exists.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) at: Timestamp,
    /// The user message whose reply it is about; `None` also where that is gone, and its answers are not.
    pub(super) reply: Option<MessageId>,
    /// The message that it brings or takes.
    pub(super) message: Option<MessageId>,
    /// The answer whose place was taken.
    pub(super) replaces: Option<MessageId>,
    /// The attempt that it begins, or would have begun.
    pub(super) attempt: u32,
    /// Bytes of the answer that rows before this one tell; `None` when not even its beginning is told.
    pub(super) told: Option<usize>,
    /// The piece.
    pub(super) text: Option<String>,
    pub(super) finish: Option<FinishReason>,
    pub(super) truncated: bool,
    pub(super) failure: Option<Failure>,
    /// The message that it brings, as it is now.
    pub(super) brings: Option<Message>,
}

impl Row {
    /// Makes events of the row. Those after the first that something is missing for are left out.
    pub(super) fn tell(self, events: &mut Vec<Event>) {
        let (number, at) = (self.number, self.at);
        let mut say = |place: u64, what: Happening| {
            events.push(Event {
                number: number + place,
                at,
                what,
            });
        };
        match (self.kind, self.reply) {
            (Kind::Said | Kind::Asked, reply) => {
                if let Some(message) = self.brings {
                    // An answer keeps its number when its question goes, and with it what else was told.
                    let place = if message.role == Role::Assistant {
                        CREATED
                    } else {
                        0
                    };
                    say(
                        place,
                        Happening::MessageCreated {
                            message,
                            reply: None,
                            replaces: None,
                        },
                    );
                    if self.kind == Kind::Asked
                        && let Some(reply) = reply
                    {
                        say(1, Happening::ReplyQueued(reply));
                    }
                }
            }
            (Kind::Deleted, _) => {
                if let Some(message) = self.message {
                    say(0, Happening::MessageDeleted(message));
                }
            }
            (Kind::Succeeded | Kind::Cancelled, reply) => self.tell_end(reply, say),
            (_, None) => {}
            (Kind::Queued, Some(reply)) => say(0, Happening::ReplyQueued(reply)),
            (Kind::Started, Some(reply)) => say(
                0,
                Happening::ReplyStarted {
                    reply,
                    attempt: self.attempt,
                },
            ),
            (Kind::Delta, Some(reply)) => {
                if let Some(text) = self.text {
                    say(0, Happening::ReplyDelta { reply, text });
                }
            }
            (Kind::Failed, Some(reply)) => {
                let failure = self.failure.unwrap_or_else(|| Failure::new("unknown", ""));
                say(0, Happening::ReplyFailed { reply, failure });
            }
        }
    }

    /// How a reply ended that may have an answer: what was not told of it, the answer, and the end. Where the reply went
    /// with its question, only what became of answers is left to tell.
    fn tell_end(self, reply: Option<MessageId>, mut say: impl FnMut(u64, Happening)) {
        let answer = self.brings.as_ref().map(|message| message.id);
        if let (Some(reply), Some(message)) = (reply, &self.brings) {
            if self.told.is_none() {
                let attempt = self.attempt;
                say(0, Happening::ReplyStarted { reply, attempt });
            }
            let rest = message.text.as_str().get(self.told.unwrap_or(0)..);
            if let Some(text) = rest.filter(|rest| !rest.is_empty()) {
                let text = text.to_owned();
                say(1, Happening::ReplyDelta { reply, text });
            }
        }
        // Also where the newer one is gone, too.
        if let Some(replaced) = self.replaces {
            say(2, Happening::MessageDeleted(replaced));
        }
        if let Some(message) = self.brings {
            say(
                CREATED,
                Happening::MessageCreated {
                    message,
                    reply,
                    replaces: self.replaces,
                },
            );
        }
        let Some(reply) = reply else { return };
        let end = if self.kind == Kind::Succeeded {
            Happening::ReplySucceeded {
                reply,
                answer,
                finish: self.finish.unwrap_or_default(),
                truncated: self.truncated,
            }
        } else {
            Happening::ReplyCancelled { reply, answer }
        };
        say(4, end);
    }
}
