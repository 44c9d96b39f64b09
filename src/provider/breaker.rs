//! Leaves a provider alone that fails again and again, so that it can recover and nobody waits in vain.
//!
//! ```text
//! closed ──5 failures in a row──▶ open, 10 s ──then──▶ half open: one probe
//!    ▲                             ▲                      │     │
//!    │                             └─failure: twice, 60 s─┘     │
//!    └──────────────────────answer───────────────────────────────┘
//! ```

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{Completion, Pieces, Prompt, Provider, Refusal};
use crate::{
    clock::Stopwatch,
    model::Failure,
    telemetry::metrics::{Breaking, ProviderMetrics, ProviderOutcome},
};

/// After so many failures in a row it opens.
const MOST_FAILURES: u32 = 5;

/// For so long; twice as long after each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// While a probe is under way, the others are asked to come back after this.
const PROBING: Duration = Duration::from_secs(1);

/// A provider that is left alone while it fails.
pub(super) struct Breaker<P> {
    name: String,
    provider: P,
    since_start: Stopwatch,
    state: Mutex<State>,
    metrics: ProviderMetrics,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration, pause: Duration },
    Probing { pause: Duration },
}

/// What a failure or an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Opened(Duration),
    Closed,
}

/// Whether a call may be made, and whether it is the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Call,
    Probe,
    Wait(Duration),
}

impl State {
    fn admit(&mut self, now: Duration) -> Admission {
        match *self {
            Self::Closed { .. } => Admission::Call,
            Self::Open { until, .. } if now < until => Admission::Wait(until.saturating_sub(now)),
            Self::Open { pause, .. } => {
                *self = Self::Probing { pause };
                Admission::Probe
            }
            Self::Probing { .. } => Admission::Wait(PROBING),
        }
    }

    fn failed(&mut self, was: Admission, now: Duration) -> Change {
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

    fn answered(&mut self) -> Change {
        let before = std::mem::replace(self, Self::Closed { failures: 0 });
        match before {
            Self::Closed { .. } => Change::Nothing,
            Self::Open { .. } | Self::Probing { .. } => Change::Closed,
        }
    }

    /// A call ended without an outcome: somebody called it off.
    fn called_off(&mut self, was: Admission, now: Duration) {
        if let (Self::Probing { pause }, Admission::Probe) = (*self, was) {
            // The next one may be the probe.
            *self = Self::Open { until: now, pause };
        }
    }
}

impl<P: Provider> Breaker<P> {
    pub(super) fn new(name: &str, provider: P, metrics: ProviderMetrics) -> Self {
        Self {
            name: name.to_owned(),
            provider,
            since_start: Stopwatch::start(),
            state: Mutex::new(State::Closed { failures: 0 }),
            metrics,
        }
    }

    fn judge<T>(&self, judge: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = judge(&mut state, self.since_start.elapsed());
        self.metrics.breaks(match *state {
            State::Closed { .. } => Breaking::Closed,
            State::Open { .. } => Breaking::Open,
            State::Probing { .. } => Breaking::Probing,
        });
        judged
    }
}

/// Tells the breaker when a call is called off.
struct Call<'a, P: Provider> {
    breaker: &'a Breaker<P>,
    admission: Admission,
    watch: Stopwatch,
    /// As far as is known.
    outcome: ProviderOutcome,
}

impl<P: Provider> Drop for Call<'_, P> {
    fn drop(&mut self) {
        let metrics = &self.breaker.metrics;
        metrics.ended(self.outcome, self.watch.elapsed());
        if self.outcome == ProviderOutcome::CalledOff {
            self.breaker
                .judge(|state, now| state.called_off(self.admission, now));
        }
    }
}

#[async_trait]
impl<P: Provider> Provider for Breaker<P> {
    async fn answer(&self, prompt: &Prompt, pieces: Pieces) -> Result<Completion, Refusal> {
        let admission = self.judge(State::admit);
        if let Admission::Wait(left) = admission {
            self.metrics.left_alone();
            let failure = Failure::new(
                "provider_unavailable",
                "The assistant is not available at the moment.",
            );
            return Err(Refusal::Retry {
                after: Some(left),
                failure,
            });
        }
        let mut call = Call {
            breaker: self,
            admission,
            watch: Stopwatch::start(),
            outcome: ProviderOutcome::CalledOff,
        };
        self.metrics.sent();
        let nobody_listens = pieces.clone();
        let answer = self.provider.answer(prompt, pieces).await;
        if answer.is_ok() && nobody_listens.is_closed() {
            // The answer was given up, not given.
            return answer;
        }
        call.outcome = match &answer {
            Ok(_) => ProviderOutcome::Answered,
            Err(Refusal::Retry { .. }) => ProviderOutcome::Retry,
            Err(Refusal::TooLong(_)) => ProviderOutcome::TooLong,
            Err(Refusal::Fail(_)) => ProviderOutcome::Failed,
        };
        let change = match &answer {
            Err(Refusal::Retry { .. }) => self.judge(|state, now| state.failed(admission, now)),
            // Whoever refuses is there.
            Ok(_) | Err(Refusal::TooLong(_) | Refusal::Fail(_)) => self.judge(|state, _| state.answered()),
        };
        match change {
            Change::Nothing => {}
            Change::Opened(pause) => {
                let seconds = pause.as_secs();
                tracing::warn!(
                    provider = self.name,
                    seconds,
                    "a provider is left alone for a while"
                );
            }
            Change::Closed => tracing::info!(provider = self.name, "a provider answers again"),
        }
        answer
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
            assert_eq!(state.admit(now), Admission::Wait(PROBING), "one at a time");
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
            Admission::Wait(PROBING),
            "only the probe makes way"
        );
    }
}
