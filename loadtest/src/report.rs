//! What was measured, as the Markdown that `docs/performance.md` shows.

use std::fmt::Write as _;
use std::time::Duration;

/// One line of the table.
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What it should be.
    pub target: String,
    /// What it is.
    pub measured: String,
    /// Whether the one satisfies the other; `None` where there is no target.
    pub met: Option<bool>,
}

/// The table and the remarks under it.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    remarks: Vec<String>,
}

impl Report {
    /// Adds a line to the table.
    pub fn row(
        &mut self,
        what: &str,
        target: &str,
        measured: String,
        met: impl Into<Option<bool>>,
    ) {
        let met = met.into();
        eprintln!("  => {what}: {measured}");
        self.rows.push(Row {
            what: what.to_owned(),
            target: target.to_owned(),
            measured,
            met,
        });
    }

    /// Adds a remark.
    pub fn remark(&mut self, text: String) {
        eprintln!("     {text}");
        self.remarks.push(text);
    }

    /// Whether every line with a target reached it.
    pub fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met != Some(false))
    }

    /// The table and the remarks.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let machine = machine();
        writeln!(
            text,
            "{machine}\n\n| what | target | measured | met |\n|---|---|---|---|"
        )
        .ok();
        for row in &self.rows {
            let met = row.met.map_or("", |met| if met { "yes" } else { "**no**" });
            writeln!(
                text,
                "| {} | {} | {} | {met} |",
                row.what, row.target, row.measured
            )
            .ok();
        }
        if !self.remarks.is_empty() {
            text.push('\n');
        }
        for remark in &self.remarks {
            writeln!(text, "- {remark}").ok();
        }
        text
    }
}

fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name.trim());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    format!(
        "{cpus} x {model}, Linux {}, client and server on the same machine (load average at the end: {load}).",
        kernel.trim()
    )
}

/// A duration with three significant digits.
pub fn time(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    let (value, unit) = match nanos {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.digits$} {unit}")
}

/// A rate or a count with thousands separated.
pub fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// A share as per cent.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    if sorted.len().is_multiple_of(2) && !sorted.is_empty() {
        return f64::midpoint(
            upper,
            sorted.get(sorted.len() / 2 - 1).copied().unwrap_or(upper),
        );
    }
    upper
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(time(Duration::from_nanos(1_234_567)), "1.23 ms");
        assert_eq!(time(Duration::from_micros(99_960)), "100 ms");
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(999.0), "999");
        assert_eq!(percent(0.655), "66 %");
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_missed_target_shows() {
        let mut report = Report::default();
        report.row("a", "1", "1".to_owned(), true);
        report.row("b", "", "2".to_owned(), None);
        assert!(report.all_met());
        report.row("c", "3", "2".to_owned(), false);
        assert!(!report.all_met());
        assert!(report.markdown().contains("| c | 3 | 2 | **no** |"));
    }
}
