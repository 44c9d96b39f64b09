//! Forgets the pieces in which old replies were told. A backlog of them takes long, so no lease waits for it.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::Engine;

/// How often pieces are looked for that are old enough to be forgotten.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

pub(super) async fn run(engine: Arc<Engine>) {
    let mut prunings = interval(PRUNE_EVERY);
    prunings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = engine.shutdown.begun() => return,
            _ = prunings.tick() => prune(&engine).await,
        }
    }
}

async fn prune(engine: &Engine) {
    let before = engine.clock.now().before(engine.settings.deltas_kept);
    while !engine.shutdown.has_begun() {
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
    }
}
