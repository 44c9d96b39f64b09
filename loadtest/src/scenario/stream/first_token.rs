//! The first token of a lone reply: how much later it comes through the service than from the upstream itself.

use super::{Settings, Stage, talk, within};
use crate::client::Client;
use crate::commit::BareCommit;
use crate::histogram::Histogram;
use crate::report::{Report, time};
use crate::stream::Line;
use crate::upstream::Plan;
use anyhow::Result;
use std::time::Duration;

const ROUNDS: u64 = 200;
/// Rounds before counting starts.
const WARMUP: u64 = 20;
const TARGET: Duration = Duration::from_millis(5);
const PLANS: [(&str, Plan); 2] = [
    ("an upstream that answers at once", plan(0)),
    ("an upstream that thinks for 20 ms", plan(20)),
];

const fn plan(wait_ms: u64) -> Plan {
    Plan {
        rate: 1000,
        tokens: 3,
        wait_ms,
    }
}

/// Measures it.
pub(super) fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let stage = Stage::start(settings, "stream-first")?;
    let mut commit = BareCommit::new(&stage.scratch.path().join("bare"))?;
    for (name, plan) in PLANS {
        let rounds = settings.lone.min(ROUNDS);
        let limit = plan.duration() * 3 * u32::try_from(rounds + WARMUP)?;
        let [direct, events, reply] = within(limit, rounds_of(&stage, plan, rounds))?;
        for (way, seen) in [
            ("`…/events`, open before", &events),
            ("`…/reply?stream=true`, opened after the 201", &reply),
        ] {
            let more = seen.median().saturating_sub(direct.median());
            report.row(
                &format!("first token of a lone streamed reply, {name}; {way}; median of {rounds}"),
                "within 5 ms of the upstream called directly",
                format!(
                    "{} more ({}, direct {})",
                    time(more),
                    time(seen.median()),
                    time(direct.median())
                ),
                more <= TARGET,
            );
        }
        // Some commits lie in the way: a slow disk shows in both.
        let commits = commit.measure(rounds, settings.time)?;
        report.remark(format!(
            "first token, {name}: p99 {} on `…/events`, {} on `…/reply`, {} direct; bare commit right after: median {}, p99 {}",
            time(events.p99()),
            time(reply.p99()),
            time(direct.p99()),
            time(commits.median()),
            time(commits.p99())
        ));
    }
    Ok(())
}

/// By turns: direct, through the events of the conversation, through the stream of the reply.
async fn rounds_of(stage: &Stage, plan: Plan, rounds: u64) -> Result<[Histogram; 3]> {
    let mut seen: [Histogram; 3] = Default::default();
    let mut client = Client::new(stage.server.addr)?;
    let mut upstream = Line::new(stage.upstream.addr).await?;
    let mut service = Line::new(stage.server.addr).await?;
    for round in 0..WARMUP + rounds {
        // A conversation for each, so that no history grows, and the stream opened before the watch runs.
        let (watched, asked) = (client.conversation("Watched")?, client.conversation("Asked")?);
        let mut events = Line::new(stage.server.addr).await?;
        talk::watch(&mut events, &watched).await?;
        let direct = talk::direct(&mut upstream, plan).await?;
        let by_events = talk::by_events(&mut service, &mut events, &watched, plan).await?;
        let by_reply = talk::by_reply(&mut service, &asked, plan).await?;
        talk::compare(&mut service, &watched, &by_events).await?;
        talk::compare(&mut service, &asked, &by_reply).await?;
        if round >= WARMUP {
            for (seen, heard) in seen.iter_mut().zip([direct, by_events, by_reply]) {
                seen.record(heard.first);
            }
        }
    }
    Ok(seen)
}
