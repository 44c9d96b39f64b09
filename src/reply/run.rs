//! Works on one claimed reply: asks the provider, stores what came of it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::sleep;

use super::{Engine, backoff, hands::Pair, intake::Running};
use crate::{
    clock::Stopwatch,
    model::{ClaimedReply, Failure, Finished, Lease, MessageText, Outcome},
    provider::{Prompt, Refusal},
    store,
    telemetry::ids::Logged,
};

pub(super) async fn run(engine: Arc<Engine>, claimed: ClaimedReply, hands: Pair) {
    let watch = Stopwatch::start();
    let Pair {
        at_provider,
        in_flight,
    } = hands;
    let (lease, attempts) = (claimed.lease, claimed.attempts);
    let running = engine.intake.enter(lease);
    let Some(outcome) = ask(&engine, claimed, &running).await else {
        tracing::info!(conversation = %Logged(lease.conversation), attempts, "reply called off");
        return;
    };
    drop(at_provider);
    let named = name(&outcome);
    match finish(&engine, lease, outcome, &running).await {
        Some(Finished::Stored) => tracing::info!(
            conversation = %Logged(lease.conversation), outcome = named.0, code = named.1, attempts,
            duration_us = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX),
            "reply"
        ),
        Some(Finished::LeaseLost) | None => {
            tracing::warn!(conversation = %Logged(lease.conversation), attempts, "reply discarded: its lease was lost");
        }
    }
    drop(in_flight);
}

/// Asks the provider; `None` when nobody wants the answer any more.
async fn ask(engine: &Engine, claimed: ClaimedReply, running: &Running) -> Option<Outcome> {
    let prompt = Prompt { text: claimed.prompt };
    let answer = AssertUnwindSafe(engine.provider.answer(&prompt)).catch_unwind();
    let answer = tokio::select! {
        biased;
        () = running.called_off() => return None,
        () = engine.shutdown.forced() => return Some(Outcome::Released),
        answer = answer => answer,
    };
    let now = engine.clock.now();
    Some(match answer {
        Ok(Ok(text)) => match MessageText::from_provider(&text) {
            Some((text, cut)) => {
                if cut {
                    tracing::warn!(conversation = %Logged(claimed.lease.conversation), "reply cut at the limit");
                }
                Outcome::Answered {
                    id: engine.ids.message(now),
                    text,
                }
            }
            None => Outcome::Failed(Failure::new(
                "empty_reply",
                "The assistant answered with an empty text.",
            )),
        },
        Ok(Err(Refusal::Fail(failure))) => Outcome::Failed(failure),
        Ok(Err(Refusal::Retry { failure, .. })) if claimed.retries >= engine.settings.most_retries => {
            Outcome::Failed(failure)
        }
        Ok(Err(Refusal::Retry { after, .. })) => {
            let pause = backoff::pause(&engine.settings, claimed.retries, after, engine.ids.jitter());
            Outcome::Retry { after: pause }
        }
        Err(_) => {
            tracing::error!(conversation = %Logged(claimed.lease.conversation), "the provider panicked");
            Outcome::Failed(Failure::new(
                "internal_error",
                "The assistant failed unexpectedly.",
            ))
        }
    })
}

/// Stores the outcome, again and again while the store is away: until then the lease keeps others off.
///
/// `None` when the reply was called off, or the process stops, before that succeeded.
async fn finish(engine: &Engine, lease: Lease, outcome: Outcome, running: &Running) -> Option<Finished> {
    let mut pause = Duration::from_millis(50);
    loop {
        match engine
            .store
            .finish_reply(lease, outcome.clone(), engine.clock.now())
            .await
        {
            Ok(finished) => return Some(finished),
            Err(error @ (store::Error::Unavailable(_) | store::Error::Full)) => {
                if let Some(unsaid) = engine.complaints.pass() {
                    tracing::warn!(%error, conversation = %Logged(lease.conversation), unsaid, "storing a reply failed, trying again");
                }
            }
            Err(error) => {
                tracing::error!(%error, conversation = %Logged(lease.conversation), "storing a reply failed");
                return None;
            }
        }
        tokio::select! {
            () = running.called_off() => return None,
            () = engine.shutdown.forced() => return None,
            () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(2)),
        }
    }
}

/// The outcome's name and, for a failure, its code.
fn name(outcome: &Outcome) -> (&'static str, Option<String>) {
    match outcome {
        Outcome::Answered { .. } => ("succeeded", None),
        Outcome::Failed(failure) => ("failed", Some(failure.code.clone())),
        Outcome::Retry { .. } => ("retry", None),
        Outcome::Released => ("released", None),
    }
}
