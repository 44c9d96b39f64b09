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
    model::{ClaimedReply, Outcome, Told},
    telemetry::{
        ids::Logged,
        metrics::ReplyEnd,
        traces::{self, Span},
    },
};

pub(super) async fn run(engine: Arc<Engine>, claimed: ClaimedReply, hands: Pair) {
    let span = engine.traces.reply(claimed.trace, claimed.attempts);
    traces::within(span.as_ref(), work(engine, claimed, hands, span.as_ref())).await;
}

async fn work(engine: Arc<Engine>, claimed: ClaimedReply, hands: Pair, span: Option<&Span>) {
    let watch = Stopwatch::start();
    let _in_progress = engine.metrics.begin();
    let Pair {
        at_provider,
        in_flight,
    } = hands;
    let (lease, attempts) = (claimed.lease, claimed.attempts);
    let running = engine.intake.enter(lease);
    let work = Work {
        engine: &engine,
        lease,
        attempts,
        owner: claimed.owner,
        running: &running,
    };
    let mut in_flight = Some(in_flight);
    let is_remote = claimed.lane.is_some();
    let mut at_provider = Some(at_provider);
    let asked = ask(&work, claimed, || {
        // Providers that are somewhere else have places of their own.
        at_provider = None;
        in_flight = None;
    })
    .await;
    drop(at_provider);
    let asked = match asked {
        Err(Lost::Forced) => Ok(Asked {
            outcome: Outcome::Released,
            told: Told::default(),
            provider: String::new(),
        }),
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
        Err(Lost::Lease | Lost::Forced | Lost::Unstorable) => {
            tracing::warn!(conversation = %Logged(lease.conversation), attempts, "reply discarded: its lease was lost");
        }
    }
    drop(in_flight);
    if is_remote {
        engine.providers.freed().notify_one();
    }
}

/// What the outcome is called and, for a failure, its code.
fn name(outcome: &Outcome) -> (ReplyEnd, Option<String>) {
    match outcome {
        Outcome::Answered(_) => (ReplyEnd::Succeeded, None),
        Outcome::Failed(failure) => (ReplyEnd::Failed, Some(failure.code.clone())),
        Outcome::Retry { .. } => (ReplyEnd::Retry, None),
        Outcome::Released => (ReplyEnd::Released, None),
    }
}
