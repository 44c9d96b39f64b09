//! Requests that may come again: what is remembered of one is stored together with what it does.

use std::fmt;

use uuid::Uuid;

use crate::model::Timestamp;

/// Who asked under which key, and what for. Both are digests: neither the key nor what was asked is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Of whose the request is and the key that it came under.
    pub id: Uuid,
    /// Of what it says. The same key with another one is a mistake.
    pub fingerprint: Uuid,
}

/// A write that happens once, however often it is asked for.
pub struct Once<T> {
    mark: Mark,
    now: Timestamp,
    forgotten: Timestamp,
    answer: Box<dyn Fn(&T) -> String + Send + Sync>,
}

impl<T> Once<T> {
    /// A write under this mark. `answer` says what is to be remembered of its outcome; it must not block, and may be asked
    /// again when the outcome is another in the end. What was remembered before `forgotten` counts no more.
    pub fn new(
        mark: Mark,
        now: Timestamp,
        forgotten: Timestamp,
        answer: impl Fn(&T) -> String + Send + Sync + 'static,
    ) -> Self {
        Self {
            mark,
            now,
            forgotten,
            answer: Box::new(answer),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// What was remembered before counts no more.
    pub(super) fn forgotten(&self) -> Timestamp {
        self.forgotten
    }

    /// The record of this outcome, to be stored in the same breath.
    pub(super) fn record(&self, outcome: &T) -> Record {
        Record {
            mark: self.mark,
            created: self.now,
            forgotten: self.forgotten,
            answer: (self.answer)(outcome),
        }
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

/// What is stored of a request that was carried out.
pub(super) struct Record {
    pub(super) mark: Mark,
    pub(super) created: Timestamp,
    /// An older record under the same mark makes room.
    pub(super) forgotten: Timestamp,
    pub(super) answer: String,
}

/// What is remembered of a request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// What it said.
    pub fingerprint: Uuid,
    /// What was answered, as whoever asked wrote it down.
    pub answer: String,
}
