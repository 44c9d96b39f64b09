//! The lines as they are read: what is missing, unknown or wrong is an error.

use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::FORMAT;
use crate::{
    model::{
        Account, Attempt, BusyPolicy, Conversation, ConversationId, Description, Failure, FinishReason,
        Instructions, KeyId, Message, MessageId, MessageText, ModelName, MovedAttempt, MovedConversation,
        MovedMessage, MovedReply, Owner, ReplyOptions, ReplyState, Role, Temperature, TextProblem, Timestamp,
        Title, TopP, Usage,
    },
    transfer::{named, shown},
};

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Line, String> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let shape: Line = serde_path_to_error::deserialize(&mut json).map_err(|error| named(&error))?;
    json.end().map_err(|error| shown(&error))?;
    Ok(shape)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    #[serde(deserialize_with = "format")]
    #[expect(dead_code, reason = "looked at when it is read")]
    format: (),
    #[serde(deserialize_with = "conversation_id")]
    conversation_id: ConversationId,
    part: Option<u64>,
    #[serde(default, deserialize_with = "title")]
    title: Option<Title>,
    #[serde(default, deserialize_with = "description")]
    description: Option<Description>,
    #[serde(default, deserialize_with = "date_if_any")]
    date_created: Option<Timestamp>,
    #[serde(default, deserialize_with = "date_if_any")]
    date_updated: Option<Timestamp>,
    #[serde(default, deserialize_with = "owner")]
    owner: Option<Owner>,
    settings: Option<SettingsShape>,
    messages: Vec<MessageShape>,
    #[serde(default)]
    pub(super) more: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsShape {
    #[serde(default, deserialize_with = "model")]
    model: Option<ModelName>,
    #[serde(default, deserialize_with = "instructions")]
    instructions: Option<Instructions>,
    #[serde(default, deserialize_with = "temperature")]
    temperature: Option<Temperature>,
    #[serde(default, deserialize_with = "top_p")]
    top_p: Option<TopP>,
    max_output_tokens: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "busy")]
    busy: Option<BusyPolicy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageShape {
    #[serde(deserialize_with = "message_id")]
    message_id: MessageId,
    #[serde(deserialize_with = "role")]
    role: Role,
    #[serde(deserialize_with = "message_text")]
    text: MessageText,
    #[serde(deserialize_with = "date")]
    date_created: Timestamp,
    #[serde(default, deserialize_with = "date_if_any")]
    date_updated: Option<Timestamp>,
    reply: Option<ReplyShape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyShape {
    status: Status,
    #[serde(default, deserialize_with = "message_id_if_any")]
    assistant_message_id: Option<MessageId>,
    attempts: u32,
    #[serde(deserialize_with = "date")]
    date_created: Timestamp,
    #[serde(default, deserialize_with = "date_if_any")]
    date_started: Option<Timestamp>,
    #[serde(deserialize_with = "date")]
    date_finished: Timestamp,
    #[serde(default, deserialize_with = "finish_reason")]
    finish_reason: Option<FinishReason>,
    #[serde(default)]
    truncated: bool,
    error: Option<ErrorShape>,
    settings: Option<SettingsShape>,
    account: Option<AccountShape>,
    #[serde(default)]
    earlier: Vec<AttemptShape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptShape {
    status: Status,
    #[serde(default, deserialize_with = "message_id_if_any")]
    assistant_message_id: Option<MessageId>,
    #[serde(default, deserialize_with = "message_text_if_any")]
    text: Option<MessageText>,
    #[serde(default, deserialize_with = "date_if_any")]
    date_started: Option<Timestamp>,
    #[serde(deserialize_with = "date")]
    date_finished: Timestamp,
    error: Option<ErrorShape>,
    account: Option<AccountShape>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorShape {
    code: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountShape {
    provider: String,
    model: String,
    usage: Option<UsageShape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the field's standard terms")]
struct UsageShape {
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
}

impl Line {
    /// The conversation, its messages, and which part of it this is.
    pub(super) fn into_part(
        self,
        open: Option<(MovedConversation, u64)>,
    ) -> Result<(MovedConversation, Vec<MovedMessage>, u64), String> {
        let part = self.part.unwrap_or(1);
        let id = self.conversation_id;
        let (conversation, messages) = match open {
            Some((open, done)) if open.conversation.id == id && part == done + 1 => (open, self.messages),
            Some((_, done)) => {
                return Err(format!(
                    "part: part {} of the conversation before is missing",
                    done + 1
                ));
            }
            None if part != 1 => return Err("part: the part in front of it is missing".to_owned()),
            None => {
                let missing = |field: &str| format!("{field}: is missing");
                let created = self.date_created.ok_or_else(|| missing("date_created"))?;
                let conversation = Conversation {
                    id,
                    title: self.title,
                    description: self.description.ok_or_else(|| missing("description"))?,
                    created,
                    updated: self.date_updated.unwrap_or(created),
                };
                let moved = MovedConversation {
                    conversation,
                    owner: self.owner.unwrap_or(Owner::OPERATOR),
                    options: self
                        .settings
                        .map_or_else(ReplyOptions::default, SettingsShape::into_options),
                };
                (moved, self.messages)
            }
        };
        let messages = messages.into_iter().enumerate().map(|(at, shape)| {
            shape
                .into_message(id)
                .map_err(|problem| format!("messages[{at}].{problem}"))
        });
        Ok((conversation, messages.collect::<Result<_, _>>()?, part))
    }
}

impl SettingsShape {
    fn into_options(self) -> ReplyOptions {
        ReplyOptions {
            model: self.model,
            instructions: self.instructions,
            temperature: self.temperature,
            top_p: self.top_p,
            max_output_tokens: self.max_output_tokens,
            busy: self.busy,
        }
    }
}

impl MessageShape {
    fn into_message(self, conversation: ConversationId) -> Result<MovedMessage, &'static str> {
        Ok(MovedMessage {
            message: Message {
                id: self.message_id,
                conversation,
                role: self.role,
                text: self.text,
                created: self.date_created,
                updated: self.date_updated.unwrap_or(self.date_created),
            },
            reply: self.reply.map(ReplyShape::into_reply).transpose()?,
        })
    }
}

impl ReplyShape {
    fn into_reply(self) -> Result<MovedReply, &'static str> {
        let earlier = (1..)
            .zip(self.earlier)
            .map(|(number, shape)| shape.into_attempt(number));
        Ok(MovedReply {
            state: state(self.status, self.error)?,
            answer: self.assistant_message_id,
            attempts: self.attempts,
            created: self.date_created,
            started: self.date_started,
            finished: self.date_finished,
            finish: self.finish_reason.unwrap_or_default(),
            truncated: self.truncated,
            options: self
                .settings
                .map_or_else(ReplyOptions::default, SettingsShape::into_options),
            account: account(self.account),
            earlier: earlier.collect::<Result<_, _>>()?,
        })
    }
}

impl AttemptShape {
    fn into_attempt(self, number: u32) -> Result<MovedAttempt, &'static str> {
        Ok(MovedAttempt {
            attempt: Attempt {
                number,
                state: state(self.status, self.error)?,
                answer: self.assistant_message_id,
                text: self.text,
                started: self.date_started,
                finished: self.date_finished,
            },
            account: account(self.account),
        })
    }
}

fn state(status: Status, error: Option<ErrorShape>) -> Result<ReplyState, &'static str> {
    match (status, error) {
        (Status::Succeeded, None) => Ok(ReplyState::Succeeded),
        (Status::Cancelled, None) => Ok(ReplyState::Cancelled),
        (Status::Failed, Some(ErrorShape { code, message })) => {
            Ok(ReplyState::Failed(Failure::new(code, message)))
        }
        (Status::Failed, None) => Err("reply.error: is missing"),
        (_, Some(_)) => Err("reply.error: only a failed one has an error"),
    }
}

fn account(shape: Option<AccountShape>) -> Account {
    shape.map_or_else(Account::default, |shape| Account {
        provider: shape.provider,
        model: shape.model,
        usage: shape.usage.map(|usage| Usage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_tokens: usage.cached_tokens,
        }),
    })
}

