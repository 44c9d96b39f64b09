//! Works on one claimed reply: asks the providers, stores what came of it.

use std::sync::Arc;

use super::{
    Engine,
    ask::{Asked, ask},
    hands::Pair,
    work::{Lost, Work},
};
use crate::{
    clock::Stopwatch,
    model::{ClaimedReply, Outcome},
    provider::routes::Entered,
    telemetry::{
        ids::Logged,
        metrics::ReplyEnd,
        traces::{self, Span},
    },
};

/// Works on a reply, whose place at the provider of its lane is taken already.
pub(super) async fn run(engine: Arc<Engine>, claimed: ClaimedReply, hands: Pair, place: Option<Entered>) {
    let span = engine.traces.reply(claimed.trace, claimed.attempts);
    traces::within(span.as_ref(), work(engine, claimed, hands, place, span.as_ref())).await;
}

async fn work(
    engine: Arc<Engine>,
    claimed: ClaimedReply,
    hands: Pair,
    place: Option<Entered>,
    span: Option<&Span>,
) {
    let watch = Stopwatch::start();
    let _in_progress = engine.metrics.begin();
    let Pair {
        at_provider,
        in_flight,
    } = hands;
    let (lease, attempts) = (claimed.lease, claimed.attempts);
    let running = engine.intake.enter(lease, attempts);
    let work = Work {
        engine: &engine,
        lease,
        attempts,
        owner: claimed.owner,
        running: &running,
    };
    let mut in_flight = Some(in_flight);
    let mut at_provider = Some(at_provider);
    let asked = ask(&work, claimed, place, || {
        // Providers that are somewhere else have places of their own.
        at_provider = None;
        in_flight = None;
    })
    .await;
    drop(at_provider);
    let asked = match asked {
        Err(Lost::Forced) => Ok(Asked::nobody(Outcome::Released)),
        asked => asked,
    };
    let finished = match asked {
        Ok(asked) => {
            let named = name(&asked.outcome);
            let finished = work.finish(asked.outcome, asked.told).await;
            finished.map(|()| (named, asked.provider))
        }
        Err(lost) => Err(lost),
    };
    let finished = match finished {
        Err(Lost::Lease) => Err(work.why_lease_was_lost().await),
        finished => finished,
    };
    let (end, code) = match &finished {
        Ok(((end, code), _)) => (*end, code.as_deref()),
        Err(Lost::CalledOff) => (ReplyEnd::CalledOff, None),
        Err(Lost::Lease | Lost::Forced | Lost::Unstorable) => (ReplyEnd::Discarded, None),
    };
    engine.metrics.ended(end, code, watch.elapsed());
    if let Some(span) = span {
        let provider = finished.as_ref().map_or("", |(_, provider)| provider);
        span.replied(end.name(), code, provider);
    }
    match &finished {
        Ok((_, provider)) => tracing::info!(
            conversation = %Logged(lease.conversation), outcome = end.name(), code, provider, attempts,
            duration_us = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX),
            "reply"
        ),
        Err(Lost::CalledOff) => {
            tracing::info!(conversation = %Logged(lease.conversation), attempts, "reply called off");
        }
        Err(Lost::Lease) => {
            tracing::warn!(conversation = %Logged(lease.conversation), attempts, "reply discarded: its lease was lost");
        }
        Err(Lost::Forced) => {
            tracing::warn!(conversation = %Logged(lease.conversation), attempts, "reply discarded: the process stops");
        }
        Err(Lost::Unstorable) => {
            tracing::warn!(conversation = %Logged(lease.conversation), attempts, "reply discarded: it cannot be stored");
        }
    }
    drop(in_flight);
}

/// What the outcome is called and, for a failure, its code.
fn name(outcome: &Outcome) -> (ReplyEnd, Option<String>) {
    match outcome {
        Outcome::Answered(_) => (ReplyEnd::Succeeded, None),
        Outcome::Failed(failure) => (ReplyEnd::Failed, Some(failure.code.clone())),
        Outcome::Retry { .. } => (ReplyEnd::Retry, None),
        Outcome::Postponed { .. } => (ReplyEnd::Postponed, None),
        Outcome::Released => (ReplyEnd::Released, None),
    }
}
