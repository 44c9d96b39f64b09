//! Stopping in order, and the only place that spawns tasks: whoever waits for the end waits for all of them.

use std::future::Future;

use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture},
    task::TaskTracker,
};

/// Shared by everything that has to stop: first softly (take nothing new), then hard (let go of what is left).
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Asks everybody to take nothing new and to finish what they have.
    pub fn begin(&self) {
        self.soft.cancel();
    }

    /// Asks everybody to let go of what they have.
    pub fn force(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Whether stopping has begun.
    pub fn has_begun(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Answers once stopping has begun.
    pub fn begun(&self) -> WaitForCancellationFuture<'_> {
        self.soft.cancelled()
    }

    /// Answers once it is time to let go.
    pub fn forced(&self) -> WaitForCancellationFuture<'_> {
        self.hard.cancelled()
    }

    /// Runs a task that [`Shutdown::finished`] waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // The handle is not needed: tasks report through logs and channels, and panics are theirs to catch.
        drop(self.tasks.spawn(task));
    }

    /// Answers once stopping has begun and every task has ended.
    pub async fn finished(&self) {
        self.soft.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}
