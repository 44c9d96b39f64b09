//! What is told when somebody reads the metrics: what was counted, and what was looked up for it.

use std::collections::BTreeMap;

use prometheus::{
    Registry, Result, TextEncoder,
    core::Number as _,
    proto::{Counter, Gauge, LabelPair, Metric as Sample, MetricFamily, MetricType},
};

use super::{Kind, Metric};

/// All that is told, by the name of its metric.
#[derive(Debug)]
pub struct Page(BTreeMap<String, MetricFamily>);

impl Page {
    /// What was counted.
    pub(super) fn of(registry: &Registry) -> Self {
        let counted = registry.gather().into_iter();
        Self(counted.map(|family| (family.name().to_owned(), family)).collect())
    }

    /// The value of a counter or a gauge that was looked up, with the values of its labels in their order.
    pub fn tell(&mut self, metric: Metric, labels: &[&str], value: impl Into<Number>) {
        let Number(value) = value.into();
        let labels = metric.labels().iter().zip(labels).map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        let mut sample = Sample::from_label(labels.collect());
        let family = self.0.entry(metric.name().to_owned()).or_default();
        family.set_name(metric.name().to_owned());
        family.set_help(metric.help().to_owned());
        if metric.kind() == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
            family.set_field_type(MetricType::COUNTER);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
            family.set_field_type(MetricType::GAUGE);
        }
        family.mut_metric().push(sample);
    }

    /// In the text format of Prometheus, 0.0.4.
    pub fn into_text(self) -> Result<String> {
        let families: Vec<_> = self.0.into_values().collect();
        TextEncoder::new().encode_to_string(&families)
    }
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(f64);

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(value.into_f64())
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        u64::try_from(value).unwrap_or(u64::MAX).into()
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::cells::{SHORT, counters, histograms};

    #[test]
    fn what_was_counted_and_what_was_looked_up_make_one_page() {
        let registry = Registry::new();
        let limits = counters(&registry, Metric::LimitExceeded).unwrap();
        limits.with_label_values(&["reads"]).inc_by(3);
        let mut page = Page::of(&registry);
        page.tell(Metric::OldestDue, &[], 0.25);
        page.tell(Metric::DatabaseUp, &[], true);
        page.tell(Metric::Build, &["a\\b\"c\nd", "sqlite"], 1_u64);
        let expected = r#"# HELP engagement_build_info Always 1; its labels say what runs.
# TYPE engagement_build_info gauge
engagement_build_info{version="a\\b\"c\nd",database="sqlite"} 1
# HELP engagement_database_up Whether the database answered when it was last asked for its figures.
# TYPE engagement_database_up gauge
engagement_database_up 1
# HELP engagement_limit_exceeded_total Requests that were answered 429, by the limit that they met.
# TYPE engagement_limit_exceeded_total counter
engagement_limit_exceeded_total{limit="reads"} 3
# HELP engagement_replies_oldest_due_seconds For how long the first of those that only wait for a worker could have been worked on; 0 if there is none.
# TYPE engagement_replies_oldest_due_seconds gauge
engagement_replies_oldest_due_seconds 0.25
"#;
        assert_eq!(page.into_text().unwrap(), expected);
    }

    #[test]
    fn a_time_is_told_in_seconds_in_the_buckets_that_hold_it() {
        let registry = Registry::new();
        let waits = histograms(&registry, Metric::PoolWait, SHORT).unwrap();
        for micros in [50, 100, 1_500, 20_000_000] {
            let time = std::time::Duration::from_micros(micros);
            waits.with_label_values(&["desk"]).observe(time.as_secs_f64());
        }
        let text = Page::of(&registry).into_text().unwrap();
        for line in [
            r#"_bucket{pool="desk",le="0.0001"} 2"#,
            r#"_bucket{pool="desk",le="0.001"} 2"#,
            r#"_bucket{pool="desk",le="0.0025"} 3"#,
            r#"_bucket{pool="desk",le="10"} 3"#,
            r#"_bucket{pool="desk",le="+Inf"} 4"#,
            r#"_sum{pool="desk"} 20.00165"#,
            r#"_count{pool="desk"} 4"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
