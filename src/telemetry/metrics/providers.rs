//! What is counted of the providers of language models.

use std::{sync::Arc, time::Duration};

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result,
};

use super::{
    Each, Metric, cases,
    cells::{LONG, counters, gauges, histograms},
};

cases! {
    /// What came of a prompt.
    ProviderOutcome {
        /// An answer.
        Answered: "answered",
        /// A failure after which another try can help.
        Retry: "retry",
        /// It was more than the model can read.
        TooLong: "too_long",
        /// A failure after which nothing helps.
        Failed: "failed",
        /// Somebody did not want it any more.
        CalledOff: "called_off",
        /// It was not sent: the provider had failed too often.
        LeftAlone: "left_alone",
    }
}

cases! {
    /// Whether a provider is asked.
    Breaking {
        /// It is.
        Closed: "closed",
        /// It is left alone.
        Open: "open",
        /// One prompt finds out.
        Probing: "probing",
    }
}

/// What is counted of all providers.
pub(super) struct Providers {
    outcomes: IntCounterVec,
    took: HistogramVec,
    first_token: HistogramVec,
    tokens: IntCounterVec,
    in_flight: IntGaugeVec,
    limit: IntGaugeVec,
    breaker: IntGaugeVec,
}

impl Providers {
    pub(super) fn on(registry: &Registry) -> Result<Self> {
        Ok(Self {
            outcomes: counters(registry, Metric::ProviderRequests)?,
            took: histograms(registry, Metric::ProviderDuration, LONG)?,
            first_token: histograms(registry, Metric::ProviderFirstToken, LONG)?,
            tokens: counters(registry, Metric::ProviderTokens)?,
            in_flight: gauges(registry, Metric::ProviderInFlight)?,
            limit: gauges(registry, Metric::ProviderLimit)?,
            breaker: gauges(registry, Metric::ProviderBreaker)?,
        })
    }

    /// Counts for the provider with this name, which takes so many prompts at once.
    pub(super) fn provider(&self, name: &str, limit: usize) -> ProviderMetrics {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.limit.with_label_values(&[name]).set(limit);
        let tokens = |kind| self.tokens.with_label_values(&[name, kind]);
        let metrics = ProviderMetrics(Some(Arc::new(Cells {
            in_flight: self.in_flight.with_label_values(&[name]),
            outcomes: ProviderOutcome::each(|outcome| {
                self.outcomes.with_label_values(&[name, outcome.name()])
            }),
            took: self.took.with_label_values(&[name]),
            first_token: self.first_token.with_label_values(&[name]),
            input: tokens("input"),
            output: tokens("output"),
            cached: tokens("cached"),
            breaker: Breaking::each(|state| self.breaker.with_label_values(&[name, state.name()])),
        })));
        metrics.breaks(Breaking::Closed);
        metrics
    }
}

/// What is counted of one provider; nothing, unless it was made by [`Providers::provider`].
#[derive(Debug, Clone, Default)]
pub struct ProviderMetrics(Option<Arc<Cells>>);

#[derive(Debug)]
struct Cells {
    in_flight: IntGauge,
    outcomes: Each<IntCounter>,
    took: Histogram,
    first_token: Histogram,
    input: IntCounter,
    output: IntCounter,
    cached: IntCounter,
    breaker: Each<IntGauge>,
}

impl ProviderMetrics {
    /// A prompt is sent.
    pub fn sent(&self) {
        if let Some(cells) = &self.0 {
            cells.in_flight.inc();
        }
    }

    /// What came of a prompt that was sent, after this time.
    pub fn ended(&self, outcome: ProviderOutcome, took: Duration) {
        let Some(cells) = &self.0 else { return };
        cells.in_flight.dec();
        cells.count(outcome);
        cells.took.observe(took.as_secs_f64());
    }

    /// A prompt was not sent.
    pub fn left_alone(&self) {
        if let Some(cells) = &self.0 {
            cells.count(ProviderOutcome::LeftAlone);
        }
    }

    /// The first piece of an answer came after this time.
    pub fn first_token(&self, after: Duration) {
        if let Some(cells) = &self.0 {
            cells.first_token.observe(after.as_secs_f64());
        }
    }

    /// What an answer took.
    pub fn tokens(&self, input: u64, output: u64, cached: u64) {
        if let Some(cells) = &self.0 {
            cells.input.inc_by(input);
            cells.output.inc_by(output);
            cells.cached.inc_by(cached);
        }
    }

    /// From now on the provider is asked, or not.
    pub fn breaks(&self, state: Breaking) {
        let Some(cells) = &self.0 else { return };
        for (each, gauge) in Breaking::ALL.iter().zip(&cells.breaker.0) {
            gauge.set((*each == state).into());
        }
    }
}

impl Cells {
    fn count(&self, outcome: ProviderOutcome) {
        if let Some(count) = self.outcomes.at(outcome as usize) {
            count.inc();
        }
    }
}
