//! The kinds of spans there are, and everything that is ever said of one.

use opentelemetry::{
    Array, Context, StringValue, Value,
    trace::{SpanKind, TraceContextExt},
};

use super::{
    Traces, names,
    span::{Span, below},
};
use crate::model::{FinishReason, ReplyOptions, Temperature, TopP, TraceParent, Usage};

/// The queue of replies, as a messaging system.
const SYSTEM: &str = "engagement";
const QUEUE: &str = "replies";

impl Traces {
    /// A request, below the client's span if it names one. Only a method with a meaning has a name, and only a route's
    /// template is shown.
    pub fn request(
        &self,
        method: Option<&str>,
        route: Option<&str>,
        client: Option<TraceParent>,
        request_id: &str,
    ) -> Option<Span> {
        let tracer = self.tracer()?;
        let shown = method.unwrap_or("HTTP");
        let name = match route {
            Some(route) => format!("{shown} {route}"),
            None => shown.to_owned(),
        };
        let span = Span::begin(tracer, name, SpanKind::Server, &below(client));
        if span.is_recorded() {
            span.say(names::METHOD, method.unwrap_or("_OTHER").to_owned());
            if let Some(route) = route {
                span.say(names::ROUTE, route.to_owned());
            }
            span.say(names::REQUEST_ID, request_id.to_owned());
        }
        Some(span)
    }

    /// Something that the store is asked for; `None` also outside every span that is recorded, since what goes on in the
    /// background is part of nothing.
    pub fn store_call(&self, database: Database, operation: &'static str) -> Option<Span> {
        let tracer = self.tracer()?;
        let kind = match database {
            Database::Sqlite => SpanKind::Internal,
            Database::Postgres => SpanKind::Client,
        };
        let span = Span::begin(tracer, operation, kind, &recorded_context()?);
        span.say(names::DB_SYSTEM, database.as_str());
        span.say(names::DB_OPERATION, operation);
        Some(span)
    }

    /// Work on a reply, below the request that asked for it, which may be over long since and was maybe answered by
    /// another process.
    pub fn reply(&self, asked_by: Option<TraceParent>, attempt: u32) -> Option<Span> {
        let span = Span::begin(
            self.tracer()?,
            "process replies",
            SpanKind::Consumer,
            &below(asked_by),
        );
        if span.is_recorded() {
            span.say(names::MESSAGING_SYSTEM, SYSTEM);
            span.say(names::MESSAGING_DESTINATION, QUEUE);
            span.say(names::MESSAGING_OPERATION, "process");
            span.say(names::MESSAGING_OPERATION_TYPE, "process");
            span.say(names::ATTEMPT, i64::from(attempt));
        }
        Some(span)
    }

    /// A question to a provider; `None` also outside every span that is recorded.
    pub fn chat(&self, chat: &Chat<'_>) -> Option<ChatSpan> {
        let tracer = self.tracer()?;
        let name = format!("chat {}", chat.model);
        let span = Span::begin(tracer, name, SpanKind::Client, &recorded_context()?);
        span.say(names::GEN_AI_OPERATION, "chat");
        span.say(names::GEN_AI_PROVIDER, chat.dialect);
        span.say(names::GEN_AI_MODEL, chat.model.to_owned());
        span.say(names::PROVIDER, chat.provider.to_owned());
        span.say(names::SERVER_ADDRESS, chat.host.to_owned());
        span.say(names::SERVER_PORT, i64::from(chat.port));
        span.say(names::ATTEMPT, i64::from(chat.attempt));
        let options = chat.options;
        if let Some(temperature) = options.temperature.map(Temperature::get) {
            span.say(names::GEN_AI_TEMPERATURE, temperature);
        }
        if let Some(top_p) = options.top_p.map(TopP::get) {
            span.say(names::GEN_AI_TOP_P, top_p);
        }
        if let Some(most) = options.max_output_tokens {
            span.say(names::GEN_AI_MAX_TOKENS, i64::from(most.get()));
        }
        Some(ChatSpan {
            span,
            began: false,
            is_over: false,
        })
    }
}

/// Whose statements the store's are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file of this process.
    Sqlite,
    /// A server.
    Postgres,
}

impl Database {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }
}

/// A question to a provider.
pub struct Chat<'a> {
    /// The provider's configured name.
    pub provider: &'a str,
    /// Whose dialect it speaks.
    pub dialect: &'static str,
    /// Where it is.
    pub host: &'a str,
    /// Where it is.
    pub port: u16,
    /// The model, as the provider calls it.
    pub model: &'a str,
    /// How to answer; only numbers of it are shown.
    pub options: &'a ReplyOptions,
    /// How often work on the reply was begun.
    pub attempt: u32,
}

impl Span {
    /// How a request was answered.
    pub fn answered(&self, status: u16) {
        self.say(names::STATUS, i64::from(status));
        if status >= 500 {
            self.fail(status.to_string());
        }
    }

    /// The kind of failure that this ended with.
    pub fn failed(&self, kind: &'static str) {
        self.fail(kind);
    }

    /// How work on a reply ended, and with which code if it failed.
    pub fn replied(&self, outcome: &'static str, code: Option<&str>, provider: &str) {
        self.say(names::OUTCOME, outcome);
        if !provider.is_empty() {
            self.say(names::PROVIDER, provider.to_owned());
        }
        if let Some(code) = code {
            self.fail(code.to_owned());
        }
    }
}

/// The span of a question to a provider.
pub struct ChatSpan {
    span: Span,
    began: bool,
    is_over: bool,
}

impl ChatSpan {
    /// The first piece of the answer is there.
    pub fn began(&mut self) {
        if !self.began {
            self.began = true;
            self.span.note(names::FIRST_TOKEN);
        }
    }

    /// The answer is there.
    pub fn answered(&mut self, finish: FinishReason, usage: Option<&Usage>, model: Option<&str>) {
        self.is_over = true;
        let reasons: Vec<StringValue> = vec![finish.as_str().into()];
        self.span
            .say(names::GEN_AI_FINISH_REASONS, Value::Array(Array::String(reasons)));
        if let Some(model) = model {
            self.span.say(names::GEN_AI_MODEL_THAT_ANSWERED, model.to_owned());
        }
        if let Some(usage) = usage {
            for (name, tokens) in [
                (names::GEN_AI_INPUT_TOKENS, usage.input_tokens),
                (names::GEN_AI_OUTPUT_TOKENS, usage.output_tokens),
                (names::GEN_AI_CACHED_TOKENS, usage.cached_tokens),
            ] {
                self.span.say(name, i64::try_from(tokens).unwrap_or(i64::MAX));
            }
        }
    }

    /// There is none, for the reason with this code.
    pub fn refused(&mut self, code: &str) {
        self.is_over = true;
        self.span.fail(code.to_owned());
    }
}

impl Drop for ChatSpan {
    fn drop(&mut self) {
        if !self.is_over {
            // Nobody waited for the end: that is no failure of the provider.
            self.span.say(names::ERROR_TYPE, "called_off");
        }
    }
}

/// What this is done in, if that is recorded.
fn recorded_context() -> Option<Context> {
    Context::map_current(|context| {
        let is_recorded = context.has_active_span() && context.span().span_context().is_sampled();
        is_recorded.then(|| context.clone())
    })
}
