//! How many writes are worked on at once while they come faster than they can be done.
//!
//! A fixed number is wrong on every other machine: what a fast disk does in 80 ms takes a slow one seconds, and those who are let
//! in all wait for it. So the number follows what is measured. A queue that stands shows in the *shortest* time that a
//! write took lately: while there are moments without a queue, some write takes no longer than writes do. Once even the
//! shortest is beyond its bound, fewer are let in; the others hear at once when to come back.
//!
//! This is the standing queue of `CoDel` (RFC 8289) and the increase and decrease of TCP, applied to admissions.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{clock::Stopwatch, http::problem::Problem, telemetry::metrics::Refused};

/// A queue of this length in time is nobody's concern.
const TOLERATED: Duration = Duration::from_millis(100);

/// And neither is one in which a write takes so many times what the quickest one takes: on a slow disk, groups of writes wait
/// for one another.
const TOLERATED_TIMES: u32 = 2;

/// How long it is looked for the shortest, at least; on a slow disk, as long as two writes take.
const WINDOW: Duration = Duration::from_millis(100);

/// However slow writes are, so many are let in: alone, none of them would find out that they are quick again.
const FEWEST: usize = 128;

/// Lets writes in, or not.
pub(in crate::http) struct Overload {
    most: usize,
    since: Stopwatch,
    state: Mutex<State>,
}

/// A write that was let in.
pub(super) struct Turn<'a> {
    overload: &'a Overload,
    begun: Duration,
}

#[derive(Debug)]
struct State {
    limit: usize,
    under_way: usize,
    /// What the quickest writes take when there is no queue.
    quickest: Option<Duration>,
    /// Of the window that is under way.
    window: Window,
}

#[derive(Debug, Default)]
struct Window {
    begun: Duration,
    shortest: Option<Duration>,
    /// Whether as many were let in as might be.
    was_full: bool,
}

impl Overload {
    /// Lets in this many at most.
    pub(in crate::http) fn new(most: usize) -> Self {
        Self {
            most,
            since: Stopwatch::start(),
            state: Mutex::new(State {
                limit: most,
                under_way: 0,
                quickest: None,
                window: Window::default(),
            }),
        }
    }

    /// Whether a write that came now would be refused: then there is no need to read it.
    pub(super) fn is_full(&self) -> bool {
        let mut state = self.state();
        let is_full = state.under_way >= state.limit;
        state.window.was_full |= is_full;
        is_full
    }

    /// How many are let in at present.
    pub(in crate::http) fn limit(&self) -> usize {
        self.state().limit
    }

    /// A turn, if it is not to be refused.
    pub(super) fn enter(&self) -> Result<Turn<'_>, Problem> {
        let begun = self.since.elapsed();
        if self.state().enter() {
            Ok(Turn {
                overload: self,
                begun,
            })
        } else {
            Err(Problem::busy(Refused::Writes))
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// It was done: how long it took is learnt from. One that was refused or given up says nothing of others.
    pub(super) fn done(self) {
        let now = self.overload.since.elapsed();
        let took = now.saturating_sub(self.begun);
        self.overload.state().done(now, took, self.overload.most);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.overload.state().under_way -= 1;
    }
}

impl State {
    fn enter(&mut self) -> bool {
        if self.under_way >= self.limit {
            self.window.was_full = true;
            return false;
        }
        self.under_way += 1;
        true
    }

