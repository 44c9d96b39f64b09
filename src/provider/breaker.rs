//! Leaves a provider alone that fails again and again, so that it can recover and nobody waits in vain. It has recovered
//! as soon as a piece of an answer comes: the rest of it can take minutes.
//!
//! ```text
//! closed ──5 failures in a row──▶ open, 10 s ──then──▶ half open: one probe
//!    ▲                             ▲                      │     │
//!    │                             └─failure: twice, 60 s─┘     │
//!    └──────────────────first piece, or answer───────────────────┘
//! ```

mod state;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::mpsc;

use self::state::{Admission, Change, State};
use super::{Completion, Pieces, Prompt, Provider, Refusal};
use crate::{
    clock::Stopwatch,
    model::Failure,
    telemetry::metrics::{Breaking, ProviderMetrics, ProviderOutcome},
};

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

    /// It is there.
    fn answers(&self) {
        if self.judge(|state, _| state.answered()) == Change::Closed {
            tracing::info!(provider = self.name, "a provider answers again");
        }
    }

    fn fails(&self, admission: Admission) {
        if let Change::Opened(pause) = self.judge(|state, now| state.failed(admission, now)) {
            let seconds = pause.as_secs();
            tracing::warn!(
                provider = self.name,
                seconds,
                "a provider is left alone for a while"
            );
        }
    }

    /// Asks, and goes by the first piece.
    async fn probe(&self, prompt: &Prompt, pieces: Pieces) -> Result<Completion, Refusal> {
        let (passed_on, mut coming) = mpsc::channel(1);
        let pass_on = async {
            let mut is_first = true;
            while let Some(piece) = coming.recv().await {
                if std::mem::take(&mut is_first) {
                    self.answers();
                }
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            // The provider sends in vain from now on, and ends.
            drop(coming);
        };
        let (answer, ()) = tokio::join!(self.provider.answer(prompt, passed_on), pass_on);
        answer
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
        let unavailable = || {
            self.metrics.left_alone();
            Failure::new(
                "provider_unavailable",
                "The assistant is not available at the moment.",
            )
        };
        match admission {
            Admission::Wait(left) => {
                return Err(Refusal::Retry {
                    after: Some(left),
                    failure: unavailable(),
                });
            }
            Admission::IsProbed => {
                return Err(Refusal::Later {
                    after: PROBING,
                    failure: unavailable(),
                });
            }
            Admission::Call | Admission::Probe => {}
        }
        let mut call = Call {
            breaker: self,
            admission,
            watch: Stopwatch::start(),
            outcome: ProviderOutcome::CalledOff,
        };
        self.metrics.sent();
        let nobody_listens = pieces.clone();
        let answer = match admission {
            Admission::Probe => self.probe(prompt, pieces).await,
            _ => self.provider.answer(prompt, pieces).await,
        };
        if answer.is_ok() && nobody_listens.is_closed() {
            // The answer was given up, not given.
            return answer;
        }
        call.outcome = match &answer {
            Ok(_) => ProviderOutcome::Answered,
            Err(Refusal::Retry { .. } | Refusal::Later { .. }) => ProviderOutcome::Retry,
            Err(Refusal::TooLong(_)) => ProviderOutcome::TooLong,
            Err(Refusal::Fail(_)) => ProviderOutcome::Failed,
        };
        match &answer {
            Err(Refusal::Retry { .. } | Refusal::Later { .. }) => self.fails(admission),
            // Whoever refuses is there.
            Ok(_) | Err(Refusal::TooLong(_) | Refusal::Fail(_)) => self.answers(),
        }
        answer
    }

    fn wants(&self) -> usize {
        self.judge(|state, now| state.wants(now))
    }
}

#[cfg(test)]
mod tests {
    use super::{state::FIRST_PAUSE, *};
    use crate::{
        model::{MessageText, ReplyOptions},
        provider::{
            PIECES,
            scripted::{Scripted, Step},
        },
    };

    fn scripted(state: State, steps: impl IntoIterator<Item = Step>) -> Breaker<Scripted> {
        Breaker {
            state: Mutex::new(state),
            ..Breaker::new("scripted", Scripted::new(steps), ProviderMetrics::default())
        }
    }

    /// A pause that is over.
    const HALF_OPEN: State = State::Open {
        until: Duration::ZERO,
        pause: FIRST_PAUSE,
    };

    fn prompt() -> Prompt {
        Prompt {
            history: Vec::new(),
            text: MessageText::parse("Hello").unwrap(),
            model: String::new(),
            options: ReplyOptions::default(),
        }
    }

    async fn ask(breaker: &Breaker<Scripted>) -> Result<Completion, Refusal> {
        let (pieces, _coming) = mpsc::channel(PIECES);
        breaker.answer(&prompt(), pieces).await
    }

    #[tokio::test]
    async fn the_first_piece_of_the_probe_lets_the_others_in() {
        let pieces = Step::Pieces(vec!["one".to_owned(), "two".to_owned()]);
        let breaker = scripted(HALF_OPEN, [pieces]);
        let (sender, mut coming) = mpsc::channel(PIECES);
        let prompt = prompt();
        let probe = breaker.answer(&prompt, sender);
        let others = async {
            assert_eq!(coming.recv().await.as_deref(), Some("one"));
            let other = ask(&breaker).await;
            breaker.provider.release_times(2);
            let rest = coming.recv().await;
            assert_eq!((rest.as_deref(), coming.recv().await), (Some("two"), None));
            other
        };
        let (probe, other) = tokio::join!(probe, others);
        assert_eq!((probe.is_ok(), other.is_ok()), (true, true), "{other:?}");
    }

    #[tokio::test]
    async fn whoever_comes_before_that_is_told_to_come_later() {
        let breaker = scripted(HALF_OPEN, [Step::Hold("at last".to_owned())]);
        let others = async {
            let other = ask(&breaker).await;
            breaker.provider.release();
            other
        };
        let (probe, other) = tokio::join!(ask(&breaker), others);
        assert!(probe.is_ok(), "{probe:?}");
        assert!(
            matches!(other, Err(Refusal::Later { after: PROBING, .. })),
            "{other:?}"
        );
        assert_eq!(breaker.provider.calls(), 1, "it was not asked");
    }

    #[tokio::test]
    async fn a_probe_that_breaks_off_after_its_first_piece_is_one_failure() {
        let failure = Failure::new("incomplete_answer", "It broke off.");
        let after = None;
        let broken = Step::Break(vec!["one".to_owned()], Refusal::Retry { after, failure });
        let breaker = scripted(HALF_OPEN, [broken]);
        breaker.provider.release();
        let (sender, _coming) = mpsc::channel(PIECES);
        assert!(breaker.answer(&prompt(), sender).await.is_err());
        let state = *breaker.state.lock().unwrap();
        assert_eq!(state, State::Closed { failures: 1 });
    }
}
