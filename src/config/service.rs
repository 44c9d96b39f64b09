use std::time::Duration;

use super::{ConfigError, Settings, within};

const MOST_PENDING: usize = 1_000_000_000;

/// Ten years.
const LONGEST_HOURS: usize = 10 * 365 * 24;

/// Whose conversations are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// Everybody's who has a key.
    #[default]
    Shared,
    /// The key's that made them: with another one, they are not found.
    Strict,
}

/// What the operations go by.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// Whose conversations are.
    pub ownership: Ownership,
    /// How many replies may be unfinished.
    pub max_pending_replies: u64,
    /// How long requests are remembered that came with a key of their own.
    pub idempotency_kept: Duration,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            ownership: Ownership::default(),
            max_pending_replies: 100_000,
            idempotency_kept: Duration::from_hours(24),
        }
    }
}

pub(super) fn section(settings: &Settings) -> Result<ServiceSettings, ConfigError> {
    let defaults = ServiceSettings::default();
    let hours = within(
        "idempotency_kept_h",
        settings.idempotency_kept_h,
        24,
        &(1..=LONGEST_HOURS),
    )?;
    let most = within(
        "max_pending_replies",
        settings.max_pending_replies,
        100_000,
        &(1..=MOST_PENDING),
    )?;
    Ok(ServiceSettings {
        ownership: settings.ownership.unwrap_or(defaults.ownership),
        max_pending_replies: u64::try_from(most).unwrap_or(u64::MAX),
        idempotency_kept: Duration::from_hours(1) * u32::try_from(hours).unwrap_or(u32::MAX),
    })
}
