//! What is read on the wire, field by field in the contract's order.

use std::{
    fmt::Display,
    num::{NonZeroU32, NonZeroU64},
};

use serde::{Serialize, Serializer};

use crate::model;

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the contract's name")]
pub(super) struct Conversation<'a> {
    #[serde(serialize_with = "shown")]
    conversation_id: model::ConversationId,
    pub(super) title: Option<&'a str>,
    pub(super) description: &'a str,
    #[serde(serialize_with = "shown")]
    date_created: model::Timestamp,
    #[serde(serialize_with = "shown")]
    date_updated: model::Timestamp,
}

impl<'a> From<&'a model::Conversation> for Conversation<'a> {
    fn from(conversation: &'a model::Conversation) -> Self {
        Self {
            conversation_id: conversation.id,
            title: conversation.title.as_ref().map(model::Title::as_str),
            description: conversation.description.as_str(),
            date_created: conversation.created,
            date_updated: conversation.updated,
        }
    }
}

#[derive(Serialize)]
pub(super) struct ConversationDeleted {
    #[serde(serialize_with = "shown")]
    pub(super) conversation_id: model::ConversationId,
    pub(super) deleted: bool,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the contract's name")]
pub(super) struct Message<'a> {
    #[serde(serialize_with = "shown")]
    message_id: model::MessageId,
    #[serde(serialize_with = "shown")]
    conversation: model::ConversationId,
    role: &'static str,
    pub(super) text: &'a str,
    #[serde(serialize_with = "shown")]
    date_created: model::Timestamp,
    #[serde(serialize_with = "shown")]
    date_updated: model::Timestamp,
}

impl<'a> From<&'a model::Message> for Message<'a> {
    fn from(message: &'a model::Message) -> Self {
        Self {
            message_id: message.id,
            conversation: message.conversation,
            role: message.role.as_str(),
            text: message.text.as_str(),
            date_created: message.created,
            date_updated: message.updated,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Page<'a> {
    pub(super) count: u64,
    pub(super) next: Option<String>,
    pub(super) previous: Option<String>,
    pub(super) results: Vec<Message<'a>>,
}

#[derive(Serialize)]
pub(super) struct Reply<'a> {
    #[serde(serialize_with = "shown")]
    message_id: model::MessageId,
    status: &'static str,
    attempts: u32,
    #[serde(serialize_with = "shown_if_any")]
    assistant_message_id: Option<model::MessageId>,
    error: Option<Failure<'a>>,
    #[serde(serialize_with = "shown")]
    date_created: model::Timestamp,
    #[serde(serialize_with = "shown_if_any")]
    date_started: Option<model::Timestamp>,
    #[serde(serialize_with = "shown_if_any")]
    date_finished: Option<model::Timestamp>,
}

#[derive(Serialize)]
pub(super) struct Failure<'a> {
    code: &'a str,
    message: &'a str,
}

impl<'a> From<&'a model::Failure> for Failure<'a> {
    fn from(failure: &'a model::Failure) -> Self {
        Self {
            code: &failure.code,
            message: &failure.message,
        }
    }
}

/// What may be told of a key: all but the key.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "as other resources name theirs")]
pub struct Key<'a> {
    #[serde(serialize_with = "shown")]
    key_id: model::KeyId,
    name: &'a str,
    environment: &'static str,
    scopes: Vec<&'static str>,
    limits: Limits,
    #[serde(serialize_with = "shown")]
    date_created: model::Timestamp,
    #[serde(serialize_with = "shown_if_any")]
    date_expires: Option<model::Timestamp>,
    #[serde(serialize_with = "shown_if_any")]
    date_revoked: Option<model::Timestamp>,
    #[serde(serialize_with = "shown_if_any")]
    date_last_used: Option<model::Timestamp>,
    status: &'static str,
}

#[derive(Debug, Serialize)]
struct Limits {
    requests_per_s: Option<NonZeroU32>,
    messages_per_min: Option<NonZeroU32>,
    pending_replies: Option<NonZeroU32>,
    tokens_per_day: Option<NonZeroU64>,
}

