//! Traces: what became of a request, from the socket to the provider, as spans of OpenTelemetry, sent to whoever receives
//! OTLP over HTTP.
//!
//! Off unless somebody says where to send them; then nothing is made of a span, and whoever asks for one gets `None`. On, a
//! span is a plain value that its owner holds and that ends when it is dropped. What is said of one is said in `kinds` and
//! nowhere else, under the names in `names`: never a path, a query, an id, a key or a text.
//!
//! Spans that ended wait in the `outbox`, which has an end, and the `courier`, a thread of its own, takes them away. So
//! nobody waits for the receiver, and what it does not take is lost, counted and said.

mod courier;
mod kinds;
pub mod names;
mod outbox;
mod span;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures_util::future::Either;
use opentelemetry::{
    Context, KeyValue,
    trace::{FutureExt, TraceContextExt, TracerProvider, WithContext},
};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanLimits},
};
use uuid::Uuid;

pub use kinds::{Chat, ChatSpan, Database};
pub use span::Span;

use self::{courier::Courier, outbox::Outbox};
use crate::{
    config::{ConfigError, TraceSettings},
    model::TraceParent,
};

/// Where spans go; nowhere, unless somebody said where to.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<On>>);

struct On {
    tracer: SdkTracer,
    outbox: Outbox,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Traces(on)" } else { "Traces(off)" })
    }
}

impl Traces {
    /// Starts sending, if there is somewhere to send to. Nothing is sent yet, so it does not matter whether anybody is
    /// there. Not to be called on a thread that runs tasks.
    pub fn start(settings: Option<&TraceSettings>, instance: Uuid) -> Result<Self, ConfigError> {
        let Some(settings) = settings else {
            return Ok(Self::default());
        };
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new(names::SERVICE_NAME, settings.service_name.clone()),
                KeyValue::new(names::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
                KeyValue::new(names::SERVICE_INSTANCE, instance.to_string()),
            ])
            .build();
        let outbox = Outbox::default();
        Courier::new(settings, &resource, outbox.clone())?.start()?;
        // Each of these that is left out is looked for in the environment.
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                settings.ratio,
            ))))
            .with_span_limits(SpanLimits::default())
            .with_resource(resource)
            .with_span_processor(outbox.clone())
            .build();
        Ok(Self(Some(Arc::new(On {
            tracer: provider.tracer("engagement"),
            outbox,
        }))))
    }

    /// Whether anything is traced.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    fn tracer(&self) -> Option<&SdkTracer> {
        self.0.as_ref().map(|on| &on.tracer)
    }

    /// Sends what is left, and answers once that is done, or so much time has passed.
    pub async fn stop(&self, patience: Duration) {
        if let Some(on) = &self.0 {
            on.outbox.close();
            // What is not gone by then is lost.
            let _ = tokio::time::timeout(patience, on.outbox.delivered()).await;
            let lost = on.outbox.undelivered();
            if lost > 0 {
                tracing::warn!(spans = lost, error = "the service stopped", "spans were lost");
            }
        }
    }
}

/// The span that this is done in, for others to continue; `None` when there is none.
pub fn current() -> Option<TraceParent> {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        TraceParent::new(
            span.trace_id().to_bytes(),
            span.span_id().to_bytes(),
            span.is_sampled(),
        )
    })
}

/// Does something in a span, if there is one: what it begins meanwhile belongs to that.
pub fn within<F: Future>(span: Option<&Span>, future: F) -> Either<F, WithContext<F>> {
    match span {
        None => Either::Left(future),
        Some(span) => Either::Right(future.with_context(span.context())),
    }
}
