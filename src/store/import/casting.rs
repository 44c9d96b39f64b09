//! A conversation as rows.

use std::{collections::HashMap, fmt};

use super::cast::{Cast, account, date, id, integer, options, owner_column, text};
use crate::{
    model::{
        ConversationId, Failure, FinishReason, MessageId, MessageText, MovedConversation, MovedMessage,
        MovedReply, ReplyState, Role, Timestamp, Title, fold,
    },
    store::{
        codec,
        copy::{Table, Value},
        timeline::{self, Kind},
    },
};

/// Why something is no conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Which of its messages is at fault, from 0.
    pub message: Option<u64>,
    /// What is wrong, by the field's name.
    pub problem: &'static str,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message {
            Some(number) => write!(f, "messages[{number}].{}", self.problem),
            None => f.write_str(self.problem),
        }
    }
}

/// Turns a conversation into rows.
#[derive(Debug)]
pub struct Casting {
    id: ConversationId,
    last_seq: u64,
    users: u64,
    last: Option<Timestamp>,
    last_event: u64,
    /// Replies whose answers are still to come, by those.
    awaited: HashMap<MessageId, Awaited>,
}

#[derive(Debug)]
struct Awaited {
    question: MessageId,
    number: u64,
    reply: MovedReply,
}

impl Casting {
    /// Begins with a conversation.
    pub fn new(id: ConversationId) -> Self {
        Self {
            id,
            last_seq: 0,
            users: 0,
            last: None,
            last_event: 0,
            awaited: HashMap::new(),
        }
    }

    /// Casts the next message.
    pub fn add(&mut self, moved: MovedMessage, cast: &mut Cast) -> Result<(), Misfit> {
        let (number, message) = (self.last_seq, moved.message);
        let misfit = |problem| {
            Err(Misfit {
                message: Some(number),
                problem,
            })
        };
        if self.last.is_some_and(|last| message.created < last) {
            return misfit("date_created: lies before that of the message in front of it");
        }
        self.last = Some(message.created);
        self.last_seq += 1;
        let answered = self.awaited.remove(&message.id);
        match (message.role, &answered) {
            (Role::User, None) => self.users += 1,
            (Role::User, Some(_)) => return misfit("role: an earlier message says that this is its answer"),
            (Role::Assistant, _) if moved.reply.is_some() => {
                return misfit("reply: only a user's message has one");
            }
            (Role::Assistant, _) => {}
        }
        let text = message.text.as_str();
        let folded = match fold(text) {
            folded if folded == text => Value::Null,
            folded => Value::Text(folded.into_owned()),
        };
        cast.push(
            Table::Messages,
            vec![
                ("conversation_id", Value::Id(self.id.as_uuid())),
                ("seq", integer(self.last_seq)),
                ("id", Value::Id(message.id.as_uuid())),
                ("role", Value::Text(message.role.as_str().to_owned())),
                ("created_at", date(message.created)),
                ("updated_at", date(message.updated)),
                ("text", Value::Text(text.to_owned())),
                ("folded", folded),
                (
                    "reply_to",
                    id(answered.as_ref().map(|answered| answered.question)),
                ),
            ],
        );
        if let Some(answered) = answered {
            self.answered(answered, message.id, cast);
        }
        let Some(reply) = moved.reply else {
            return Ok(());
        };
        match reply.answer {
            None => self.unanswered(message.id, &reply, cast),
            Some(answer) if answer == message.id || self.awaited.contains_key(&answer) => {
                return misfit("reply.assistant_message_id: is that of another message");
            }
            Some(answer) => {
                let question = message.id;
                let number = self.last_seq;
                self.awaited.insert(
                    answer,
                    Awaited {
                        question,
                        number,
                        reply,
                    },
                );
            }
        }
        Ok(())
    }

    /// Casts the conversation's own row, once all messages are.
    pub fn close(mut self, moved: &MovedConversation, cast: &mut Cast) -> Result<(), Misfit> {
        if let Some(number) = self.awaited.values().map(|awaited| awaited.number - 1).min() {
            return Err(Misfit {
                message: Some(number),
                problem: "reply.assistant_message_id: there is no such message behind it",
            });
        }
        let MovedConversation {
            conversation,
            owner,
            options,
        } = moved;
        let updated = self
            .last
            .take()
            .map_or(conversation.updated, |last| last.max(conversation.updated));
        cast.push(
            Table::Conversations,
            vec![
                ("id", Value::Id(self.id.as_uuid())),
                ("title", text(conversation.title.as_ref().map(Title::as_str))),
                ("description", text(Some(conversation.description.as_str()))),
                ("created_at", date(conversation.created)),
                ("updated_at", date(updated.max(conversation.created))),
                ("last_seq", integer(self.last_seq)),
                ("user_count", integer(self.users)),
                ("assistant_count", integer(self.last_seq - self.users)),
                ("last_event", integer(self.last_event)),
                ("owner_id", owner_column(*owner)),
            ],
        );
        if let Some(options) = codec::options_to_text(options) {
            cast.push(
                Table::Options,
                vec![
                    ("conversation_id", Value::Id(self.id.as_uuid())),
                    ("options", Value::Text(options)),
                ],
            );
        }
        Ok(())
    }

