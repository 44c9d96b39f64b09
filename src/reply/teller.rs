//! Tells what is being written: in pieces that are stored before anybody sees them.

use std::time::Duration;

use super::work::{Lost, Work};
use crate::{
    clock::Stopwatch,
    model::{Draft, MessageText, Progress, Told},
};

/// The time between two commits of one reply's pieces: more often is more than a reader notices.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);

/// The draft of one answer, and how much of it was told.
pub(super) struct Teller<'a> {
    work: &'a Work<'a>,
    draft: Draft,
    /// Whether anything is told before the end.
    tells: bool,
    began: bool,
    /// Since pieces were last stored.
    stored: Option<Stopwatch>,
}

impl<'a> Teller<'a> {
    /// Tells of an answer piece by piece, or only at its end: who writes at once has nothing to tell in between.
    pub(super) fn new(work: &'a Work<'a>, tells: bool) -> Self {
        Self {
            work,
            draft: Draft::default(),
            tells,
            began: false,
            stored: None,
        }
    }

    /// Takes a piece; whether more of them can be taken.
    pub(super) fn push(&mut self, piece: &str) -> bool {
        self.draft.push(piece);
        !self.draft.is_cut()
    }

    /// How long until something is to be told; `None` when there is nothing.
    pub(super) fn due(&self) -> Option<Duration> {
        if !self.tells || (self.began && self.draft.waiting().is_empty()) {
            return None;
        }
        // The first piece waits for nobody.
        let since = self.stored.map_or(AT_MOST_EVERY, Stopwatch::elapsed);
        Some(AT_MOST_EVERY.saturating_sub(since))
    }

    /// Tells what waits.
    pub(super) async fn tell(&mut self) -> Result<(), Lost> {
        let mut progress = Vec::with_capacity(2);
        if !self.began {
            progress.push(Progress::Started {
                attempt: self.work.attempts,
            });
        }
        if !self.draft.waiting().is_empty() {
            progress.push(Progress::Delta(self.draft.take()));
            self.stored = Some(Stopwatch::start());
        }
        self.work.tell(progress).await?;
        self.began = true;
        Ok(())
    }

    /// How much was told.
    pub(super) fn told(&self) -> Told {
        Told {
            bytes: self.began.then(|| self.draft.taken()),
        }
    }

    /// The whole text, and whether it was cut at the limit; `None` when it is blank.
    pub(super) fn finish(self) -> (Option<MessageText>, bool) {
        let cut = self.draft.is_cut();
        (self.draft.finish(), cut)
    }
}
