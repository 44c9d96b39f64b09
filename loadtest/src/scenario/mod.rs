//! The scenarios, and what they share: the settings, and the comparison of two servers round by round.

pub mod backup;
pub mod big;
pub mod keys;
pub mod memory;
pub mod overload;
pub mod pairs;
pub mod post_lone;
pub mod post_user;
pub mod postgres;
pub mod reads;
pub mod start;
pub mod stream;
pub mod telemetry;

use crate::histogram::Histogram;
use crate::load::{self, Load, Outcome, Stop};
use crate::process::{Process, Scratch};
use crate::report::median;
use anyhow::Result;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the flags say.
#[derive(Clone)]
pub struct Settings {
    /// The release binary under test.
    pub server: PathBuf,
    /// Where databases go.
    pub dir: PathBuf,
    /// Where the server's console goes; nowhere when not given.
    pub stderr: Option<PathBuf>,
    /// How often each side of a comparison is measured.
    pub rounds: u32,
    /// How long one side of one round takes.
    pub time: Duration,
    /// Requests of a lone client, a side and round.
    pub lone: u64,
    /// Messages of the big conversation.
    pub messages: u64,
    /// How long the big conversation may take to fill.
    pub fill_limit: Duration,
    /// A `PostgreSQL` server, as a role that may create databases.
    pub postgres: Option<String>,
}

impl Settings {
    /// Before counting starts.
    pub fn warmup(&self) -> Duration {
        (self.time / 5).min(Duration::from_secs(1))
    }

    /// An empty directory for a scenario.
    pub fn scratch(&self, name: &str) -> Result<Scratch> {
        Scratch::new(&self.dir, name)
    }

    /// The server under test, with its data in `scratch`.
    pub fn start(&self, scratch: &Scratch) -> Result<Process> {
        Process::server(&self.server, scratch.path(), self.stderr.as_deref())
    }

    /// A closed loop of `clients`.
    pub fn closed(&self, addr: SocketAddr, clients: usize, requests: &Arc<[Vec<u8>]>) -> Load {
        Load {
            addr,
            requests: Arc::clone(requests),
            clients,
            warmup: self.warmup(),
            stop: Stop::After(self.time),
        }
    }
}

/// What one server did in all rounds.
#[derive(Default)]
pub struct Side {
    /// Successes per second, each round.
    pub rates: Vec<f64>,
    /// Latencies of all rounds.
    pub latency: Histogram,
    /// Errors of all rounds.
    pub errors: u64,
    /// The server's processor time a request, in microseconds, each round.
    pub server_cpu: Vec<f64>,
    /// The generator's, likewise.
    pub client_cpu: Vec<f64>,
}

impl Side {
    /// Runs one round.
    pub fn round(&mut self, server: &Process, load: &Load) -> Result<Outcome> {
        let before = server.cpu();
        let outcome = load::run(load)?;
        let requests = (outcome.succeeded + outcome.warmed).max(1) as f64;
        self.rates.push(outcome.rate());
        self.latency.merge(&outcome.latency);
        self.errors += outcome.errors();
        self.server_cpu
            .push(server.cpu().saturating_sub(before).as_secs_f64() * 1e6 / requests);
        self.client_cpu
            .push(outcome.own_cpu.as_secs_f64() * 1e6 / requests);
        if outcome.errors() > 0 {
            eprintln!("     {}", outcome.errors_text());
        }
        Ok(outcome)
    }

    /// The median of its rates.
    pub fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// A remark's worth of figures.
    pub fn text(&self, name: &str) -> String {
        format!(
            "{name}: {} requests/s, p50 {}, p99 {}, max {}, {:.1} µs of server and {:.1} µs of generator processor time a request, {} errors",
            crate::report::number(self.rate()),
            crate::report::time(self.latency.median()),
            crate::report::time(self.latency.p99()),
            crate::report::time(self.latency.max()),
            median(&self.server_cpu),
            median(&self.client_cpu),
            self.errors
        )
    }
}

/// The median of the ratios of rounds that were measured next to each other.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// The spread of the ratios, as text.
pub fn spread(ours: &[f64], theirs: &[f64]) -> String {
    let ratios: Vec<String> = ours
        .iter()
        .zip(theirs)
        .map(|(a, b)| format!("{:.2}", a / b))
        .collect();
    ratios.join(" ")
}

/// One side of an alternation: does this many requests, says how long each took.
pub type Block<'a> = &'a mut dyn FnMut(u64) -> Result<Histogram>;

/// Measures lone requests of several sides in small blocks by turns, so that a disk or a neighbour that changes its pace in
/// the middle changes it for all of them. Ends after `--lone` requests a side, or in time.
pub fn alternate<const N: usize>(settings: &Settings, mut sides: [Block<'_>; N]) -> Result<[Histogram; N]> {
    const BLOCK: u64 = 20;
    let mut seen: [Histogram; N] = std::array::from_fn(|_| Histogram::default());
    let limit = settings.time * u32::try_from(N)?;
    let start = Instant::now();
    while seen.iter().any(|side| side.len() < settings.lone) {
        for (sum, side) in seen.iter_mut().zip(&mut sides) {
            sum.merge(&side(BLOCK)?);
        }
        if start.elapsed() > limit {
            break;
        }
    }
    Ok(seen)
}
