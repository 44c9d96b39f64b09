//! What callers ask the writing thread for.

use tokio::sync::oneshot;

use super::writer::Tx;
use crate::store::{Error, Result};

/// What waits in the queue.
pub(super) trait Request: Send {
    /// Writes. An error means that nothing of it may stay.
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), &Error>;
    /// Replaces what `run` came to, because its transaction failed.
    fn fail(&mut self, error: Error);
    /// Answers the caller; whether the thread is to go on.
    fn answer(self: Box<Self>) -> Next;
}

/// What the thread does after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Stop,
}

/// A write, and who waits for what comes of it.
pub(super) struct Call<T, F> {
    pub(super) write: Option<F>,
    pub(super) outcome: Result<T>,
    pub(super) answer: oneshot::Sender<Result<T>>,
}

impl<T, F> Request for Call<T, F>
where
    T: Send,
    F: FnOnce(&Tx<'_>) -> Result<T> + Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), &Error> {
        if let Some(write) = self.write.take() {
            self.outcome = write(tx);
        }
        self.outcome.as_ref().map(|_| ())
    }

    fn fail(&mut self, error: Error) {
        self.outcome = Err(error);
    }

    fn answer(self: Box<Self>) -> Next {
        // Nobody may be waiting any more; what was written stays written.
        let _ = self.answer.send(self.outcome);
        Next::GoOn
    }
}

/// The wish to close the database once everything in front of it is written.
pub(super) struct Close {
    pub(super) answer: oneshot::Sender<()>,
}

impl Request for Close {
    fn run(&mut self, _: &Tx<'_>) -> Result<(), &Error> {
        Ok(())
    }

    fn fail(&mut self, _: Error) {}

    fn answer(self: Box<Self>) -> Next {
        // Nobody may be waiting any more; the database is closed all the same.
        let _ = self.answer.send(());
        Next::Stop
    }
}