impl<'a> Key<'a> {
    /// As it is at this time.
    pub fn new(key: &'a model::ApiKey, now: model::Timestamp) -> Self {
        Self {
            key_id: key.id,
            name: key.name.as_str(),
            environment: key.environment.as_str(),
            scopes: key.scopes.iter().map(model::Scope::as_str).collect(),
            limits: Limits {
                requests_per_s: key.limits.requests_per_s,
                messages_per_min: key.limits.messages_per_min,
                pending_replies: key.limits.pending_replies,
                tokens_per_day: key.limits.tokens_per_day,
            },
            date_created: key.created,
            date_expires: key.expires,
            date_revoked: key.revoked,
            date_last_used: key.last_used,
            status: key.state(now).as_str(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Keys<'a> {
    pub(super) results: Vec<Key<'a>>,
}

/// The only answer that has the key itself.
#[derive(Serialize)]
pub(super) struct KeyMade<'a> {
    #[serde(flatten)]
    pub(super) of: Key<'a>,
    pub(super) key: &'a str,
}

/// A state's name, and why it is a failure, if it is one.
fn shown_state(state: &model::ReplyState) -> (&'static str, Option<Failure<'_>>) {
    match state {
        model::ReplyState::Queued => ("queued", None),
        model::ReplyState::Running => ("running", None),
        model::ReplyState::Succeeded => ("succeeded", None),
        model::ReplyState::Failed(failure) => ("failed", Some(failure.into())),
        model::ReplyState::Cancelled => ("cancelled", None),
    }
}

impl<'a> From<&'a model::Reply> for Reply<'a> {
    fn from(reply: &'a model::Reply) -> Self {
        let (status, error) = shown_state(&reply.state);
        Self {
            message_id: reply.message,
            status,
            attempts: reply.attempts,
            assistant_message_id: reply.answer,
            error,
            date_created: reply.created,
            date_started: reply.started,
            date_finished: reply.finished,
        }
    }
}

/// What a conversation wants of its replies.
#[derive(Serialize)]
pub(super) struct Settings<'a> {
    #[serde(serialize_with = "shown")]
    conversation_id: model::ConversationId,
    model: Option<&'a str>,
    instructions: Option<&'a str>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_output_tokens: Option<NonZeroU32>,
    busy: Option<&'static str>,
}

impl<'a> Settings<'a> {
    pub(super) fn new(conversation: model::ConversationId, options: &'a model::ReplyOptions) -> Self {
        Self {
            conversation_id: conversation,
            model: options.model.as_ref().map(model::ModelName::as_str),
            instructions: options.instructions.as_ref().map(model::Instructions::as_str),
            temperature: options.temperature.map(model::Temperature::get),
            top_p: options.top_p.map(model::TopP::get),
            max_output_tokens: options.max_output_tokens,
            busy: options.busy.map(model::BusyPolicy::as_str),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Attempts<'a> {
    pub(super) results: Vec<Attempt<'a>>,
}

/// An earlier try at a reply.
#[derive(Serialize)]
pub(super) struct Attempt<'a> {
    number: u32,
    status: &'static str,
    #[serde(serialize_with = "shown_if_any")]
    assistant_message_id: Option<model::MessageId>,
    text: Option<&'a str>,
    error: Option<Failure<'a>>,
    #[serde(serialize_with = "shown_if_any")]
    date_started: Option<model::Timestamp>,
    #[serde(serialize_with = "shown")]
    date_finished: model::Timestamp,
}

impl<'a> From<&'a model::Attempt> for Attempt<'a> {
    fn from(attempt: &'a model::Attempt) -> Self {
        let (status, error) = shown_state(&attempt.state);
        Self {
            number: attempt.number,
            status,
            assistant_message_id: attempt.answer,
            text: attempt.text.as_ref().map(model::MessageText::as_str),
            error,
            date_started: attempt.started,
            date_finished: attempt.finished,
        }
    }
}

pub(super) fn shown<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(super) fn shown_if_any<S: Serializer>(
    value: &Option<impl Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
