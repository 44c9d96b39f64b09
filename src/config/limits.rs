use std::num::{NonZeroU32, NonZeroU64};

use super::Settings;
use crate::model::KeyLimits;

/// Who may do how much. What is `None` has no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct LimitSettings {
    /// Reads without a key from one address, in a second.
    pub address_reads_per_s: Option<NonZeroU32>,
    /// Answers 401 to one address, in a minute.
    pub address_401s_per_min: Option<NonZeroU32>,
    /// Answers 404 to one address, in a minute.
    pub address_404s_per_min: Option<NonZeroU32>,
    /// What holds for keys that have no limits of their own.
    pub keys: KeyLimits,
}

/// Zero is how people write what is `None` here.
pub(super) fn section(settings: &Settings) -> LimitSettings {
    let limit = |given: Option<u32>, default: u32| NonZeroU32::new(given.unwrap_or(default));
    LimitSettings {
        address_reads_per_s: limit(settings.address_reads_per_s, 1_000),
        address_401s_per_min: limit(settings.address_401s_per_min, 120),
        address_404s_per_min: limit(settings.address_404s_per_min, 600),
        keys: KeyLimits {
            requests_per_s: limit(settings.key_requests_per_s, 0),
            messages_per_min: limit(settings.key_messages_per_min, 0),
            pending_replies: limit(settings.key_pending_replies, 0),
            tokens_per_day: NonZeroU64::new(settings.key_tokens_per_day.unwrap_or(0)),
        },
    }
}
