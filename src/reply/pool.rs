//! Claims what is due, as much as there are hands for, and starts it.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Engine, hands::Pair, run};

pub(super) async fn run(engine: Arc<Engine>) {
    // A wake-up that comes between a claim and the wait for it is kept, so none is missed.
    let wakeups = engine.store.wakeups();
    while let Some(hands) = free_hands(&engine).await {
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

/// Waits for at least one pair of free hands and takes all there are; `None` once stopping has begun.
async fn free_hands(engine: &Engine) -> Option<Vec<Pair>> {
    let first = tokio::select! {
        biased;
        () = engine.shutdown.begun() => return None,
        first = engine.hands.take() => first?,
    };
    let others = std::iter::from_fn(|| engine.hands.try_take());
    Some(std::iter::once(first).chain(others).collect())
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
