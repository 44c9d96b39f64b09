//! One span, as those hold it who do what it tells of.

use std::borrow::Cow;

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    },
};
use opentelemetry_sdk::trace::SdkTracer;

use super::names;
use crate::model::TraceParent;

/// A span, which ends when it is dropped.
pub struct Span(Context);

impl Span {
    /// Begins a span below another.
    pub(super) fn begin(
        tracer: &SdkTracer,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: &Context,
    ) -> Self {
        let builder = tracer.span_builder(name).with_kind(kind);
        let span = builder.start_with_context(tracer, parent);
        Self(parent.with_span(span))
    }

    /// Whether anything that is said of it is kept.
    pub(super) fn is_recorded(&self) -> bool {
        self.0.span().is_recording()
    }

    pub(super) fn context(&self) -> Context {
        self.0.clone()
    }

    /// Says something of it.
    pub(super) fn say(&self, name: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(name, value));
    }

    /// Says that something happened just now.
    pub(super) fn note(&self, name: &'static str) {
        self.0.span().add_event(name, Vec::new());
    }

    /// Says that it failed, and of what kind that was.
    pub(super) fn fail(&self, kind: impl Into<Value>) {
        self.say(names::ERROR_TYPE, kind);
        self.0.span().set_status(Status::error(""));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // Others may hold its context for longer.
        self.0.span().end();
    }
}

/// A place below a span that is somewhere else, or below none.
pub(super) fn below(parent: Option<TraceParent>) -> Context {
    let Some(parent) = parent else {
        return Context::new();
    };
    let flags = if parent.is_sampled() {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from_bytes(parent.trace()),
        SpanId::from_bytes(parent.span()),
        flags,
        true,
        TraceState::default(),
    ))
}
