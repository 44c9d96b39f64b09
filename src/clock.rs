//! The only place that reads a clock. Everything else is told what time it is.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::model::Timestamp;

/// Tells the time: the system's, or a test's.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicI64>),
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::set`] moves it.
    pub fn manual(now: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(now.as_micros()))))
    }

    /// Moves a manual clock, in either direction; the system's clock is nobody's to move.
    pub fn set(&self, now: Timestamp) {
        if let Source::Manual(micros) = &self.0 {
            micros.store(now.as_micros(), Ordering::SeqCst);
        }
    }

    /// The present, in UTC.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
            }
            Source::Manual(micros) => Timestamp::from_micros(micros.load(Ordering::SeqCst)),
        }
    }
}

/// Measures how long something takes, unmoved by changes of the clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Lets the first of many through, and then one in a while.
#[derive(Debug)]
pub struct Seldom {
    pause: Duration,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    passed: Option<Stopwatch>,
    held_back: u64,
}

impl Seldom {
    /// Lets one through in this time.
    pub fn every(pause: Duration) -> Self {
        let last = Mutex::default();
        Self { pause, last }
    }

    /// Asks to pass. Those who may are told how many were held back since the last.
    pub fn pass(&self) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.passed.is_some_and(|passed| passed.elapsed() < self.pause) {
            last.held_back += 1;
            return None;
        }
        last.passed = Some(Stopwatch::start());
        Some(std::mem::take(&mut last.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_and_those_held_back_are_counted() {
        let seldom = Seldom::every(Duration::from_millis(50));
        let first = Stopwatch::start();
        assert_eq!(seldom.pass(), Some(0));
        let mut held_back = 0;
        let told = loop {
            match seldom.pass() {
                Some(told) => break told,
                None => held_back += 1,
            }
        };
        assert!(first.elapsed() >= Duration::from_millis(50));
        assert!(held_back > 0);
        assert_eq!(told, held_back);
    }
}