/// Reads a text that there may be.
macro_rules! optional {
    ($($name:ident: $value:ty = $parse:expr;)*) => {$(
        fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<$value>, D::Error> {
            let Some(text) = Option::<String>::deserialize(from)? else {
                return Ok(None);
            };
            let parse: fn(&str) -> Result<$value, String> = $parse;
            parse(&text).map(Some).map_err(D::Error::custom)
        }
    )*};
}

/// Reads a text that has to be something.
macro_rules! fields {
    ($($name:ident: $value:ty = $parse:expr;)*) => {$(
        fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<$value, D::Error> {
            let text = String::deserialize(from)?;
            let parse: fn(&str) -> Result<$value, String> = $parse;
            parse(&text).map_err(D::Error::custom)
        }
    )*};
}

fields! {
    format: () = |text| if text == FORMAT { Ok(()) } else { Err(format!("is not {FORMAT}")) };
    conversation_id: ConversationId = |text| ConversationId::parse(text).ok_or_else(|| "is no UUID".to_owned());
    message_id: MessageId = |text| MessageId::parse(text).ok_or_else(|| "is no UUID".to_owned());
    role: Role = |text| Role::parse(text).ok_or_else(|| "is neither user nor assistant".to_owned());
    date: Timestamp = |text| Timestamp::parse(text).ok_or_else(|| "is no date of RFC 3339".to_owned());
    message_text: MessageText = |text| MessageText::parse(text).map_err(|problems| said(&problems));
}

optional! {
    message_id_if_any: MessageId = |text| MessageId::parse(text).ok_or_else(|| "is no UUID".to_owned());
    date_if_any: Timestamp = |text| Timestamp::parse(text).ok_or_else(|| "is no date of RFC 3339".to_owned());
    message_text_if_any: MessageText = |text| MessageText::parse(text).map_err(|problems| said(&problems));
    title: Title = |text| Title::parse(text).map_err(|problems| said(&problems));
    description: Description = |text| Description::parse(text).map_err(|problems| said(&problems));
    owner: Owner = |text| KeyId::parse(text).map(Owner::of).ok_or_else(|| "is no id of a key".to_owned());
    model: ModelName = |text| ModelName::parse(text).map_err(|problems| said(&problems));
    instructions: Instructions = |text| Instructions::parse(text).map_err(|problems| said(&problems));
    busy: BusyPolicy = |text| BusyPolicy::parse(text).ok_or_else(|| "is no such policy".to_owned());
    finish_reason: FinishReason = |text| FinishReason::parse(text).ok_or_else(|| "is no such reason".to_owned());
}

fn temperature<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Temperature>, D::Error> {
    let number = Option::<f64>::deserialize(from)?;
    let read = |number| Temperature::new(number).ok_or_else(|| D::Error::custom("is out of range"));
    number.map(read).transpose()
}

fn top_p<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TopP>, D::Error> {
    let number = Option::<f64>::deserialize(from)?;
    let read = |number| TopP::new(number).ok_or_else(|| D::Error::custom("is out of range"));
    number.map(read).transpose()
}

fn said(problems: &[TextProblem]) -> String {
    match problems.first() {
        Some(TextProblem::TooLong(most)) => format!("has more than {most} characters"),
        Some(TextProblem::Nul) => "holds U+0000".to_owned(),
        Some(TextProblem::Blank) | None => "is blank".to_owned(),
    }
}
