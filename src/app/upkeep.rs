//! What is done now and then, whoever asks for it or nobody.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::{reply::Parts, shutdown::Shutdown};

/// How soon all nodes know what owners have spent.
const SHARE_EVERY: Duration = Duration::from_secs(5);

/// How often requests are looked for that are old enough to be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(20);

/// Keeps house until the service stops. Requests are remembered for as long as `requests_kept`.
pub(super) async fn run(parts: Parts, requests_kept: Duration, shutdown: Shutdown) {
    let (mut shares, mut forgettings) = (interval(SHARE_EVERY), interval(FORGET_EVERY));
    for ticks in [&mut shares, &mut forgettings] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            _ = shares.tick() => share(&parts).await,
            _ = forgettings.tick() => forget(&parts, requests_kept, &shutdown).await,
        }
    }
}

/// Tells the store what owners have spent here. What cannot be told is told later.
pub(super) async fn share(parts: &Parts) {
    let shared = parts.spending.share(parts.store.as_ref(), parts.clock.now());
    if let Err(error) = shared.await {
        tracing::warn!(%error, "counting what keys spend failed");
    }
}

async fn forget(parts: &Parts, kept: Duration, shutdown: &Shutdown) {
    let before = parts.clock.now().before(kept);
    while !shutdown.has_begun() {
        match parts.store.forget_requests(before).await {
            Ok(0) => return,
            Ok(requests) => {
                parts.metrics.forgot_requests(requests);
                tracing::debug!(requests, "forgot requests that were remembered");
            }
            Err(error) => {
                tracing::warn!(%error, "forgetting requests failed");
                return;
            }
        }
    }
}
