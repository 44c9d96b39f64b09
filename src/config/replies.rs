use std::time::Duration;

use super::{ConfigError, Settings, within};

/// Each holds a place in several tables of the process.
const MOST_WORKERS: usize = 100_000;

/// Ten years.
const LONGEST_DAYS: usize = 3_650;

/// How replies are worked on.
#[derive(Debug, Clone)]
pub struct ReplySettings {
    /// How many prompts may be at the provider at once.
    pub workers: usize,
    /// How long a claim lasts without being renewed.
    pub lease: Duration,
    /// How often leases are renewed: a third of their length leaves two tries.
    pub heartbeat: Duration,
    /// How often lost leases are looked for.
    pub sweep: Duration,
    /// How often the queue is looked into without being told to.
    pub poll: Duration,
    /// After how many lost leases a reply fails.
    pub most_lost: u32,
    /// After how many retries that the provider asked for a reply fails.
    pub most_retries: u32,
    /// The pause before the first retry; it doubles with each.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long the pieces are kept in which a reply was told, once it is final.
    pub deltas_kept: Duration,
}

impl Default for ReplySettings {
    fn default() -> Self {
        Self {
            workers: 64,
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            sweep: Duration::from_secs(5),
            poll: Duration::from_secs(2),
            most_lost: 10,
            most_retries: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(5),
            deltas_kept: Duration::from_hours(7 * 24),
        }
    }
}

pub(super) fn section(settings: &Settings) -> Result<ReplySettings, ConfigError> {
    let defaults = ReplySettings::default();
    let workers = within("workers", settings.workers, defaults.workers, &(1..=MOST_WORKERS))?;
    let days = within(
        "deltas_kept_days",
        settings.deltas_kept_days,
        7,
        &(1..=LONGEST_DAYS),
    )?;
    let deltas_kept = Duration::from_hours(24) * u32::try_from(days).unwrap_or(u32::MAX);
    Ok(ReplySettings {
        workers,
        deltas_kept,
        ..defaults
    })
}
