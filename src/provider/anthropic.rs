//! The Messages API of Anthropic.

use async_trait::async_trait;
use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Completion, Pieces, Prompt, Provider, Refusal,
    client::Client,
    hear::{Dialect, Heard, hear, read},
    json::{self, Few},
    judge,
    trouble::Trouble,
};
use crate::{
    config::{ConfigError, ProviderSettings},
    model::{FinishReason, Instructions, Role, Temperature, TopP, Usage},
};

/// The longest answer where nobody says how long it may be: the API insists on a number.
const MAX_TOKENS: u32 = 4096;

/// Its highest temperature; others go to 2.
const HIGHEST_TEMPERATURE: f64 = 1.0;

/// The API.
pub(super) struct Anthropic {
    name: String,
    client: Client,
    streams: bool,
}

impl Anthropic {
    pub(super) fn new(settings: &ProviderSettings) -> Result<Self, ConfigError> {
        let mut segments = settings.base_url.path_segments();
        let has_version = segments
            .as_mut()
            .is_some_and(|segments| segments.any(|segment| segment == "v1"));
        let path: &[&str] = if has_version {
            &["messages"]
        } else {
            &["v1", "messages"]
        };
        let client = Client::new(settings, path, HeaderName::from_static("x-api-key"), "")?;
        Ok(Self {
            name: settings.name.clone(),
            client: client.with_header("anthropic-version", "2023-06-01"),
            streams: settings.stream,
        })
    }

    async fn message(&self, prompt: &Prompt, pieces: &Pieces) -> Result<Completion, Trouble> {
        let answer = self.client.ask(&Request::new(prompt, self.streams)).await?;
        hear(&Messages, answer, pieces).await
    }
}

#[async_trait]
impl Provider for Anthropic {
    async fn answer(&self, prompt: &Prompt, pieces: Pieces) -> Result<Completion, Refusal> {
        tokio::select! {
            biased;
            answer = self.message(prompt, &pieces) => answer.map_err(|trouble| trouble.refuse(&self.name)),
            // Nobody wants more of it.
            () = pieces.closed() => Ok(Completion::default()),
        }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Line>,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    role: &'static str,
    content: String,
}

impl<'a> Request<'a> {
    fn new(prompt: &'a Prompt, stream: bool) -> Self {
        let options = &prompt.options;
        let temperature = options.temperature.map(Temperature::get);
        Self {
            model: &prompt.model,
            messages: lines(prompt),
            max_tokens: options
                .max_output_tokens
                .map_or(MAX_TOKENS, std::num::NonZero::get),
            stream,
            system: options.instructions.as_ref().map(Instructions::as_str),
            temperature: temperature.map(|temperature| temperature.min(HIGHEST_TEMPERATURE)),
            top_p: options.top_p.map(TopP::get),
        }
    }
}

/// The API takes turns strictly, the user's first: what one of them says in a row becomes one line.
fn lines(prompt: &Prompt) -> Vec<Line> {
    let said = prompt.history.iter().map(|line| (line.role, line.text.as_str()));
    let said = said.chain([(Role::User, prompt.text.as_str())]);
    let mut lines: Vec<Line> = Vec::new();
    for (role, text) in said.skip_while(|(role, _)| *role == Role::Assistant) {
        match lines.last_mut() {
            Some(last) if last.role == role.as_str() => {
                last.content.push_str("\n\n");
                last.content.push_str(text);
            }
            _ => lines.push(Line {
                role: role.as_str(),
                content: text.to_owned(),
            }),
        }
    }
    lines
}

/// The dialect.
struct Messages;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_block: Option<Block<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<Few<Block<'a>>>,
    #[serde(borrow, default)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

/// A part of a message: text, if it has one. Thoughts have theirs under another name.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stop_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the API calls them so")]
struct Took {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// Adds what was said of it later. Here, what was remembered and what is to be are not part of what was read.
fn took(raw: Option<&RawValue>, heard: &mut Heard) {
    let Some(took) = json::lenient::<Took>(raw) else {
        return;
    };
    let mut usage = heard.usage();
    if let Some(read) = took.input_tokens {
        let cached = took.cache_read_input_tokens.unwrap_or_default();
        let kept = took.cache_creation_input_tokens.unwrap_or_default();
        usage.cached_tokens = cached;
        usage.input_tokens = read.saturating_add(cached).saturating_add(kept);
    }
    usage.output_tokens = took.output_tokens.unwrap_or(usage.output_tokens);
    heard.took(Some(Usage { ..usage }));
}

fn finish(reason: &str) -> FinishReason {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}

fn message<'a>(text: &'a str, heard: &mut Heard) -> Result<Message<'a>, Trouble> {
    let message: Message<'_> = read(text)?;
    if json::text(message.kind).is_some_and(|kind| kind == "error") {
        return Err(judge::late(text));
    }
    heard.is_from(message.id)?;
    heard.written_by(message.model);
    took(message.usage, heard);
    Ok(message)
}

impl Dialect for Messages {
    fn event(&self, data: &str, heard: &mut Heard) -> Result<Option<String>, Trouble> {
        let event: Event<'_> = read(data)?;
        match json::text(event.kind).unwrap_or_default().as_str() {
            "message_start" => {
                message(event.message.map_or("{}", RawValue::get), heard)?;
                Ok(None)
            }
            "content_block_start" => Ok(event.content_block.and_then(|block| json::text(block.text))),
            "content_block_delta" => Ok(event.delta.and_then(|delta| json::text(delta.text))),
            "message_delta" => {
                took(event.usage, heard);
                let reason = event.delta.and_then(|delta| json::text(delta.stop_reason));
                if let Some(reason) = reason {
                    heard.finish(finish(&reason));
                }
                Ok(None)
            }
            "message_stop" => {
                heard.end();
                Ok(None)
            }
            "error" => Err(judge::late(data)),
            _ => Ok(None),
        }
    }

    fn whole(&self, body: &str, heard: &mut Heard) -> Result<String, Trouble> {
        let message = message(body, heard)?;
        let Some(content) = message.content else {
            return Err(Trouble::garbled("the answer has no content"));
        };
        heard.finish(finish(&json::text(message.stop_reason).unwrap_or_default()));
        Ok(content
            .0
            .iter()
            .filter_map(|block| json::text(block.text))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Line as Said, MessageText, ReplyOptions};

    #[test]
    fn turns_alternate_and_the_user_begins() {
        let text = |text: &str| MessageText::parse(text).unwrap();
        let said = |role, words: &str| Said {
            role,
            text: text(words),
        };
        let prompt = |history| Prompt {
            history,
            text: text("now"),
            model: "m".to_owned(),
            options: ReplyOptions::default(),
        };
        let shown = |prompt: &Prompt| {
            let lines = lines(prompt);
            lines
                .iter()
                .map(|line| format!("{}: {}", line.role, line.content))
                .collect::<Vec<_>>()
        };
        let history = vec![
            said(Role::Assistant, "welcome"),
            said(Role::User, "a"),
            said(Role::User, "b"),
            said(Role::Assistant, "c"),
            said(Role::Assistant, "d"),
            said(Role::User, "e"),
        ];
        assert_eq!(
            shown(&prompt(history)),
            ["user: a\n\nb", "assistant: c\n\nd", "user: e\n\nnow"]
        );
        assert_eq!(
            shown(&prompt(vec![said(Role::Assistant, "welcome")])),
            ["user: now"]
        );
    }
}