    fn done(&mut self, now: Duration, took: Duration, most: usize) {
        let shortest = self.window.shortest.map_or(took, |shortest| shortest.min(took));
        self.window.shortest = Some(shortest);
        let quickest = self.quickest.map_or(took, |quickest| quickest.min(took));
        self.quickest = Some(quickest);
        if now.saturating_sub(self.window.begun) < WINDOW.max(2 * quickest) {
            return;
        }
        let bound = TOLERATED.max(TOLERATED_TIMES * quickest);
        // Where few are under way, it is not they who wait for one another: letting in fewer would help nobody.
        let is_crowded = self.window.was_full || 2 * self.under_way > self.limit;
        if shortest > bound && is_crowded {
            // By as much as the queue is too long, but not all at once: what is measured is some time ago.
            let share = (bound.as_secs_f64() / shortest.as_secs_f64()).max(0.7);
            self.limit = part(self.limit, share).max(FEWEST);
        } else if shortest <= bound && self.window.was_full {
            self.limit = (self.limit + self.limit / 8 + 1).min(most);
        }
        if !self.window.was_full || self.limit == FEWEST {
            // Without a queue, whatever is quickest now is what there is to be had: a disk may get slower for good.
            self.quickest = Some(quickest + quickest / 16);
        }
        self.window = Window {
            begun: now,
            ..Window::default()
        };
    }
}

/// A share of a number, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "both are small and positive"
)]
fn part(number: usize, share: f64) -> usize {
    (number as f64 * share) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Writes that come as fast as they are let in, and take as long as it takes to do all that are under way; this many
    /// milliseconds at least, and one more for each so many. Gives the limit at the end.
    fn flooded(state: &mut State, from: Duration, for_s: u64, least: u64, each_ms: usize) -> usize {
        let mut now = from;
        while now < from + Duration::from_secs(for_s) {
            while state.enter() {}
            let took = ms(least + (state.under_way / each_ms) as u64);
            now += ms(10);
            for _ in 0..state.under_way.min(10 * each_ms) {
                state.done(now, took, MOST);
                state.under_way -= 1;
            }
        }
        state.limit
    }

    /// A state that knows how long a write takes alone.
    fn knowing(alone: u64) -> State {
        let mut state = Overload::new(MOST).state.into_inner().expect("a state");
        assert!(state.enter());
        state.done(ms(0), ms(alone), MOST);
        state.under_way -= 1;
        state
    }

    #[test]
    fn as_many_as_may_be_are_let_in_and_no_more() {
        let overload = Overload::new(2);
        let (first, _second) = (overload.enter().ok(), overload.enter().ok());
        assert!(overload.enter().is_err());
        assert!(overload.is_full());
        drop(first);
        assert!(!overload.is_full());
        assert!(overload.enter().is_ok());
    }

    #[test]
    fn a_quick_machine_lets_everybody_in() {
        // 20 a millisecond: a thousand take 50 ms, which nobody minds.
        assert_eq!(flooded(&mut knowing(1), ms(1), 10, 1, 20), MOST);
    }

    #[test]
    fn a_slow_one_lets_in_as_many_as_wait_a_tolerable_time() {
        // 2 a millisecond: a thousand would take half a second.
        let limit = flooded(&mut knowing(1), ms(1), 10, 1, 2);
        assert!((150..=260).contains(&limit), "{limit}");
    }

    #[test]
    fn where_the_quickest_is_slow_a_queue_may_be_as_long_again() {
        let mut state = knowing(200);
        // 200 ms for a write alone; two a millisecond beyond that.
        let limit = flooded(&mut state, ms(1), 10, 200, 2);
        assert!((300..=600).contains(&limit), "{limit}");
    }

    #[test]
    fn a_moment_in_which_nothing_moves_shuts_nobody_out() {
        let mut state = knowing(1);
        for second in 1..60 {
            assert!(state.enter());
            state.done(Duration::from_secs(second), ms(900), MOST);
            state.under_way -= 1;
        }
        assert_eq!(state.limit, MOST);
    }

    #[test]
    fn once_it_is_quick_again_all_are_let_in() {
        let mut state = knowing(1);
        let slow = flooded(&mut state, ms(1), 5, 1, 1);
        assert!(slow < 200, "{slow}");
        assert_eq!(flooded(&mut state, Duration::from_secs(5), 5, 1, 100), MOST);
    }

    #[test]
    fn some_are_let_in_however_slow_they_are() {
        let mut state = knowing(1);
        // No queue at all, but a disk that takes a second.
        assert!(flooded(&mut state, ms(1), 60, 1_000, MOST) >= FEWEST);
    }
}
