//! Tries inputs until one shows something wrong: seeds first, then what chance makes of them. A search goes on until its time
//! is over, and what takes an edge of the code that nothing took before becomes a seed itself; a check is the same each time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    coverage::{self, Map},
    mutate::{Chance, mutate},
};

/// Tries one input; what is wrong, if something is.
pub type Trial = Box<dyn FnMut(&[u8]) -> Result<(), String>>;

/// Called with each input before it is tried.
pub type Before = Box<dyn FnMut(&[u8])>;

/// How long a trial may take before the whole program is held to hang.
const STUCK: Duration = Duration::from_mins(1);

/// How many trials a failing input is made smaller with.
const SHRINKING: usize = 2_000;
const SHRINKING_TIME: Duration = Duration::from_secs(10);

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// After this time.
    pub time: Duration,
    /// After so many trials.
    pub trials: u64,
}

/// What came of it, if nothing was wrong.
#[derive(Debug, Default)]
pub struct Summary {
    /// Inputs that were tried.
    pub trials: u64,
    /// Edges that a search took.
    pub edges: usize,
    /// Inputs that took one first, beyond those that were given.
    pub found: Vec<Vec<u8>>,
}

/// An input with which something is wrong.
#[derive(Debug)]
pub struct Failure {
    /// As small as it could be made in a short time.
    pub input: Vec<u8>,
    /// What is wrong.
    pub reason: String,
}

/// Runs a target.
pub struct Engine<'a> {
    trial: Trial,
    words: &'a [&'a str],
    map: Map,
    /// If the process dies of an input, somebody has to know it.
    before: Before,
}

impl<'a> Engine<'a> {
    /// For this trial, with words that chance would take long to find.
    pub fn new(trial: Trial, words: &'a [&'a str], before: Before) -> Self {
        panics::listen();
        Self {
            trial,
            words,
            map: Map::default(),
            before,
        }
    }

    /// Tries these and nothing else.
    pub fn replay(&mut self, inputs: &[Vec<u8>]) -> Result<(), Failure> {
        for input in inputs {
            self.judge(input)?;
            self.map.take();
        }
        Ok(())
    }

    /// Tries these, then as many that chance makes of them as there are to be trials. What is tried depends on nothing that
    /// happens, so it is the same each time and everywhere. The time is for a machine on which it does not end.
    pub fn check(&mut self, seeds: &[Vec<u8>], seed: u64, limits: Limits) -> Result<Summary, Failure> {
        let start = Instant::now();
        let mut chance = Chance::new(seed);
        self.replay(seeds)?;
        let mut trials = seeds.len() as u64;
        while trials < limits.trials && start.elapsed() < limits.time {
            let input = changed(&mut chance, seeds, seeds, self.words);
            self.judge(&input)?;
            trials += 1;
        }
        Ok(Summary {
            trials,
            ..Summary::default()
        })
    }

    /// Tries these and what becomes of them.
    pub fn search(&mut self, seeds: &[Vec<u8>], seed: u64, limits: Limits) -> Result<Summary, Failure> {
        /// Of the newest inputs, one is taken every other time: they are the least explored.
        const NEWEST: usize = 16;
        let start = Instant::now();
        let mut chance = Chance::new(seed);
        let mut pool = seeds.to_vec();
        if pool.is_empty() {
            pool.push(Vec::new());
        }
        self.replay(&pool)?;
        let given = pool.len();
        let mut trials = given as u64;
        while trials < limits.trials && start.elapsed() < limits.time {
            let from = if chance.below(2) == 0 {
                0
            } else {
                pool.len().saturating_sub(NEWEST)
            };
            let input = changed(&mut chance, &pool[from..], &pool, self.words);
            self.judge(&input)?;
            trials += 1;
            if self.map.take() {
                pool.push(input);
            }
        }
        Ok(Summary {
            trials,
            edges: self.map.edges(),
            found: pool.split_off(given),
        })
    }

    fn judge(&mut self, input: &[u8]) -> Result<(), Failure> {
        (self.before)(input);
        self.attempt(input).map_err(|reason| self.shrink(input, reason))
    }

    fn attempt(&mut self, input: &[u8]) -> Result<(), String> {
        watch::progress();
        // What chance did to the input is not what the input does.
        coverage::forget();
        let ended = catch_unwind(AssertUnwindSafe(|| (self.trial)(input)));
        // Also one that was caught inside, and became an answer.
        match (panics::take(), ended) {
            (Some(panic), _) => Err(format!("a panic: {panic}")),
            (None, Ok(judged)) => judged,
            (None, Err(_)) => Err("a panic without a word".to_owned()),
        }
    }

    /// Leaves parts out for as long as anything is wrong with what is left.
    fn shrink(&mut self, input: &[u8], reason: String) -> Failure {
        let start = Instant::now();
        let mut failure = Failure {
            input: input.to_vec(),
            reason,
        };
        let (mut part, mut trials) = (input.len() / 2, 0);
        while part > 0 {
            let mut at = 0;
            while at < failure.input.len() && trials < SHRINKING && start.elapsed() < SHRINKING_TIME {
                let end = (at + part).min(failure.input.len());
                let shorter = [&failure.input[..at], &failure.input[end..]].concat();
                trials += 1;
                match self.attempt(&shorter) {
                    Err(reason) => {
                        failure = Failure {
                            input: shorter,
                            reason,
                        }
                    }
                    Ok(()) => at = end,
                }
            }
            part /= 2;
        }
        failure
    }
}

