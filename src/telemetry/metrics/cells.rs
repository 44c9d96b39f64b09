//! What is counted in: numbers of the crate `prometheus`, which every thread may change at any time without a lock.
//!
//! A metric has a cell for each set of values of its labels. To look for one takes a lock, so whoever counts often keeps
//! those that it needs.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result, core::Collector,
};

use super::Metric;

/// Bounds of buckets, in seconds, for what takes from 100 µs to 10 s: requests, writes, waits.
pub(super) const SHORT: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// For what takes from 10 ms to 10 minutes: models.
pub(super) const LONG: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// For what comes in groups.
pub(super) const GROUPS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The cells of a counter.
pub(super) fn counters(registry: &Registry, metric: Metric) -> Result<IntCounterVec> {
    let options = Opts::new(metric.name(), metric.help());
    registered(registry, IntCounterVec::new(options, metric.labels())?)
}

/// The cell of a counter without labels.
pub(super) fn counter(registry: &Registry, metric: Metric) -> Result<IntCounter> {
    counters(registry, metric)?.get_metric_with_label_values::<&str>(&[])
}

/// The cells of a gauge.
pub(super) fn gauges(registry: &Registry, metric: Metric) -> Result<IntGaugeVec> {
    let options = Opts::new(metric.name(), metric.help());
    registered(registry, IntGaugeVec::new(options, metric.labels())?)
}

/// The cell of a gauge without labels.
pub(super) fn gauge(registry: &Registry, metric: Metric) -> Result<IntGauge> {
    gauges(registry, metric)?.get_metric_with_label_values::<&str>(&[])
}

/// The cells of a histogram with these bounds.
pub(super) fn histograms(registry: &Registry, metric: Metric, bounds: &[f64]) -> Result<HistogramVec> {
    let options = HistogramOpts::new(metric.name(), metric.help()).buckets(bounds.to_vec());
    registered(registry, HistogramVec::new(options, metric.labels())?)
}

/// The cell of a histogram without labels.
pub(super) fn histogram(registry: &Registry, metric: Metric, bounds: &[f64]) -> Result<Histogram> {
    histograms(registry, metric, bounds)?.get_metric_with_label_values::<&str>(&[])
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, cells: C) -> Result<C> {
    registry.register(Box::new(cells.clone()))?;
    Ok(cells)
}

/// Something that is open or under way, and counted until it is dropped.
#[derive(Debug)]
pub struct Open(Option<IntGauge>);

impl Open {
    /// It begins. Without a gauge it is not counted.
    pub(super) fn begin(gauge: Option<&IntGauge>) -> Self {
        if let Some(gauge) = gauge {
            gauge.inc();
        }
        Self(gauge.cloned())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.dec();
        }
    }
}
