//! The Responses API. Nothing is left with the provider: the history is sent each time, as everywhere.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::chat::{DONE, Line, lines};
use crate::{
    model::{FinishReason, Instructions, Temperature, TopP, Usage},
    provider::{
        Prompt,
        hear::{Dialect, Heard, read},
        json::{self, Few},
        judge,
        trouble::Trouble,
    },
};

#[derive(Serialize)]
pub(super) struct Request<'a> {
    model: &'a str,
    input: Vec<Line<'a>>,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
}

impl<'a> Request<'a> {
    pub(super) fn new(prompt: &'a Prompt, stream: bool) -> Self {
        let options = &prompt.options;
        Self {
            model: &prompt.model,
            input: lines(prompt).collect(),
            stream,
            store: false,
            instructions: options.instructions.as_ref().map(Instructions::as_str),
            temperature: options.temperature.map(Temperature::get),
            top_p: options.top_p.map(TopP::get),
            max_output_tokens: options.max_output_tokens.map(std::num::NonZero::get),
        }
    }
}

/// The dialect.
pub(super) struct Responses;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<Few<Item<'a>>>,
    #[serde(borrow, default)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<Few<Part<'a>>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow, default)]
    reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Took {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

/// Reads the resource, which stands alone or in an event.
fn response<'a>(text: &'a str, heard: &mut Heard) -> Result<Response<'a>, Trouble> {
    let response: Response<'_> = read(text)?;
    if response.error.is_some() {
        return Err(judge::late(text));
    }
    heard.is_from(response.id)?;
    heard.written_by(response.model);
    heard.took(json::lenient(response.usage).map(|took: Took| {
        Usage {
            input_tokens: took.input_tokens.unwrap_or_default(),
            output_tokens: took.output_tokens.unwrap_or_default(),
            cached_tokens: took
                .input_tokens_details
                .and_then(|details| details.cached_tokens)
                .unwrap_or_default(),
        }
    }));
    Ok(response)
}

impl Response<'_> {
    fn finish(&self) -> FinishReason {
        let details = self.incomplete_details.as_ref();
        match details.and_then(|details| json::text(details.reason)).as_deref() {
            Some("content_filter") => FinishReason::ContentFilter,
            Some(_) => FinishReason::Length,
            None => FinishReason::Stop,
        }
    }

    /// What its messages say; thoughts and calls of tools are no messages.
    fn text(&self) -> Option<String> {
        let items = &self.output.as_ref()?.0;
        let messages = items
            .iter()
            .filter(|item| json::text(item.kind).is_some_and(|kind| kind == "message"));
        let parts = messages
            .filter_map(|item| item.content.as_ref())
            .flat_map(|content| &content.0);
        Some(
            parts
                .filter_map(|part| json::text(part.text).or_else(|| json::text(part.refusal)))
                .collect(),
        )
    }
}

impl Dialect for Responses {
    fn event(&self, data: &str, heard: &mut Heard) -> Result<Option<String>, Trouble> {
        if data.trim() == DONE {
            heard.end();
            return Ok(None);
        }
        let event: Event<'_> = read(data)?;
        let kind = json::text(event.kind).unwrap_or_default();
        if kind == "error" || event.error.is_some() {
            return Err(judge::late(data));
        }
        match (kind.as_str(), event.response) {
            ("response.output_text.delta" | "response.refusal.delta", _) => Ok(json::text(event.delta)),
            ("response.created" | "response.queued" | "response.in_progress", Some(raw)) => {
                response(raw.get(), heard)?;
                Ok(None)
            }
            ("response.completed" | "response.incomplete", Some(raw)) => {
                let response = response(raw.get(), heard)?;
                // A server may stream nothing but this event.
                let text = if heard.has_said() { None } else { response.text() };
                heard.finish(response.finish());
                heard.end();
                Ok(text)
            }
            ("response.failed" | "response.cancelled", raw) => {
                Err(judge::late(raw.map(RawValue::get).unwrap_or_default()))
            }
            _ => Ok(None),
        }
    }

    fn whole(&self, body: &str, heard: &mut Heard) -> Result<String, Trouble> {
        let response = response(body, heard)?;
        let Some(text) = response.text() else {
            return Err(Trouble::garbled("the answer has no output"));
        };
        if json::text(response.status).is_some_and(|status| status == "failed" || status == "cancelled") {
            return Err(judge::late(body));
        }
        heard.finish(response.finish());
        Ok(text)
    }
}
