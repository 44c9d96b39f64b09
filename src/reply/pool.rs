//! Claims what is due, as much as there are hands and places at providers for, and starts it. What finds none stays in the
//! queue, where other nodes see it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::sleep};

use super::{Engine, hands::Pair, run};

/// How soon a claim may follow one that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

pub(super) async fn run(engine: Arc<Engine>) {
    // A wake-up that comes between a claim and the wait for it is kept, so none is missed.
    let wakeups = engine.store.wakeups();
    while let Some(hands) = free_hands(&engine).await {
        let wanted = hands.len();
        let now = engine.clock.now();
        let full = engine.providers.full();
        let mut room = engine.providers.room();
        // Usually none is left, and the claim has nothing to count.
        room.retain(|(_, places)| *places < wanted);
        let found = match engine
            .store
            .claim_replies(wanted, room, now, engine.settings.lease)
            .await
        {
            Ok(claimed) => {
                let found = claimed.len();
                for (claimed, hands) in claimed.into_iter().zip(hands) {
                    let lane = claimed.lane.as_deref();
                    // Here, so that the next claim knows what room there is.
                    let place = lane.and_then(|lane| engine.providers.try_enter(lane));
                    let engine_of_run = Arc::clone(&engine);
                    engine
                        .shutdown
                        .spawn(run::run(engine_of_run, claimed, hands, place));
                }
                found
            }
            Err(error) => {
                tracing::warn!(%error, "claiming replies failed");
                drop(hands);
                rest(&engine, &wakeups).await;
                continue;
            }
        };
        // Behind those of a provider that is full now, there may be others.
        if found < wanted && full == engine.providers.full() {
            tokio::select! {
                () = wakeups.notified() => {}
                () = engine.providers.freed().notified() => {}
                // Inside, because looking into a queue that is cut off takes long.
                () = async { sleep(pause(&engine).await).await } => {}
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

/// After a claim that failed: waits for a wake-up or the next poll, but never less than a moment. Wake-ups may come over
/// a connection that is well, as often as other nodes have reason for them.
async fn rest(engine: &Engine, wakeups: &Notify) {
    let come_round = async {
        sleep(AFTER_FAILURE).await;
        tokio::select! {
            () = wakeups.notified() => {}
            () = sleep(poll(engine)) => {}
        }
    };
    tokio::select! {
        () = come_round => {}
        () = engine.shutdown.begun() => {}
    }
}

fn poll(engine: &Engine) -> Duration {
    engine.settings.poll.mul_f64(0.75 + engine.ids.jitter() / 2.0)
}

/// Until the next reply is due, as far as the store knows, and never longer than a poll.
async fn pause(engine: &Engine) -> Duration {
    let poll = poll(engine);
    match engine
        .store
        .until_due(engine.providers.full(), engine.clock.now())
        .await
    {
        // At least a moment, so that a store which shows replies but gives none is not asked in a circle.
        Ok(Some(due)) => due.clamp(Duration::from_millis(5), poll),
        Ok(None) => poll,
        Err(error) => {
            tracing::warn!(%error, "looking into the queue of replies failed");
            poll
        }
    }
}
