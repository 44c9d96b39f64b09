//! The metrics as a whole: that they are named as is the custom, described, told, and used by what watches them.
//!
//! What they count is judged by the contract, clause O8. Each rule has a control that hands it something wrong.

mod deploy;
mod promql;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engagement::telemetry::metrics::{Kind, Metric};

use crate::support::{Client, Scrape, Server, postgres};

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn text(of: &str) -> String {
    fs::read_to_string(path(of)).unwrap_or_else(|cause| panic!("{of}: {cause}"))
}

fn holds(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

// --- the page --------------------------------------------------------------------------------------------------------

const PAGE: &str = "docs/metrics.md";

/// The page as the program would write it.
fn page() -> String {
    let mut page = "# Metrics

Everything that is told at `/metrics`, made from the program by `ENGAGEMENT_TESTS_REFRESH=1 cargo test metrics`. Who is told is in
[the contract](contract.md#operations), what to watch and what to do in [operations.md](operations.md#metrics-and-alerts).

Names end in their unit. Counters begin at 0 with each start of the process. Routes are templates, without `/api/v1` and without a slash
at their end; what has none is `(none)`. No label holds an id, a text, a key or an address.

| Metric | Kind | Labels | Meaning |
|---|---|---|---|
"
    .to_owned();
    for metric in Metric::ALL {
        let labels: Vec<_> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (metric.name(), metric.kind().name(), labels.join(", "));
        writeln!(page, "| `{name}` | {kind} | {labels} | {} |", metric.help()).expect("a string takes it");
    }
    page
}

#[test]
fn every_metric_is_described() {
    if std::env::var_os("ENGAGEMENT_TESTS_REFRESH").is_some_and(|refresh| refresh == "1") {
        fs::write(path(PAGE), page()).expect("the page can be written");
    }
    assert!(
        text(PAGE) == page(),
        "{PAGE} is not what the program says; write it anew: ENGAGEMENT_TESTS_REFRESH=1 cargo test metrics"
    );
}

// --- the names -------------------------------------------------------------------------------------------------------

/// What `promtool check metrics` complains of, and some more.
fn misnamed(name: &str, kind: Kind, labels: &[&str], help: &str) -> Vec<String> {
    let words: Vec<_> = name.split('_').collect();
    let is_snake = |text: &str| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(letter) && !text.contains("__")
    };
    let other_units = [
        "ms",
        "us",
        "milliseconds",
        "microseconds",
        "minutes",
        "hours",
        "days",
        "kilobytes",
        "megabytes",
        "mib",
        "kib",
        "percent",
    ];
    let kinds = ["counter", "gauge", "histogram", "summary"];
    let reserved = ["le", "quantile", "job", "instance"];
    let series = ["count", "sum", "bucket"];
    let unit_is_last = |unit: &str| {
        let last = words.iter().rev().find(|word| **word != "total");
        !words.contains(&unit) || last == Some(&unit)
    };
    let rules = [
        (is_snake(name), "is not in snake case"),
        (
            name.starts_with("engagement_") || name.starts_with("process_"),
            "has no prefix of ours",
        ),
        (
            (kind == Kind::Counter) == name.ends_with("_total"),
            "ends in _total if and only if it is a counter",
        ),
        (
            !series.iter().any(|series| words.last() == Some(series)),
            "ends like a series of a histogram",
        ),
        (
            !words.iter().any(|word| other_units.contains(word)),
            "is not in a base unit",
        ),
        (
            unit_is_last("seconds") && unit_is_last("bytes"),
            "does not end in its unit",
        ),
        (
            !words.iter().any(|word| kinds.contains(word)),
            "says of which kind it is",
        ),
        (
            labels
                .iter()
                .all(|label| is_snake(label) && !reserved.contains(label)),
            "has a label that is no name, or taken",
        ),
        (
            help.ends_with('.') && help.len() > 10,
            "does not say what it means",
        ),
    ];
    let broken = rules.into_iter().filter(|(holds, _)| !holds);
    broken.map(|(_, rule)| format!("{name} {rule}")).collect()
}

#[test]
fn metrics_are_named_as_is_the_custom() {
    let all = Metric::ALL.iter();
    let complaints =
        all.flat_map(|metric| misnamed(metric.name(), metric.kind(), metric.labels(), metric.help()));
    holds(&complaints.collect::<Vec<_>>());
    let names: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    assert_eq!(names.len(), Metric::ALL.len(), "no name is there twice");
}

#[test]
fn control_what_is_not_the_custom_is_reported() {
    let help = "What it is for.";
    for (name, kind, labels, help) in [
        ("engagement_Requests_total", Kind::Counter, &[][..], help),
        ("requests_total", Kind::Counter, &[], help),
        ("engagement_requests", Kind::Counter, &[], help),
        ("engagement_requests_total", Kind::Gauge, &[], help),
        ("engagement_requests_count", Kind::Gauge, &[], help),
        ("engagement_wait_ms", Kind::Histogram, &[], help),
        ("engagement_seconds_of_wait", Kind::Histogram, &[], help),
        ("engagement_wait_histogram_seconds", Kind::Histogram, &[], help),
        ("engagement_requests_total", Kind::Counter, &["le"], help),
        ("engagement_requests_total", Kind::Counter, &["Status"], help),
        ("engagement_requests_total", Kind::Counter, &[], ""),
    ] {
        assert_eq!(
            misnamed(name, kind, labels, help).len(),
            1,
            "{name} {labels:?} {help:?}"
        );
    }
    let fine = misnamed("engagement_cpu_seconds_total", Kind::Counter, &["status"], help);
    assert_eq!(fine, Vec::<String>::new());
}

// --- what is told ----------------------------------------------------------------------------------------------------

/// Reads the metrics of a service that has done a little of everything.
async fn read_after_some_work(client: &Client) -> Scrape {
    let conversation = client.conversation("a little of everything").await;
    let message = client.message(&conversation, "user", "hello").await;
    client.finished_reply(&conversation, &message).await;
    let page = format!("/conversations/{conversation}/messages?q=hello");
    client.get(&page).await.expect(200);
    Scrape::of(client).await
}

/// A service with a provider, which nobody asks.
fn builder() -> crate::support::Builder {
    let home = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let table = "model = 'rules'\n[providers.p]\nbase_url = 'http://127.0.0.1:1/v1'\nmodels = ['m']\n";
    fs::write(home.path().join("engagement.toml"), table).expect("a file of settings");
    Server::builder_over(&home)
}

#[tokio::test]
async fn what_is_declared_is_told_and_nothing_else() {
    let declared: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    let of_postgres = ["engagement_database_connections"];
    let of_sqlite = ["engagement_sqlite_wal_size_bytes"];

    let server = builder().start().await;
    let scrape = read_after_some_work(&server.client()).await;
    let told = scrape.declared();
    let untold: Vec<_> = declared.difference(&told).copied().collect();
    assert_eq!(untold, of_postgres, "on SQLite");
    assert_eq!(told.difference(&declared).count(), 0, "{told:?}");

    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let server = builder().on(database.url()).start().await;
    let scrape = read_after_some_work(&server.client()).await;
    let told = scrape.declared();
    let untold: Vec<_> = declared.difference(&told).copied().collect();
    assert_eq!(untold, of_sqlite, "on PostgreSQL");
    assert_eq!(told.difference(&declared).count(), 0, "{told:?}");
}

#[tokio::test]
async fn a_scrape_has_each_series_once_and_each_metric_in_one_piece() {
    let server = builder().start().await;
    let scrape = read_after_some_work(&server.client()).await;
    let mut series = BTreeSet::new();
    for line in scrape.text.lines().filter(|line| !line.starts_with('#')) {
        let (name, _) = line.rsplit_once(' ').expect("a sample");
        assert!(series.insert(name), "{name} is there twice");
    }
    let types: Vec<_> = scrape
        .text
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .collect();
    assert_eq!(types.len(), scrape.declared().len(), "{types:?}");
    assert!(series.len() < 1_000, "{} series", series.len());
}
