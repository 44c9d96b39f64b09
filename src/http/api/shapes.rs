//! What is read on the wire, field by field in the contract's order.

use std::fmt::Display;

use serde::{Serialize, Serializer};

use crate::model;

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the contract's name")]
pub(super) struct Conversation<'a> {
    #[serde(serialize_with = "shown")]
    conversation_id: model::ConversationId,
    title: Option<&'a str>,
    description: &'a str,
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
    text: &'a str,
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
struct Failure<'a> {
    code: &'a str,
    message: &'a str,
}

impl<'a> From<&'a model::Reply> for Reply<'a> {
    fn from(reply: &'a model::Reply) -> Self {
        let (status, assistant_message_id, error) = match &reply.state {
            model::ReplyState::Queued => ("queued", None, None),
            model::ReplyState::Running => ("running", None, None),
            model::ReplyState::Succeeded(answer) => ("succeeded", *answer, None),
            model::ReplyState::Failed(failure) => (
                "failed",
                None,
                Some(Failure {
                    code: &failure.code,
                    message: &failure.message,
                }),
            ),
            model::ReplyState::Cancelled => ("cancelled", None, None),
        };
        Self {
            message_id: reply.message,
            status,
            attempts: reply.attempts,
            assistant_message_id,
            error,
            date_created: reply.created,
            date_started: reply.started,
            date_finished: reply.finished,
        }
    }
}

fn shown<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn shown_if_any<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
