//! What a service tells at `/metrics`, as somebody reads it who knows nothing of the program.

use std::collections::{BTreeMap, BTreeSet};

use super::Client;

/// Every sample of one reading.
#[derive(Debug, Clone)]
pub(crate) struct Scrape {
    pub(crate) samples: Vec<Sample>,
    pub(crate) text: String,
}

/// One line: a name, its labels, a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Scrape {
    /// Reads the metrics of a service.
    pub(crate) async fn of(client: &Client) -> Self {
        let answer = client.get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Self::read(&answer.text())
    }

    pub(crate) fn read(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        Self {
            samples: lines.map(sample).collect(),
            text: text.to_owned(),
        }
    }

    /// The sum of all samples with this name and these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|is| is == value);
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// The metrics that say of themselves what they are.
    pub(crate) fn declared(&self) -> BTreeSet<&str> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split(' ').next()).collect()
    }
}

/// `name{label="value",…} 1.5`
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| {
        (name, labels.trim_end_matches('}'))
    });
    // No value here holds a quote, and the routes' braces are inside of quotes.
    let mut parts = labels.split('"');
    let mut found = BTreeMap::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let name = name.trim_start_matches(',').trim_end_matches('=');
        found.insert(name.to_owned(), value.to_owned());
    }
    Sample {
        name: name.to_owned(),
        labels: found,
        value: value.parse().expect("a number"),
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "what was written is what is read")]
fn a_line_is_a_name_labels_and_a_value() {
    let text = "# HELP x a {b}\n# TYPE x counter\nx{route=\"/a/{b}\",le=\"+Inf\"} 3\ny 0.5\nz NaN\n";
    let scrape = Scrape::read(text);
    assert_eq!(scrape.sum("x", &[("route", "/a/{b}")]), 3.0);
    assert_eq!(scrape.sum("x", &[("le", "+Inf")]), 3.0);
    assert_eq!(scrape.sum("x", &[("route", "/a")]), 0.0);
    assert_eq!(scrape.sum("y", &[]), 0.5);
    assert_eq!(scrape.declared().into_iter().collect::<Vec<_>>(), ["x"]);
}
