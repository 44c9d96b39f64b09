//! Keeps the leases of this process alive and takes back those that others lost.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::Engine;

/// How often pieces are looked for that are old enough to be forgotten.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

pub(super) async fn run(engine: Arc<Engine>) {
    let mut heartbeats = interval(engine.settings.heartbeat);
    let mut sweeps = interval(engine.settings.sweep);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut prunings = interval(PRUNE_EVERY);
    prunings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let call_offs = engine.store.call_offs();
    loop {
        tokio::select! {
            // Running replies are drained after stopping has begun, and need their leases until then.
            () = engine.shutdown.forced() => return,
            () = drained(&engine) => return,
            _ = heartbeats.tick() => heartbeat(&engine).await,
            () = call_offs.notified() => heartbeat(&engine).await,
            _ = sweeps.tick() => sweep(&engine).await,
            _ = prunings.tick() => prune(&engine).await,
        }
    }
}

/// Answers once stopping has begun and nothing runs any more.
async fn drained(engine: &Engine) {
    engine.shutdown.begun().await;
    while !engine.intake.leases().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn heartbeat(engine: &Engine) {
    let leases = engine.intake.leases();
    if leases.is_empty() {
        return;
    }
    match engine
        .store
        .renew_leases(leases, engine.clock.now(), engine.settings.lease)
        .await
    {
        Ok(lost) => engine.intake.call_off_leases(&lost),
        Err(error) => tracing::warn!(%error, "renewing leases failed"),
    }
}

async fn sweep(engine: &Engine) {
    let settings = &engine.settings;
    match engine
        .store
        .sweep_replies(engine.clock.now(), settings.most_lost, settings.longest_pause)
        .await
    {
        Ok(swept) if swept.requeued + swept.failed > 0 => {
            engine.metrics.took_back(swept.requeued, swept.failed);
            tracing::warn!(
                requeued = swept.requeued,
                failed = swept.failed,
                "took back replies with lost leases"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "sweeping replies failed"),
    }
}

async fn prune(engine: &Engine) {
    let before = engine.clock.now().before(engine.settings.deltas_kept);
    loop {
        match engine.store.prune_deltas(before).await {
            Ok(0) => return,
            Ok(replies) => {
                engine.metrics.forgot_deltas(replies);
                tracing::debug!(replies, "forgot the pieces of old replies");
            }
            Err(error) => {
                tracing::warn!(%error, "forgetting the pieces of old replies failed");
                return;
            }
        }
        if engine.shutdown.has_begun() {
            return;
        }
    }
}
