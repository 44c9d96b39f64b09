//! What is read on the wire, field by field in the contract's order. What is said of the types and their fields here stands in
//! the OpenAPI document.

use std::{
    fmt::Display,
    num::{NonZeroU32, NonZeroU64},
};

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    http::openapi::schemas::{
        BusyName, EnvironmentName, FinalStatus, KeyStatus, ReplyStatus, RoleName, ScopeName,
    },
    model,
};

/// A conversation.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the contract's name")]
pub(super) struct Conversation<'a> {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = "uuid")]
    conversation_id: model::ConversationId,
    #[schema(required, example = "Notes")]
    pub(super) title: Option<&'a str>,
    #[schema(example = "First steps")]
    pub(super) description: &'a str,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    date_created: model::Timestamp,
    /// Moves when the conversation is changed, and when a message is added or deleted.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
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

/// What is left of a conversation that was deleted.
#[derive(Serialize, ToSchema)]
pub(super) struct ConversationDeleted {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = "uuid")]
    pub(super) conversation_id: model::ConversationId,
    /// Always true.
    pub(super) deleted: bool,
}

/// A message.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the contract's name")]
pub(super) struct Message<'a> {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = "uuid")]
    message_id: model::MessageId,
    /// The conversation that it belongs to.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = "uuid")]
    conversation: model::ConversationId,
    #[schema(value_type = RoleName, inline)]
    role: &'static str,
    #[schema(example = "Hello!")]
    pub(super) text: &'a str,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    date_created: model::Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
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

/// A page of messages, the oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = MessagePage)]
pub(super) struct Page<'a> {
    /// How many messages match, on all pages together.
    pub(super) count: u64,
    /// The URL of the next page.
    #[schema(required, format = "uri")]
    pub(super) next: Option<String>,
    /// The URL of the page before.
    #[schema(required, format = "uri")]
    pub(super) previous: Option<String>,
    pub(super) results: Vec<Message<'a>>,
}

/// How the answer to a user message is coming along.
#[derive(Serialize, ToSchema)]
pub(super) struct Reply<'a> {
    /// The user message.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = "uuid")]
    message_id: model::MessageId,
    #[schema(value_type = ReplyStatus, inline)]
    status: &'static str,
    /// How often the work was begun.
    attempts: u32,
    /// The answer; null until there is one, and again when it is deleted.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = "uuid", required)]
    assistant_message_id: Option<model::MessageId>,
    /// Why it failed, if it did.
    #[schema(required)]
    error: Option<Failure<'a>>,
    /// When it was asked for.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    date_created: model::Timestamp,
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime, required)]
    date_started: Option<model::Timestamp>,
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime, required)]
    date_finished: Option<model::Timestamp>,
}

/// Why a reply failed.
#[derive(Serialize, ToSchema)]
#[schema(as = ReplyFailure)]
pub(super) struct Failure<'a> {
    /// A reason for programs.
    #[schema(example = "provider_timeout")]
    code: &'a str,
    /// A text for people.
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
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "as other resources name theirs")]
pub struct Key<'a> {
    /// Its public name, which is no secret.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9A-Za-z]{12}$")]
    key_id: model::KeyId,
    name: &'a str,
    #[schema(value_type = EnvironmentName, inline)]
    environment: &'static str,
    /// What it may do.
    #[schema(value_type = Vec<ScopeName>, inline)]
    scopes: Vec<&'static str>,
    limits: Limits,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    date_created: model::Timestamp,
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime, required)]
    date_expires: Option<model::Timestamp>,
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime, required)]
    date_revoked: Option<model::Timestamp>,
    /// Right to about a minute.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime, required)]
    date_last_used: Option<model::Timestamp>,
    #[schema(value_type = KeyStatus, inline)]
    status: &'static str,
}

/// What a key may use; null is the service's own limit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeyLimits)]
struct Limits {
    #[schema(value_type = Option<u64>, minimum = 1, required)]
    requests_per_s: Option<NonZeroU32>,
    #[schema(value_type = Option<u64>, minimum = 1, required)]
    messages_per_min: Option<NonZeroU32>,
    #[schema(value_type = Option<u64>, minimum = 1, required)]
    pending_replies: Option<NonZeroU32>,
    #[schema(value_type = Option<u64>, minimum = 1, required)]
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

/// Every key, the oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyList)]
pub(super) struct Keys<'a> {
    pub(super) results: Vec<Key<'a>>,
}

/// The only answer that has the key itself.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyMade<'a> {
    #[serde(flatten)]
    pub(super) of: Key<'a>,
    /// The key itself. It is shown here and nowhere else.
    #[schema(pattern = "^eng_(live|test)_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$")]
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

/// What a conversation wants of its replies; null where it says nothing.
#[derive(Serialize, ToSchema)]
#[schema(as = ConversationSettings)]
pub(super) struct Settings<'a> {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = "uuid")]
    conversation_id: model::ConversationId,
    /// Which model writes.
    #[schema(required)]
    model: Option<&'a str>,
    /// What the model is told before anything else.
    #[schema(required)]
    instructions: Option<&'a str>,
    /// How freely it chooses its words.
    #[schema(required, minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    /// From how much of the probability it chooses.
    #[schema(required, minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    /// The longest answer, in the model's tokens.
    #[schema(value_type = Option<u32>, minimum = 1, required)]
    max_output_tokens: Option<NonZeroU32>,
    /// What becomes of a message that arrives while a reply is unfinished.
    #[schema(value_type = Option<BusyName>, inline, required)]
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

/// The tries before the latest one, the oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AttemptList)]
pub(super) struct Attempts<'a> {
    pub(super) results: Vec<Attempt<'a>>,
}

/// An earlier try at a reply.
#[derive(Serialize, ToSchema)]
pub(super) struct Attempt<'a> {
    number: u32,
    #[schema(value_type = FinalStatus, inline)]
    status: &'static str,
    /// The answer it came to, if there was one.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = "uuid", required)]
    assistant_message_id: Option<model::MessageId>,
    /// What it said; null where there was no answer, and where that was deleted before it was replaced.
    #[schema(required)]
    text: Option<&'a str>,
    /// Why it failed, if it did.
    #[schema(required)]
    error: Option<Failure<'a>>,
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime, required)]
    date_started: Option<model::Timestamp>,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
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
