//! The lines as they are written. The order of the fields is the format's; what there is none of is left out.

use std::num::NonZeroU32;

use serde::Serialize;

use super::FORMAT;
use crate::model::{
    Account, BusyPolicy, Failure, FinishReason, Instructions, MessageText, ModelName, MovedAttempt,
    MovedConversation, MovedMessage, MovedReply, ReplyOptions, ReplyState, Temperature, Title, TopP, Usage,
};

#[derive(Serialize)]
pub(super) struct Line<'a> {
    format: &'static str,
    conversation_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    head: Option<Head<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    more: bool,
}

#[derive(Serialize)]
struct Head<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    description: &'a str,
    date_created: String,
    date_updated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Settings<'a>>,
}

#[derive(Serialize)]
struct Settings<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<&'static str>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the contract's name")]
struct Message<'a> {
    message_id: String,
    role: &'static str,
    text: &'a str,
    date_created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    date_updated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<Reply<'a>>,
}

#[derive(Serialize)]
struct Reply<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    assistant_message_id: Option<String>,
    attempts: u32,
    date_created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    date_started: Option<String>,
    date_finished: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Settings<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountShape<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Attempt<'a>>,
}

#[derive(Serialize)]
struct Attempt<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    assistant_message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date_started: Option<String>,
    date_finished: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountShape<'a>>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct AccountShape<'a> {
    provider: &'a str,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageShape>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the field's standard terms")]
struct UsageShape {
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
}

impl<'a> Line<'a> {
    /// The line of a part, counted from 1; the first one has the conversation's own fields.
    pub(super) fn new(
        moved: &'a MovedConversation,
        part: u64,
        messages: &'a [MovedMessage],
        more: bool,
    ) -> Self {
        Self {
            format: FORMAT,
            conversation_id: moved.conversation.id.to_string(),
            part: (part > 1).then_some(part),
            head: (part == 1).then(|| Head::from(moved)),
            messages: messages.iter().map(Message::from).collect(),
            more,
        }
    }
}

impl<'a> From<&'a MovedConversation> for Head<'a> {
    fn from(moved: &'a MovedConversation) -> Self {
        let conversation = &moved.conversation;
        Self {
            title: conversation.title.as_ref().map(Title::as_str),
            description: conversation.description.as_str(),
            date_created: conversation.created.to_string(),
            date_updated: conversation.updated.to_string(),
            owner: moved.owner.first_key().map(|key| key.to_string()),
            settings: settings(&moved.options),
        }
    }
}

impl<'a> From<&'a MovedMessage> for Message<'a> {
    fn from(moved: &'a MovedMessage) -> Self {
        let message = &moved.message;
        Self {
            message_id: message.id.to_string(),
            role: message.role.as_str(),
            text: message.text.as_str(),
            date_created: message.created.to_string(),
            date_updated: (message.updated != message.created).then(|| message.updated.to_string()),
            reply: moved.reply.as_ref().map(Reply::from),
        }
    }
}

impl<'a> From<&'a MovedReply> for Reply<'a> {
    fn from(reply: &'a MovedReply) -> Self {
        let (status, error) = state(&reply.state);
        Self {
            status,
            assistant_message_id: reply.answer.map(|answer| answer.to_string()),
            attempts: reply.attempts,
            date_created: reply.created.to_string(),
            date_started: reply.started.map(|started| started.to_string()),
            date_finished: reply.finished.to_string(),
            finish_reason: Some(reply.finish)
                .filter(|finish| *finish != FinishReason::Stop)
                .map(FinishReason::as_str),
            truncated: reply.truncated,
            error,
            settings: settings(&reply.options),
            account: account(&reply.account),
            earlier: reply.earlier.iter().map(Attempt::from).collect(),
        }
    }
}

impl<'a> From<&'a MovedAttempt> for Attempt<'a> {
    fn from(moved: &'a MovedAttempt) -> Self {
        let attempt = &moved.attempt;
        let (status, error) = state(&attempt.state);
        Self {
            status,
            assistant_message_id: attempt.answer.map(|answer| answer.to_string()),
            text: attempt.text.as_ref().map(MessageText::as_str),
            date_started: attempt.started.map(|started| started.to_string()),
            date_finished: attempt.finished.to_string(),
            error,
            account: account(&moved.account),
        }
    }
}

fn state(state: &ReplyState) -> (&'static str, Option<Error<'_>>) {
    match state {
        ReplyState::Failed(Failure { code, message }) => ("failed", Some(Error { code, message })),
        ReplyState::Cancelled => ("cancelled", None),
        // Those that are not final stay behind.
        ReplyState::Queued | ReplyState::Running | ReplyState::Succeeded => ("succeeded", None),
    }
}

fn settings(options: &ReplyOptions) -> Option<Settings<'_>> {
    (!options.is_empty()).then(|| Settings {
        model: options.model.as_ref().map(ModelName::as_str),
        instructions: options.instructions.as_ref().map(Instructions::as_str),
        temperature: options.temperature.map(Temperature::get),
        top_p: options.top_p.map(TopP::get),
        max_output_tokens: options.max_output_tokens.map(NonZeroU32::get),
        busy: options.busy.map(BusyPolicy::as_str),
    })
}

fn account(account: &Account) -> Option<AccountShape<'_>> {
    (*account != Account::default()).then(|| AccountShape {
        provider: &account.provider,
        model: &account.model,
        usage: account.usage.map(
            |Usage {
                 input_tokens,
                 output_tokens,
                 cached_tokens,
             }| UsageShape {
                input_tokens,
                output_tokens,
                cached_tokens,
            },
        ),
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}
