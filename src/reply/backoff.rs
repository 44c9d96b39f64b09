//! How long to wait before another try.

use std::time::Duration;

use crate::config::ReplySettings;

/// The pause before the next try: doubling, spread over its upper half by `jitter` (from 0 to 1), at
/// least what the provider asked for, at most the longest pause.
pub(super) fn pause(
    settings: &ReplySettings,
    retries: u32,
    asked: Option<Duration>,
    jitter: f64,
) -> Duration {
    let doubled = settings
        .first_pause
        .saturating_mul(2_u32.saturating_pow(retries))
        .min(settings.longest_pause);
    let spread = doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    spread.max(asked.unwrap_or_default()).min(settings.longest_pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(retries: u32, asked: Option<u64>, jitter: f64) -> f64 {
        pause(
            &ReplySettings::default(),
            retries,
            asked.map(Duration::from_secs),
            jitter,
        )
        .as_secs_f64()
    }

    #[test]
    fn pauses_double_and_are_spread() {
        assert!((seconds(0, None, 0.0) - 0.5).abs() < 1e-9);
        assert!((seconds(0, None, 1.0) - 1.0).abs() < 1e-9);
        assert!((seconds(3, None, 1.0) - 8.0).abs() < 1e-9);
    }

    #[test]
    fn the_providers_wish_counts_up_to_the_longest_pause() {
        assert!((seconds(0, Some(20), 0.5) - 20.0).abs() < 1e-9);
        assert!((seconds(0, Some(31_536_000), 0.5) - 300.0).abs() < 1e-9);
        assert!((seconds(60, None, 1.0) - 300.0).abs() < 1e-9);
    }
}
