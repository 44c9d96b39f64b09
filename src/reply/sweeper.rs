//! Keeps the leases of this process alive and takes back those that others lost.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::Engine;

pub(super) async fn run(engine: Arc<Engine>) {
    let mut heartbeats = interval(engine.settings.heartbeat);
    let mut sweeps = interval(engine.settings.sweep);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let call_offs = engine.store.call_offs();
    loop {
        tokio::select! {
            // Running replies are drained after stopping has begun, and need their leases until then.
            () = engine.shutdown.forced() => return,
            () = drained(&engine) => return,
            _ = heartbeats.tick() => { heartbeat(&engine).await; }
            () = call_offs.notified() => { heartbeat(&engine).await; }
            _ = sweeps.tick() => sweep(&engine).await,
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

/// Renews the leases that are held; whether that could be done.
async fn heartbeat(engine: &Engine) -> bool {
    let leases = engine.intake.leases();
    if leases.is_empty() {
        return true;
    }
    match engine
        .store
        .renew_leases(leases, engine.clock.now(), engine.settings.lease)
        .await
    {
        Ok(lost) => {
            engine.intake.lose_leases(&lost);
            true
        }
        Err(error) => {
            tracing::warn!(%error, "renewing leases failed");
            false
        }
    }
}

/// Takes back what others lost. Our own leases are renewed first, and judged by the time before that: if this process
/// stood still, or its clock leapt, they look as if nobody worked on them any more.
async fn sweep(engine: &Engine) {
    let settings = &engine.settings;
    let now = engine.clock.now();
    if !heartbeat(engine).await {
        return;
    }
    match engine
        .store
        .sweep_replies(now, settings.most_lost, settings.longest_pause)
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
