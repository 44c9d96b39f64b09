//! How many replies may be worked on at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Replies whose answer is being stored do not count as being at the provider. This bounds both together, as a
/// multiple of the workers: several commits' worth, so that the queue drains as fast as the disk allows.
const IN_FLIGHT_PER_WORKER: usize = 4;

/// All the hands there are.
pub(super) struct Hands {
    at_provider: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
}

/// What a reply holds while it is worked on.
pub(super) struct Pair {
    /// Until the provider has answered.
    pub(super) at_provider: OwnedSemaphorePermit,
    /// Until the answer is stored.
    pub(super) in_flight: OwnedSemaphorePermit,
}

impl Hands {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            at_provider: Arc::new(Semaphore::new(workers)),
            in_flight: Arc::new(Semaphore::new(workers * IN_FLIGHT_PER_WORKER)),
        }
    }

    /// Takes a pair if there is one, and nobody waits for it.
    pub(super) fn try_take(&self) -> Option<Pair> {
        Some(Pair {
            at_provider: Arc::clone(&self.at_provider).try_acquire_owned().ok()?,
            in_flight: Arc::clone(&self.in_flight).try_acquire_owned().ok()?,
        })
    }

    /// Waits for a pair; `None` never comes, as the semaphores are not closed.
    pub(super) async fn take(&self) -> Option<Pair> {
        Some(Pair {
            at_provider: Arc::clone(&self.at_provider).acquire_owned().await.ok()?,
            in_flight: Arc::clone(&self.in_flight).acquire_owned().await.ok()?,
        })
    }
}
