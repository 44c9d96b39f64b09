//! The arithmetic: how a quota is used up and comes back, as functions of numbers.
//!
//! The generic cell rate algorithm keeps one number for each subject: when the quota will be whole again. Each unit taken moves
//! that moment on by the time in which one unit comes back; who would move it further away than the window has nothing left.
//! Times are nanoseconds since some start, which is the caller's to know.

use std::{num::NonZeroU32, time::Duration};

const SECOND: u64 = 1_000_000_000;

/// So much in so long, all of it at once if need be, and then evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    limit: NonZeroU32,
    /// In seconds.
    window: u64,
}

/// How much is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Whole units.
    pub units: u64,
    /// Until there is one more.
    pub more_in: Duration,
}

impl Quota {
    /// As many in a second.
    pub fn per_second(limit: NonZeroU32) -> Self {
        Self::new(limit, 1)
    }

    /// As many in a minute.
    pub fn per_minute(limit: NonZeroU32) -> Self {
        Self::new(limit, 60)
    }

    fn new(limit: NonZeroU32, window: u64) -> Self {
        Self { limit, window }
    }

    /// How much there is in a window.
    pub fn limit(self) -> u64 {
        self.limit.get().into()
    }

    /// The window, in seconds.
    pub fn window_s(self) -> u64 {
        self.window
    }

    /// Takes one unit. Gives when the quota will be whole again and what is left; where nothing is, only the latter.
    pub(super) fn take(self, whole_at: u64, now: u64) -> Result<(u64, Left), Left> {
        let after = whole_at.max(now).saturating_add(self.one());
        if after - now > self.window_ns() {
            Err(self.left(whole_at, now))
        } else {
            Ok((after, self.left(after, now)))
        }
    }

    /// Counts one unit that there was no asking for. It is no debt: who used all of a window waits for no more than one.
    pub(super) fn count(self, whole_at: u64, now: u64) -> u64 {
        let after = whole_at.max(now).saturating_add(self.one());
        after.min(now.saturating_add(self.window_ns()))
    }

    /// What is left.
    pub(super) fn left(self, whole_at: u64, now: u64) -> Left {
        let used = whole_at.saturating_sub(now);
        let one = self.one().max(1);
        let units = (self.window_ns().saturating_sub(used) / one).min(self.limit());
        let more = (units + 1)
            .saturating_mul(one)
            .saturating_add(used)
            .saturating_sub(self.window_ns());
        Left {
            units,
            more_in: Duration::from_nanos(if used == 0 { 0 } else { more }),
        }
    }

    fn window_ns(self) -> u64 {
        self.window * SECOND
    }

    /// The time in which one unit comes back.
    fn one(self) -> u64 {
        self.window_ns() / self.limit()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(limit: u32, window: u64) -> Quota {
        Quota::new(NonZeroU32::new(limit).unwrap(), window)
    }

    /// How many of these requests are let through, each at its time.
    fn let_through(quota: Quota, times: impl IntoIterator<Item = u64>) -> usize {
        let mut whole_at = 0;
        let mut passed = 0;
        for now in times {
            if let Ok((after, _)) = quota.take(whole_at, now) {
                whole_at = after;
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn a_windows_worth_passes_at_once_and_then_one_at_a_time() {
        let quota = quota(10, 1);
        assert_eq!(let_through(quota, [0; 30]), 10);
        let tenth = SECOND / 10;
        assert_eq!(let_through(quota, [0; 10].into_iter().chain([tenth - 1])), 10);
        assert_eq!(let_through(quota, [0; 10].into_iter().chain([tenth, tenth])), 11);
        assert_eq!(let_through(quota, [0; 10].into_iter().chain([SECOND; 20])), 20);
    }

    #[test]
    fn what_is_left_is_told_with_the_time_until_there_is_more() {
        let quota = quota(2, 60);
        let (after, left) = quota.take(0, 5).unwrap();
        assert_eq!((left.units, left.more_in), (1, Duration::from_secs(30)));
        let (after, left) = quota.take(after, 5).unwrap();
        assert_eq!((left.units, left.more_in), (0, Duration::from_secs(30)));
        let refused = quota.take(after, 5 + 10 * SECOND).unwrap_err();
        assert_eq!((refused.units, refused.more_in), (0, Duration::from_secs(20)));
        assert!(quota.take(after, 5 + 30 * SECOND).is_ok());
        let untouched = quota.left(0, 7);
        assert_eq!((untouched.units, untouched.more_in), (2, Duration::ZERO));
    }

    #[test]
    fn what_is_counted_is_never_a_debt() {
        let quota = quota(2, 60);
        let whole_at = (0..100).fold(0, |whole_at, _| quota.count(whole_at, 7));
        let left = quota.left(whole_at, 7);
        assert_eq!((left.units, left.more_in), (0, Duration::from_secs(30)));
    }

    #[test]
    fn numbers_of_any_size_are_no_trouble() {
        for limit in [1, 7, u32::MAX] {
            for window in [1, 60] {
                let quota = quota(limit, window);
                assert_eq!(quota.left(u64::MAX, 5).units, 0);
                assert!(quota.take(u64::MAX, 5).is_err());
                assert!(quota.take(0, 0).is_ok());
                assert_eq!(quota.count(u64::MAX, u64::MAX - 1), u64::MAX);
            }
        }
    }

    proptest! {
        /// Whatever the pattern, no span of time lets more through than its share and one window's worth.
        #[test]
        fn no_more_passes_than_the_rate_and_one_burst(
            limit in 1..50_u32,
            gaps in proptest::collection::vec(0..SECOND / 4, 1..200),
        ) {
            let quota = quota(limit, 1);
            let times: Vec<u64> = gaps.iter().scan(0, |now, gap| { *now += gap; Some(*now) }).collect();
            let (first, last) = (times[0], times[times.len() - 1]);
            let most = u64::from(limit) + (last - first) / (SECOND / u64::from(limit));
            prop_assert!(let_through(quota, times) as u64 <= most);
        }
    }
}