    /// A reply whose answer is the message that was just cast. One that says no more than that needs no row.
    fn answered(&mut self, awaited: Awaited, answer: MessageId, cast: &mut Cast) {
        let Awaited {
            question,
            number,
            reply,
        } = awaited;
        let place = timeline::of_message(self.last_seq);
        let behind = place + Kind::WIDEST + 1;
        let last = match &reply.state {
            ReplyState::Failed(failure) => {
                // An earlier try had left the answer.
                self.ended(Kind::Succeeded, place, question, &reply, Some(answer), None, cast);
                self.ended(Kind::Failed, behind, question, &reply, None, Some(failure), cast)
            }
            ReplyState::Cancelled => {
                self.ended(Kind::Cancelled, place, question, &reply, Some(answer), None, cast)
            }
            _ if reply.finish == FinishReason::Stop && !reply.truncated => 0,
            _ => self.ended(Kind::Succeeded, place, question, &reply, Some(answer), None, cast),
        };
        self.reply(question, number, &reply, last, cast);
    }

    fn unanswered(&mut self, question: MessageId, reply: &MovedReply, cast: &mut Cast) {
        let behind = timeline::of_message(self.last_seq) + Kind::WIDEST + 1;
        let (kind, failure) = match &reply.state {
            ReplyState::Failed(failure) => (Kind::Failed, Some(failure)),
            ReplyState::Cancelled => (Kind::Cancelled, None),
            _ => (Kind::Succeeded, None),
        };
        let last = self.ended(kind, behind, question, reply, None, failure, cast);
        self.reply(question, self.last_seq, reply, last, cast);
    }

    /// How a reply ended, as an event. Gives its number.
    #[expect(clippy::too_many_arguments, reason = "one for each thing that differs")]
    fn ended(
        &mut self,
        kind: Kind,
        number: u64,
        question: MessageId,
        reply: &MovedReply,
        answer: Option<MessageId>,
        failure: Option<&Failure>,
        cast: &mut Cast,
    ) -> u64 {
        let finish =
            Some(reply.finish).filter(|finish| kind == Kind::Succeeded && *finish != FinishReason::Stop);
        cast.push(
            Table::Events,
            vec![
                ("conversation_id", Value::Id(self.id.as_uuid())),
                ("number", integer(number)),
                ("kind", text(Some(kind.as_str()))),
                ("at", date(reply.finished)),
                ("reply_id", id(Some(question))),
                ("message_id", id(answer)),
                ("attempt", Value::Integer(reply.attempts.into())),
                ("finish", text(finish.map(FinishReason::as_str))),
                (
                    "truncated",
                    Value::Integer(i64::from(reply.truncated && kind == Kind::Succeeded)),
                ),
                ("error_code", text(failure.map(|failure| failure.code.as_str()))),
                (
                    "error_message",
                    text(failure.map(|failure| failure.message.as_str())),
                ),
            ],
        );
        self.last_event = self.last_event.max(number + kind.span() - 1);
        number
    }

    fn reply(&self, question: MessageId, seq: u64, reply: &MovedReply, last: u64, cast: &mut Cast) {
        let (status, failure) = status(&reply.state);
        cast.push(
            Table::Replies,
            vec![
                ("message_id", Value::Id(question.as_uuid())),
                ("conversation_id", Value::Id(self.id.as_uuid())),
                ("status", text(Some(status))),
                ("run_after", date(reply.created)),
                ("attempts", Value::Integer(reply.attempts.into())),
                ("lost_leases", Value::Integer(0)),
                ("retries", Value::Integer(0)),
                ("lease_token", Value::Integer(reply.attempts.into())),
                ("error_code", text(failure.map(|failure| failure.code.as_str()))),
                (
                    "error_message",
                    text(failure.map(|failure| failure.message.as_str())),
                ),
                ("created_at", date(reply.created)),
                ("started_at", reply.started.map_or(Value::Null, date)),
                ("finished_at", date(reply.finished)),
                ("options", options(&reply.options)),
                ("account", account(&reply.account)),
                ("tries", integer(reply.earlier.len() as u64)),
                ("queued_event", integer(timeline::of_message(seq))),
                ("final_event", integer(last)),
                ("streamed", Value::Integer(0)),
            ],
        );
        for (number, earlier) in (1..).zip(&reply.earlier) {
            let attempt = &earlier.attempt;
            let (status, failure) = self::status(&attempt.state);
            cast.push(
                Table::Attempts,
                vec![
                    ("message_id", Value::Id(question.as_uuid())),
                    ("number", Value::Integer(number)),
                    ("status", text(Some(status))),
                    ("answer_id", id(attempt.answer)),
                    ("text", text(attempt.text.as_ref().map(MessageText::as_str))),
                    ("error_code", text(failure.map(|failure| failure.code.as_str()))),
                    (
                        "error_message",
                        text(failure.map(|failure| failure.message.as_str())),
                    ),
                    ("account", account(&earlier.account)),
                    ("started_at", attempt.started.map_or(Value::Null, date)),
                    ("finished_at", date(attempt.finished)),
                ],
            );
        }
    }
}

fn status(state: &ReplyState) -> (&'static str, Option<&Failure>) {
    match state {
        ReplyState::Failed(failure) => ("failed", Some(failure)),
        ReplyState::Cancelled => ("cancelled", None),
        // Nothing else is taken in.
        ReplyState::Queued | ReplyState::Running | ReplyState::Succeeded => ("succeeded", None),
    }
}