/// What chance makes of one of these; parts of the others may come in.
fn changed(chance: &mut Chance, these: &[Vec<u8>], others: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut input = chance.pick(these).cloned().unwrap_or_default();
    let other = chance.pick(others).map_or(&[][..], Vec::as_slice);
    mutate(chance, &mut input, other, words);
    input
}

/// What panics say, wherever they are caught.
mod panics {
    use super::{Mutex, PoisonError};

    static LAST: Mutex<Option<String>> = Mutex::new(None);

    pub(super) fn listen() {
        std::panic::set_hook(Box::new(|panic| {
            if cfg!(test) {
                eprintln!("{panic}");
            }
            *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic.to_string());
        }));
    }

    pub(super) fn take() -> Option<String> {
        LAST.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Ends the process when nothing goes on any more: a loop without end cannot be left from within.
pub mod watch {
    use super::{AtomicU64, Instant, Ordering, STUCK, thread};

    static TRIALS: AtomicU64 = AtomicU64::new(0);

    pub(super) fn progress() {
        TRIALS.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on.
    pub fn begin() {
        thread::spawn(|| {
            let (mut seen, mut since) = (0, Instant::now());
            loop {
                thread::sleep(STUCK / 60);
                let now = TRIALS.load(Ordering::Relaxed);
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() > STUCK {
                    eprintln!("nothing has happened for {STUCK:?}: an input hangs");
                    std::process::abort();
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A parser with a mistake that takes four right letters, one after the other, to be met.
    #[expect(clippy::unnecessary_wraps, reason = "it is a trial")]
    fn wrong_parser(input: &[u8]) -> Result<(), String> {
        if input.first() == Some(&b'k')
            && input.get(1) == Some(&b'e')
            && input.get(2) == Some(&b'y')
            && input.get(3) == Some(&b'_')
        {
            panic!("a mistake");
        }
        Ok(())
    }

    fn engine(trial: fn(&[u8]) -> Result<(), String>) -> Engine<'static> {
        Engine::new(Box::new(trial), &[], Box::new(|_| {}))
    }

    const SHORT: Limits = Limits {
        // The trials are the bound. This is for a machine that does not get through them.
        time: Duration::from_mins(5),
        trials: 3_000_000,
    };

    #[test]
    fn control_a_mistake_behind_four_letters_is_found_and_made_small() {
        assert!(
            Map::possible() > 0,
            "compiled without counters: run cargo in this folder"
        );
        let failure = engine(wrong_parser)
            .search(&[b"something else".to_vec()], 1, SHORT)
            .expect_err("a failure");
        assert_eq!(failure.input, b"key_");
        assert!(failure.reason.contains("a mistake"), "{}", failure.reason);
    }

    #[test]
    fn control_a_panic_that_somebody_catches_is_seen() {
        #[expect(clippy::unnecessary_wraps, reason = "it is a trial")]
        fn catching(input: &[u8]) -> Result<(), String> {
            let _ = catch_unwind(|| assert_ne!(input.len(), 3, "three"));
            Ok(())
        }
        let failure = engine(catching)
            .search(&[b"ab".to_vec()], 1, SHORT)
            .expect_err("a failure");
        assert_eq!(failure.input.len(), 3);
    }

    #[test]
    fn a_check_tries_the_same_each_time_whatever_happens() {
        let tried = |takes_branches: bool| {
            let tried = Arc::new(Mutex::new(Vec::new()));
            let into = tried.clone();
            let trial = move |input: &[u8]| {
                into.lock().expect("a list").push(input.to_vec());
                if takes_branches {
                    let _ = serde_json::from_slice::<serde_json::Value>(input);
                }
                Ok(())
            };
            let limits = Limits {
                trials: 1_000,
                ..SHORT
            };
            let seeds = [b"{\"a\": 1}".to_vec(), b"[2]".to_vec()];
            let mut engine = Engine::new(Box::new(trial), &[], Box::new(|_| {}));
            let summary = engine.check(&seeds, 1, limits).expect("no failure");
            assert_eq!(summary.trials, 1_000);
            std::mem::take(&mut *tried.lock().expect("a list"))
        };
        let (plain, other) = (tried(false), tried(true));
        assert_eq!(plain[1], b"[2]");
        assert_eq!(plain, other);
    }

    #[test]
    fn control_a_check_finds_a_mistake_that_is_near_a_seed() {
        let failure = engine(wrong_parser)
            .check(&[b"kex_".to_vec()], 1, SHORT)
            .expect_err("a failure");
        assert_eq!(failure.input, b"key_");
    }

    #[test]
    fn nothing_is_found_where_nothing_is_wrong() {
        let few = Limits {
            trials: 1_000,
            ..SHORT
        };
        let summary = engine(|_| Ok(())).search(&[], 1, few).expect("no failure");
        assert_eq!(summary.trials, 1_000);
    }
}
