//! Chat Completions.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    config::OutputLimit,
    model::{FinishReason, Temperature, TopP, Usage},
    provider::{
        Prompt,
        hear::{Dialect, Heard, read},
        json::{self, Few},
        judge,
        trouble::Trouble,
    },
};

/// What the last event of a stream holds instead of JSON.
pub(super) const DONE: &str = "[DONE]";

#[derive(Serialize)]
pub(super) struct Request<'a> {
    model: &'a str,
    messages: Vec<Line<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// A line of the conversation, under its role: what people write is never put into another's mouth.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) role: &'a str,
    pub(super) content: &'a str,
}

/// What was said, oldest first, and the message itself.
pub(super) fn lines(prompt: &Prompt) -> impl Iterator<Item = Line<'_>> {
    let history = prompt.history.iter().map(|line| Line {
        role: line.role.as_str(),
        content: line.text.as_str(),
    });
    history.chain([Line {
        role: "user",
        content: prompt.text.as_str(),
    }])
}

impl<'a> Request<'a> {
    pub(super) fn new(prompt: &'a Prompt, stream: bool, wants_usage: bool, limit: OutputLimit) -> Self {
        let options = &prompt.options;
        let system = options.instructions.as_ref().map(|instructions| Line {
            role: "system",
            content: instructions.as_str(),
        });
        let longest = options.max_output_tokens.map(std::num::NonZero::get);
        let longest_if = |wanted: OutputLimit| longest.filter(|_| limit == wanted);
        Self {
            model: &prompt.model,
            messages: system.into_iter().chain(lines(prompt)).collect(),
            stream,
            stream_options: (stream && wants_usage).then_some(StreamOptions { include_usage: true }),
            temperature: options.temperature.map(Temperature::get),
            top_p: options.top_p.map(TopP::get),
            max_tokens: longest_if(OutputLimit::MaxTokens),
            max_completion_tokens: longest_if(OutputLimit::MaxCompletionTokens),
        }
    }

    pub(super) fn asks_for_usage(&self) -> bool {
        self.stream_options.is_some()
    }
}

/// The dialect.
pub(super) struct Chat;

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<Few<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<Said<'a>>,
    #[serde(borrow, default)]
    message: Option<Said<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    /// What a model says instead, if it does not want to.
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Took {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl Said<'_> {
    fn text(&self) -> Option<String> {
        json::content(self.content)
            .filter(|text| !text.is_empty())
            .or_else(|| json::text(self.refusal))
    }
}

/// Reads what events and whole answers have in common.
fn chunk<'a>(text: &'a str, heard: &mut Heard) -> Result<Chunk<'a>, Trouble> {
    let chunk: Chunk<'_> = read(text)?;
    if chunk.error.is_some() || json::text(chunk.object).is_some_and(|object| object == "error") {
        return Err(judge::late(text));
    }
    heard.is_from(chunk.id)?;
    heard.written_by(chunk.model);
    heard.took(json::lenient(chunk.usage).map(|took: Took| {
        Usage {
            input_tokens: took.prompt_tokens.unwrap_or_default(),
            output_tokens: took.completion_tokens.unwrap_or_default(),
            cached_tokens: took
                .prompt_tokens_details
                .and_then(|details| details.cached_tokens)
                .unwrap_or_default(),
        }
    }));
    Ok(chunk)
}

fn finish(reason: &str) -> FinishReason {
    match reason {
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}

impl Dialect for Chat {
    fn event(&self, data: &str, heard: &mut Heard) -> Result<Option<String>, Trouble> {
        if data.trim() == DONE {
            heard.end();
            return Ok(None);
        }
        let chunk = chunk(data, heard)?;
        let Some(choice) = chunk.choices.as_ref().and_then(|choices| choices.0.first()) else {
            return Ok(None);
        };
        if let Some(reason) = json::text(choice.finish_reason).filter(|reason| !reason.is_empty()) {
            heard.finish(finish(&reason));
        }
        Ok(choice
            .delta
            .as_ref()
            .or(choice.message.as_ref())
            .and_then(Said::text))
    }

    fn whole(&self, body: &str, heard: &mut Heard) -> Result<String, Trouble> {
        let chunk = chunk(body, heard)?;
        let choice = chunk.choices.as_ref().and_then(|choices| choices.0.first());
        let Some((choice, said)) = choice.and_then(|choice| Some((choice, choice.message.as_ref()?))) else {
            return Err(Trouble::garbled("the answer has no message"));
        };
        heard.finish(finish(&json::text(choice.finish_reason).unwrap_or_default()));
        Ok(said.text().unwrap_or_default())
    }
}
