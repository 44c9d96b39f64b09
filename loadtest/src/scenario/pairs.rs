//! Two servers of the same build by turns, one with something and one without.
//!
//! Compared is the servers' processor time a request, as it hardly moves when something else is using the machine.

use super::Settings;
use crate::load;
use crate::process::Process;
use anyhow::{Result, ensure};
use std::thread;
use std::time::{Duration, Instant};

/// Pairs, at least.
pub const PAIRS: u32 = 10;

/// Which of the two comes first: neither is always the one that comes second.
pub fn order(round: u32) -> [bool; 2] {
    if round.is_multiple_of(2) {
        [false, true]
    } else {
        [true, false]
    }
}

/// Microseconds of the server a request, what it does afterwards for them included.
pub fn cost(server: &Process, settings: &Settings, clients: usize, requests: Vec<Vec<u8>>) -> Result<f64> {
    let before = settled(server)?;
    let outcome = load::run(&settings.closed(server.addr, clients, &requests.into()))?;
    ensure!(outcome.errors() == 0, "{}", outcome.errors_text());
    let took = settled(server)?.saturating_sub(before);
    Ok(took.as_secs_f64() * 1e6 / (outcome.succeeded + outcome.warmed) as f64)
}

/// Its processor time once it has nothing to do: replies come after the load.
fn settled(server: &Process) -> Result<Duration> {
    const PAUSE: Duration = Duration::from_millis(200);
    const IDLE: Duration = Duration::from_millis(10);
    const LIMIT: Duration = Duration::from_mins(1);
    let begun = Instant::now();
    let mut before = server.cpu();
    while begun.elapsed() < LIMIT {
        thread::sleep(PAUSE);
        let now = server.cpu();
        if now.saturating_sub(before) <= IDLE {
            return Ok(now);
        }
        before = now;
    }
    anyhow::bail!("the server is still busy {LIMIT:?} later")
}

/// The latest figure.
pub fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or(f64::NAN)
}

/// The ratios of the pairs, the smallest first.
pub fn sorted(ours: &[f64], theirs: &[f64]) -> String {
    let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    let ratios: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    ratios.join(" ")
}
