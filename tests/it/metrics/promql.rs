//! As much of `PromQL` as it takes to know which metrics and labels a query names.

use std::collections::BTreeSet;

use engagement::telemetry::metrics::{Kind, Metric};

/// Labels that Prometheus adds by itself.
const ADDED: [&str; 3] = ["job", "instance", "le"];

/// What is wrong with the names in a query.
pub(super) fn unknown_names(query: &str) -> Vec<String> {
    let (mut wrong, mut labels) = (Vec::new(), BTreeSet::from(ADDED));
    let mut selected = Vec::new();
    for (at, name) in names(query) {
        let Some(metric) = metric(name) else {
            wrong.push(format!("there is no metric {name}: {query}"));
            continue;
        };
        labels.extend(metric.labels());
        let rest = query.get(at + name.len()..).unwrap_or_default();
        for label in matchers(rest) {
            if !metric.labels().contains(&label) && !ADDED.contains(&label) {
                wrong.push(format!("{name} has no label {label}: {query}"));
            }
        }
        selected.push(name);
    }
    if selected.is_empty() && wrong.is_empty() && !query.contains("up{") {
        wrong.push(format!("names no metric: {query}"));
    }
    for label in grouped(query) {
        if !labels.contains(label) {
            wrong.push(format!("no metric there has the label {label}: {query}"));
        }
    }
    wrong
}

/// The metric that a series belongs to.
fn metric(series: &str) -> Option<Metric> {
    let named = |name: &str| Metric::ALL.iter().copied().find(|metric| metric.name() == name);
    let of_histogram = |suffix: &str| {
        let metric = named(series.strip_suffix(suffix)?)?;
        (metric.kind() == Kind::Histogram).then_some(metric)
    };
    // A histogram is never selected by its own name.
    let whole = named(series).filter(|metric| metric.kind() != Kind::Histogram);
    whole.or_else(|| ["_bucket", "_sum", "_count"].into_iter().find_map(of_histogram))
}

/// Every name of a metric, and where it stands.
fn names(query: &str) -> Vec<(usize, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = query.get(at..).filter(|rest| !rest.is_empty()) {
        let word = rest.split(|c| !is_part(c)).next().unwrap_or_default();
        if word.starts_with("engagement_") || word.starts_with("process_") {
            found.push((at, word));
        }
        at += word.len().max(rest.chars().next().map_or(1, char::len_utf8));
    }
    found
}

/// The labels in the braces that directly follow.
fn matchers(rest: &str) -> Vec<&str> {
    let Some((inside, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Vec::new();
    };
    // Values are in quotes, and hold no commas and no braces here.
    let parts = inside.split(',').filter(|part| !part.trim().is_empty());
    parts
        .map(|part| part.split(['=', '!', '~']).next().unwrap_or_default().trim())
        .collect()
}

/// The labels that are grouped by.
fn grouped(query: &str) -> Vec<&str> {
    let clauses = query.split("by (").skip(1).chain(query.split("by(").skip(1));
    clauses
        .filter_map(|clause| clause.split(')').next())
        .flat_map(|clause| clause.split(','))
        .map(str::trim)
        .filter(|label| !label.is_empty())
        .collect()
}

#[test]
fn control_what_does_not_exist_is_reported() {
    for (query, expected) in [
        ("rate(engagement_http_requests_total{status=\"500\"}[5m])", 0),
        (
            "histogram_quantile(0.99, sum by (le, route) (rate(engagement_http_request_duration_seconds_bucket[5m])))",
            0,
        ),
        ("up{job=\"engagement\"} == 0", 0),
        ("rate(engagement_http_request_total[5m])", 1),
        ("engagement_http_request_duration_seconds", 1),
        ("engagement_database_up_bucket", 1),
        ("rate(engagement_http_requests_total{code=\"500\"}[5m])", 1),
        ("sum by (provider) (engagement_http_connections)", 1),
        ("sum(node_load1)", 1),
    ] {
        assert_eq!(
            unknown_names(query).len(),
            expected,
            "{query}: {:?}",
            unknown_names(query)
        );
    }
}
