//! Where spans wait that ended, until the courier takes them. It has an end: what finds no room is lost, and counted.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use tokio_util::sync::CancellationToken;

/// The most spans that wait: some 10 MiB of them.
const MOST: usize = 8_192;

/// As many as are taken at once.
const BATCH: usize = 512;

/// How long the first of a batch waits for others.
const PATIENCE: Duration = Duration::from_millis(500);

/// Spans that ended, and whoever takes them away.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Those that found no room, or were not taken where they went, since somebody last asked.
    lost: AtomicUsize,
    /// Those that the courier has taken and not delivered yet.
    under_way: AtomicUsize,
    is_delivered: CancellationToken,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<SpanData>,
    is_closed: bool,
}

impl Outbox {
    /// Waits for spans and takes some of them; `None` when there will be no more.
    pub(super) fn take(&self) -> Option<Vec<SpanData>> {
        let inner = &self.0;
        let waiting = inner.waiting();
        let waiting = inner
            .changed
            .wait_while(waiting, |waiting| waiting.spans.is_empty() && !waiting.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, _) = inner
            .changed
            .wait_timeout_while(waiting, PATIENCE, |waiting| {
                waiting.spans.len() < BATCH && !waiting.is_closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        let found = waiting.spans.len().min(BATCH);
        let batch: Vec<_> = waiting.spans.drain(..found).collect();
        inner.under_way.store(found, Ordering::Relaxed);
        (!batch.is_empty()).then_some(batch)
    }

    /// Waits for the end, no longer than this; whether it has come.
    pub(super) fn closes_within(&self, pause: Duration) -> bool {
        let (waiting, _) = self
            .0
            .changed
            .wait_timeout_while(self.0.waiting(), pause, |waiting| !waiting.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.is_closed
    }

    /// What was taken did not arrive.
    pub(super) fn lose(&self, spans: usize) {
        self.0.lost.fetch_add(spans, Ordering::Relaxed);
    }

    /// How many were lost since this was last asked.
    pub(super) fn lost(&self) -> usize {
        self.0.lost.swap(0, Ordering::Relaxed)
    }

    /// Nothing is put in any more, and what is there is to be taken away at once.
    pub(super) fn close(&self) {
        self.0.waiting().is_closed = true;
        self.0.changed.notify_all();
    }

    /// The courier has been everywhere.
    pub(super) fn set_delivered(&self) {
        self.0.is_delivered.cancel();
    }

    /// Answers once everything was taken away, after the end.
    pub(super) async fn delivered(&self) {
        self.0.is_delivered.cancelled().await;
    }

    /// How many were not delivered up to now.
    pub(super) fn undelivered(&self) -> usize {
        self.0.waiting().spans.len() + self.0.under_way.load(Ordering::Relaxed) + self.lost()
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanProcessor for Outbox {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let mut waiting = self.0.waiting();
        if waiting.is_closed || waiting.spans.len() >= MOST {
            drop(waiting);
            self.lose(1);
            return;
        }
        waiting.spans.push_back(span);
        let found = waiting.spans.len();
        drop(waiting);
        // The courier sleeps only before the first and until a batch is full.
        if found == 1 || found == BATCH {
            self.0.changed.notify_one();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.close();
        Ok(())
    }
}
