//! What watching costs: a line in the log for each request and all metrics, against neither.

use super::pairs::{PAIRS, cost, last, order, sorted};
use super::{Settings, ratio};
use crate::client::Client;
use crate::http;
use crate::process::{Process, Scratch};
use crate::report::{Report, median};
use anyhow::{Result, ensure};
use std::ffi::OsString;

const READERS: usize = 32;
const MOST: f64 = 1.15;

/// What switches it off. Warnings are still logged; there are none.
const OFF: [(&str, &str); 3] = [
    ("ENGAGEMENT_METRICS", "0"),
    ("ENGAGEMENT_LOG_LEVEL", "warn"),
    ("ENGAGEMENT_LOG_FILE", "off"),
];

/// One half of it only.
const NO_LOG: [(&str, &str); 2] = [OFF[1], OFF[2]];

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    eprintln!("metrics and the log of requests");
    let (mut off, mut metrics) = (
        Side::start(settings, "off", &OFF)?,
        Side::start(settings, "metrics", &NO_LOG)?,
    );
    let mut on = Side::start(settings, "on", &[])?;
    for (side, status) in [(&mut off, 404), (&mut metrics, 200), (&mut on, 200)] {
        side.check(status)?;
    }
    for round in 0..settings.rounds.max(PAIRS) {
        for is_on in order(round) {
            if is_on {
                on.round(settings)?;
                metrics.round(settings)?;
            } else {
                off.round(settings)?;
            }
        }
        let [without, with, counted] = [&off, &on, &metrics].map(|side| last(&side.gets));
        eprintln!("     pair {round}: GET {without:.1} and {with:.1} µs; {counted:.1} with metrics alone");
    }
    let times = ratio(&on.gets, &off.gets);
    report.row(
        "processor time of a `GET /conversations/{id}` with metrics and a line in console and file",
        &format!("at most {MOST:.2} times that without"),
        format!(
            "{times:.3} times ({:.1} and {:.1} µs)",
            median(&on.gets),
            median(&off.gets)
        ),
        times <= MOST,
    );
    report.remark(format!(
        "metrics and log, ratios by size: {}; with metrics alone {:.3} times ({})",
        sorted(&on.gets, &off.gets),
        ratio(&metrics.gets, &off.gets),
        sorted(&metrics.gets, &off.gets)
    ));
    Ok(())
}

/// One of the servers, and what it is asked.
struct Side {
    server: Process,
    client: Client,
    request: Vec<u8>,
    /// Microseconds a request, each round.
    gets: Vec<f64>,
    /// Dropped after the server that uses it.
    _scratch: Scratch,
}

impl Side {
    fn start(settings: &Settings, name: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let scratch = settings.scratch(&format!("telemetry-{name}"))?;
        let url = format!("sqlite:{}", scratch.path().join("engagement.db").display());
        let environment: Vec<(&str, OsString)> = environment
            .iter()
            .map(|(name, value)| (*name, value.into()))
            .collect();
        let (binary, dir) = (&settings.server, scratch.path());
        let stderr = settings.stderr.as_deref();
        let server = Process::served(&url, &["serve"], &environment, binary, dir, stderr)?;
        let mut client = Client::new(server.addr)?;
        let id = client.conversation("Read again and again")?;
        Ok(Self {
            server,
            client,
            request: http::get(&format!("/conversations/{id}")),
            gets: Vec::new(),
            _scratch: scratch,
        })
    }

    /// That what is to be on is on, and what is to be off is off.
    fn check(&mut self, wanted: u16) -> Result<()> {
        let status = self.client.send(&http::get("/metrics"))?.head.status;
        ensure!(status == wanted, "`/metrics` is {status}");
        Ok(())
    }

    fn round(&mut self, settings: &Settings) -> Result<()> {
        let spent = cost(&self.server, settings, READERS, vec![self.request.clone()])?;
        self.gets.push(spent);
        Ok(())
    }
}
