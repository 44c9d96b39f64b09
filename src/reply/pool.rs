//! Claims what is due, as much as there are hands for, and starts it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::{Engine, run};

/// Replies whose answer is being stored do not count as being at the provider. This bounds both together, as a
/// multiple of the workers: several commits' worth, so that the queue drains as fast as the disk allows.
const IN_FLIGHT_PER_WORKER: usize = 4;

pub(super) async fn run(engine: Arc<Engine>) {
    let at_provider = Arc::new(Semaphore::new(engine.settings.workers));
    let in_flight = Arc::new(Semaphore::new(engine.settings.workers * IN_FLIGHT_PER_WORKER));
    // A wake-up that comes between a claim and the wait for it is kept, so none is missed.
    let wakeups = engine.store.wakeups();
    while let Some(hands) = free_hands(&engine, &at_provider, &in_flight).await {
        let wanted = hands.len();
        let now = engine.clock.now();
        let found = match engine
            .store
            .claim_replies(wanted, now, engine.settings.lease)
            .await
        {
            Ok(claimed) => {
                let found = claimed.len();
                for (claimed, hands) in claimed.into_iter().zip(hands) {
                    let engine_of_run = Arc::clone(&engine);
                    engine.shutdown.spawn(run::run(engine_of_run, claimed, hands));
                }
                found
            }
            Err(error) => {
                tracing::warn!(%error, "claiming replies failed");
                0
            }
        };
        if found < wanted {
            tokio::select! {
                () = wakeups.notified() => {}
                () = sleep(pause(&engine).await) => {}
                () = engine.shutdown.begun() => {}
            }
        }
    }
}

/// What a reply holds while it is worked on.
pub(super) struct Hands {
    /// Until the provider has answered.
    pub(super) at_provider: OwnedSemaphorePermit,
    /// Until the answer is stored.
    pub(super) in_flight: OwnedSemaphorePermit,
}

/// Waits for at least one pair of free hands and takes all there are; `None` once stopping has begun.
async fn free_hands(
    engine: &Engine,
    at_provider: &Arc<Semaphore>,
    in_flight: &Arc<Semaphore>,
) -> Option<Vec<Hands>> {
    let first = async {
        let at_provider = Arc::clone(at_provider).acquire_owned().await.ok()?;
        let in_flight = Arc::clone(in_flight).acquire_owned().await.ok()?;
        Some(Hands {
            at_provider,
            in_flight,
        })
    };
    let first = tokio::select! {
        biased;
        () = engine.shutdown.begun() => return None,
        first = first => first?,
    };
    let mut hands = vec![first];
    while let (Ok(at_provider), Ok(in_flight)) = (
        Arc::clone(at_provider).try_acquire_owned(),
        Arc::clone(in_flight).try_acquire_owned(),
    ) {
        hands.push(Hands {
            at_provider,
            in_flight,
        });
    }
    Some(hands)
}

/// Until the next reply is due, as far as the store knows, and never longer than a poll.
async fn pause(engine: &Engine) -> Duration {
    let poll = engine.settings.poll.mul_f64(0.75 + engine.ids.jitter() / 2.0);
    match engine.store.until_due(engine.clock.now()).await {
        // At least a moment, so that a store which shows replies but gives none is not asked in a circle.
        Ok(Some(due)) => due.clamp(Duration::from_millis(5), poll),
        Ok(None) => poll,
        Err(error) => {
            tracing::warn!(%error, "looking into the queue of replies failed");
            poll
        }
    }
}
