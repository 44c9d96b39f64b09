//! What is counted of replies.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry, Result};

use super::{
    Each, Metric, Open, cases,
    cells::{LONG, counter, counters, gauge, histograms},
    locked,
};

/// How many codes of failures are told apart: more than there are.
const MOST_CODES: usize = 64;

/// What stands for the others.
const OTHER: &str = "other";

cases! {
    /// What came of an attempt at a reply.
    ReplyEnd {
        /// It has its answer.
        Succeeded: "succeeded",
        /// It has none, and there will be none.
        Failed: "failed",
        /// It will be tried again.
        Retry: "retry",
        /// Nobody could be asked just now; it was not begun.
        Postponed: "postponed",
        /// The process stops, and gave it back.
        Released: "released",
        /// Nobody wants it any more.
        CalledOff: "called_off",
        /// Its lease was lost.
        Discarded: "discarded",
    }
}

/// What is counted of replies; nothing, unless it was made by [`ReplyMetrics::on`].
#[derive(Debug, Clone, Default)]
pub struct ReplyMetrics(Option<Arc<Cells>>);

#[derive(Debug)]
struct Cells {
    in_progress: IntGauge,
    /// Looked up at each end: replies are few beside requests.
    attempts: IntCounterVec,
    /// The codes of failures that are told apart.
    codes: Mutex<BTreeSet<String>>,
    took: Each<Histogram>,
    requeued: IntCounter,
    given_up: IntCounter,
    deltas: IntCounter,
    requests: IntCounter,
}

impl ReplyMetrics {
    /// Counts.
    pub(super) fn on(registry: &Registry) -> Result<Self> {
        let attempts = counters(registry, Metric::ReplyAttempts)?;
        for end in ReplyEnd::ALL.iter().filter(|end| **end != ReplyEnd::Failed) {
            attempts.with_label_values(&[end.name(), ""]);
        }
        let took = histograms(registry, Metric::ReplyDuration, LONG)?;
        let lost = counters(registry, Metric::LeasesLost)?;
        Ok(Self(Some(Arc::new(Cells {
            in_progress: gauge(registry, Metric::ReplyInProgress)?,
            attempts,
            codes: Mutex::default(),
            took: ReplyEnd::each(|end| took.with_label_values(&[end.name()])),
            requeued: lost.with_label_values(&["requeued"]),
            given_up: lost.with_label_values(&["failed"]),
            deltas: counter(registry, Metric::DeltasForgotten)?,
            requests: counter(registry, Metric::ReplaysForgotten)?,
        }))))
    }

    /// A reply is worked on, until what this gives is dropped.
    pub fn begin(&self) -> Open {
        Open::begin(self.0.as_ref().map(|cells| &cells.in_progress))
    }

    /// Work on a reply ended; if it failed, with this code.
    pub fn ended(&self, end: ReplyEnd, code: Option<&str>, took: Duration) {
        let Some(cells) = &self.0 else { return };
        let code = match (end, code) {
            (ReplyEnd::Failed, Some(code)) => cells.told_apart(code),
            _ => "",
        };
        cells.attempts.with_label_values(&[end.name(), code]).inc();
        if let Some(histogram) = cells.took.at(end as usize) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// So many replies were taken back whose workers had vanished, and so many of those given up.
    pub fn took_back(&self, requeued: u32, given_up: u32) {
        if let Some(cells) = &self.0 {
            cells.requeued.inc_by(requeued.into());
            cells.given_up.inc_by(given_up.into());
        }
    }

    /// The pieces of so many replies were forgotten.
    pub fn forgot_deltas(&self, replies: u32) {
        if let Some(cells) = &self.0 {
            cells.deltas.inc_by(replies.into());
        }
    }

    /// So many requests were forgotten that had been remembered.
    pub fn forgot_requests(&self, requests: u32) {
        if let Some(cells) = &self.0 {
            cells.requests.inc_by(requests.into());
        }
    }
}

impl Cells {
    /// The code of a failure as it is told.
    fn told_apart<'a>(&self, code: &'a str) -> &'a str {
        let mut codes = locked(&self.codes);
        if codes.contains(code) || (codes.len() < MOST_CODES && codes.insert(code.to_owned())) {
            code
        } else {
            OTHER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Page;

    #[test]
    fn codes_are_told_apart_up_to_a_number() {
        let registry = Registry::new();
        let metrics = ReplyMetrics::on(&registry).unwrap();
        for code in 0..MOST_CODES + 10 {
            metrics.ended(ReplyEnd::Failed, Some(&format!("code_{code}")), Duration::ZERO);
        }
        metrics.ended(ReplyEnd::Failed, Some("code_0"), Duration::ZERO);
        let text = Page::of(&registry).into_text().unwrap();
        for line in [
            r#"{code="code_0",outcome="failed"} 2"#,
            r#"{code="other",outcome="failed"} 10"#,
            r#"{code="",outcome="succeeded"} 0"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.lines().count() < 300);
    }
}
