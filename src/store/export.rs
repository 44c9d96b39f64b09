//! Reading conversations to give them away.

use async_trait::async_trait;

use super::{Error, Result, codec};
use crate::model::{
    Account, Attempt, ConversationId, Failure, FinishReason, Message, MessageId, MessageText, MovedAttempt,
    MovedConversation, MovedMessage, MovedReply, ReplyOptions, ReplyState, Timestamp,
};

/// The most messages, and about the most bytes of text, in a portion.
pub const PORTION: usize = 2_000;
/// ... in bytes.
pub const PORTION_BYTES: usize = 4 * 1024 * 1024;

/// The most conversations that are read as of one moment: those who write are not to wait for a slow reader's.
pub(super) const AT_ONCE: usize = 200;

/// Messages of a conversation, as far as they were read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MessagePortion {
    /// In their order.
    pub messages: Vec<MovedMessage>,
    /// Behind which place to go on; `None` when there are no others.
    pub next: Option<u64>,
    /// How many of them have a reply that is not final. It stays behind.
    pub unfinished: u64,
}

/// A database whose conversations are read, also while services use it.
#[async_trait]
pub trait ExportStore: Send + Sync {
    /// The next conversations after this one, in the order of their ids; none at the end. Until this is asked again,
    /// everything is read as of one moment.
    async fn conversations(&self, after: Option<ConversationId>) -> Result<Vec<MovedConversation>>;

    /// The next messages of a conversation behind this place, 0 for the first.
    async fn messages(&self, conversation: ConversationId, after: u64) -> Result<MessagePortion>;

    /// Lets go of the database.
    async fn close(self: Box<Self>);
}

/// A reply as a row has it.
pub(super) struct ReplyRow {
    pub(super) status: String,
    pub(super) answer: Option<MessageId>,
    pub(super) attempts: u32,
    pub(super) failure: Option<Failure>,
    pub(super) created: Timestamp,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Option<Timestamp>,
    pub(super) options: Option<String>,
    pub(super) account: Option<String>,
    pub(super) tries: u32,
    pub(super) finish: Option<String>,
    pub(super) truncated: bool,
}

/// An earlier try as a row has it.
pub(super) struct AttemptRow {
    pub(super) number: u32,
    pub(super) status: String,
    pub(super) answer: Option<MessageId>,
    pub(super) text: Option<String>,
    pub(super) failure: Option<Failure>,
    pub(super) account: Option<String>,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Timestamp,
}

impl MessagePortion {
    /// Adds a message with what is known of its reply. Earlier tries are asked for where there were some.
    pub(super) fn add(
        &mut self,
        message: Message,
        reply: Option<ReplyRow>,
        earlier: impl FnOnce(MessageId) -> Result<Vec<AttemptRow>>,
    ) -> Result<()> {
        let reply = match reply {
            None => None,
            Some(row) => {
                let earlier = if row.tries > 0 {
                    earlier(message.id)?
                } else {
                    Vec::new()
                };
                let reply = row.into_reply(earlier)?;
                self.unfinished += u64::from(reply.is_none());
                reply
            }
        };
        self.messages.push(MovedMessage { message, reply });
        Ok(())
    }
}

impl ReplyRow {
    /// The reply if it is final. One that is written anew is still what it had come to before.
    fn into_reply(self, earlier: Vec<AttemptRow>) -> Result<Option<MovedReply>> {
        let mut earlier: Vec<MovedAttempt> = earlier
            .into_iter()
            .map(AttemptRow::into_attempt)
            .collect::<Result<_>>()?;
        let options = match &self.options {
            Some(text) => codec::options_from_text(text)
                .ok_or_else(|| Error::corrupt("replies", "options", "holds no options"))?,
            None => ReplyOptions::default(),
        };
        let reply = MovedReply {
            state: ReplyState::Cancelled,
            answer: self.answer,
            attempts: self.attempts,
            created: self.created,
            started: self.started,
            finished: self.created,
            finish: self
                .finish
                .and_then(|name| FinishReason::parse(&name))
                .unwrap_or_default(),
            truncated: self.truncated,
            options,
            account: Account::default(),
            earlier: Vec::new(),
        };
        if let Some(finished) = self.finished {
            return Ok(Some(MovedReply {
                state: state(&self.status, self.failure, "replies")?,
                finished,
                account: account(self.account.as_deref(), "replies")?,
                earlier,
                ..reply
            }));
        }
        Ok(earlier.pop().map(|last| MovedReply {
            state: last.attempt.state,
            started: last.attempt.started,
            finished: last.attempt.finished,
            account: last.account,
            earlier,
            ..reply
        }))
    }
}

impl AttemptRow {
    fn into_attempt(self) -> Result<MovedAttempt> {
        Ok(MovedAttempt {
            account: account(self.account.as_deref(), "reply_attempts")?,
            attempt: Attempt {
                number: self.number,
                state: state(&self.status, self.failure, "reply_attempts")?,
                answer: self.answer,
                text: self.text.map(MessageText::from_stored),
                started: self.started,
                finished: self.finished,
            },
        })
    }
}

fn state(status: &str, failure: Option<Failure>, table: &'static str) -> Result<ReplyState> {
    match (status, failure) {
        ("succeeded", _) => Ok(ReplyState::Succeeded),
        ("cancelled", _) => Ok(ReplyState::Cancelled),
        ("failed", Some(failure)) => Ok(ReplyState::Failed(failure)),
        _ => Err(Error::corrupt(table, "status", "holds no final state")),
    }
}

fn account(text: Option<&str>, table: &'static str) -> Result<Account> {
    match text {
        Some(text) => {
            codec::account_from_text(text).ok_or_else(|| Error::corrupt(table, "account", "holds no account"))
        }
        None => Ok(Account::default()),
    }
}
