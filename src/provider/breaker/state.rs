//! Whether a provider is asked: what its failures and answers come to.

use std::time::Duration;

/// After so many failures in a row it opens.
const MOST_FAILURES: u32 = 5;

/// For so long; twice as long after each probe that fails.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Closed { failures: u32 },
    Open { until: Duration, pause: Duration },
    Probing { pause: Duration },
}

/// What a failure or an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Opened(Duration),
    Closed,
}

/// Whether a call may be made, and whether it is the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Call,
    Probe,
    /// It is left alone for so long.
    Wait(Duration),
    /// Another call is the probe.
    IsProbed,
}

impl State {
    pub(super) fn admit(&mut self, now: Duration) -> Admission {
        match *self {
            Self::Closed { .. } => Admission::Call,
            Self::Open { until, .. } if now < until => Admission::Wait(until.saturating_sub(now)),
            Self::Open { pause, .. } => {
                *self = Self::Probing { pause };
                Admission::Probe
            }
            Self::Probing { .. } => Admission::IsProbed,
        }
    }

    /// While it is tried, nobody else needs to come.
    pub(super) fn wants(self, now: Duration) -> usize {
        match self {
            Self::Closed { .. } => usize::MAX,
            // Whoever comes learns how long that lasts.
            Self::Open { until, .. } if now < until => usize::MAX,
            Self::Open { .. } => 1,
            Self::Probing { .. } => 0,
        }
    }

    pub(super) fn failed(&mut self, was: Admission, now: Duration) -> Change {
        let pause = match (*self, was) {
            (Self::Closed { failures }, _) if failures + 1 < MOST_FAILURES => {
                *self = Self::Closed {
                    failures: failures + 1,
                };
                return Change::Nothing;
            }
            (Self::Closed { .. }, _) => FIRST_PAUSE,
            (Self::Probing { pause }, Admission::Probe) => (pause * 2).min(LONGEST_PAUSE),
            // A call that was begun before it opened.
            _ => return Change::Nothing,
        };
        *self = Self::Open {
            until: now + pause,
            pause,
        };
        Change::Opened(pause)
    }

    pub(super) fn answered(&mut self) -> Change {
        let before = std::mem::replace(self, Self::Closed { failures: 0 });
        match before {
            Self::Closed { .. } => Change::Nothing,
            Self::Open { .. } | Self::Probing { .. } => Change::Closed,
        }
    }

    /// A call ended without an outcome: somebody called it off.
    pub(super) fn called_off(&mut self, was: Admission, now: Duration) {
        if let (Self::Probing { pause }, Admission::Probe) = (*self, was) {
            // The next one may be the probe.
            *self = Self::Open { until: now, pause };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fail(state: &mut State, times: u32, now: Duration) -> Change {
        let mut change = Change::Nothing;
        for _ in 0..times {
            let admission = state.admit(now);
            change = state.failed(admission, now);
        }
        change
    }

    #[test]
    fn it_opens_after_five_failures_in_a_row_and_not_before() {
        let mut state = State::Closed { failures: 0 };
        assert_eq!(fail(&mut state, 4, at(0)), Change::Nothing);
        assert_eq!(state.answered(), Change::Nothing);
        assert_eq!(fail(&mut state, 4, at(0)), Change::Nothing);
        assert_eq!(fail(&mut state, 1, at(0)), Change::Opened(at(10)));
        assert_eq!(state.admit(at(3)), Admission::Wait(at(7)));
    }

    #[test]
    fn one_probe_decides_and_each_that_fails_doubles_the_pause() {
        let mut state = State::Closed { failures: 0 };
        fail(&mut state, 5, at(0));
        let mut now = at(10);
        for pause in [20, 40, 60, 60] {
            assert_eq!(state.admit(now), Admission::Probe);
            assert_eq!(state.admit(now), Admission::IsProbed, "one at a time");
            assert_eq!(state.failed(Admission::Probe, now), Change::Opened(at(pause)));
            now += at(pause);
        }
        assert_eq!(state.admit(now), Admission::Probe);
        assert_eq!(state.answered(), Change::Closed);
        assert_eq!(state.admit(now), Admission::Call);
        assert_eq!(
            fail(&mut state, 5, now),
            Change::Opened(at(10)),
            "all is forgotten"
        );
    }

    #[test]
    fn nobody_but_the_probe_is_wanted_while_it_is_tried() {
        let mut state = State::Closed { failures: 0 };
        assert_eq!(state.wants(at(0)), usize::MAX);
        fail(&mut state, 5, at(0));
        assert_eq!(state.wants(at(9)), usize::MAX);
        assert_eq!(state.wants(at(10)), 1);
        state.admit(at(10));
        assert_eq!(state.wants(at(10)), 0);
        state.answered();
        assert_eq!(state.wants(at(10)), usize::MAX);
    }

    #[test]
    fn calls_from_before_it_opened_do_not_prolong_the_pause() {
        let mut state = State::Closed { failures: 0 };
        fail(&mut state, 5, at(0));
        assert_eq!(state.failed(Admission::Call, at(9)), Change::Nothing);
        assert_eq!(state.admit(at(10)), Admission::Probe);
        assert_eq!(state.failed(Admission::Call, at(11)), Change::Nothing);
        assert_eq!(state.answered(), Change::Closed);
    }

    #[test]
    fn a_probe_that_is_called_off_makes_way_for_the_next() {
        let mut state = State::Closed { failures: 0 };
        fail(&mut state, 5, at(0));
        assert_eq!(state.admit(at(10)), Admission::Probe);
        state.called_off(Admission::Probe, at(10));
        assert_eq!(state.admit(at(10)), Admission::Probe);
        state.called_off(Admission::Call, at(10));
        assert_eq!(
            state.admit(at(10)),
            Admission::IsProbed,
            "only the probe makes way"
        );
    }
}
