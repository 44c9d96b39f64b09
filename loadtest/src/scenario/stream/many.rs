//! Many replies at once: how late each token is, and what it costs to store them.

use super::talk::{self, Heard};
use super::{Settings, Stage, within};
use crate::client::Client;
use crate::histogram::Histogram;
use crate::report::{Report, mib, number, time};
use crate::stream::Line;
use crate::upstream::Plan;
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::time::sleep;

const STREAMS: u32 = 200;
const RATE: u64 = 50;
const TARGET: Duration = Duration::from_millis(250);
/// One commit of a reply's text in 50 ms.
const MOST_DELTAS: f64 = 20.0;

/// Measures it.
pub(super) fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let stage = Stage::start(settings, "stream-many")?;
    let lasting = settings.time * settings.rounds;
    let plan = Plan {
        rate: RATE,
        tokens: (lasting.as_secs_f64() * RATE as f64) as u64,
        wait_ms: 20,
    };
    // One after the other, so that their tokens are not due at the same moments.
    let apart = settings.warmup() / STREAMS;
    let limit = lasting + settings.warmup();
    eprintln!("     {STREAMS} streams of {} tokens, direct", plan.tokens);
    let before = stage.usage();
    let direct = Sum::of(within(limit, all(&stage, None, plan, apart))?);
    let (direct_usage, _) = stage.usage().since(&before);

    let mut client = Client::new(stage.server.addr)?;
    let conversations: Vec<String> = (0..STREAMS)
        .map(|index| client.conversation(&format!("Number {index}")))
        .collect::<Result<_>>()?;
    eprintln!(
        "     {STREAMS} streams of {} tokens, through the service",
        plan.tokens
    );
    let (before, commits) = (stage.usage(), stage.commits()?);
    let through = Sum::of(within(limit, all(&stage, Some(&conversations), plan, apart))?);
    let after = stage.usage();
    let commits = f64::from(stage.commits()?.wrapping_sub(commits));
    let (usage, cpu) = after.since(&before);
    let seconds = (after.at - before.at).as_secs_f64();

    report.row(
        &format!(
            "{STREAMS} replies streamed at once, {RATE} tokens/s each, for {} s: lag of a token, p99",
            number(lasting.as_secs_f64())
        ),
        "at most 250 ms",
        format!(
            "{} (median {}, max {}; direct {}, {}, {})",
            time(through.lag.p99()),
            time(through.lag.median()),
            time(through.lag.max()),
            time(direct.lag.p99()),
            time(direct.lag.median()),
            time(direct.lag.max())
        ),
        through.lag.p99() <= TARGET,
    );
    report.row(
        "… pieces stored of one reply (the reply with the most)",
        "at most one in 50 ms",
        format!(
            "{:.1} a second, {:.1} tokens each",
            through.most_deltas,
            through.tokens as f64 / through.deltas as f64
        ),
        through.most_deltas <= MOST_DELTAS,
    );
    report.row(
        "… commits, all replies together",
        "grouped across replies",
        format!(
            "{} a second for {} pieces a second ({:.1} a commit)",
            number(commits / seconds),
            number(through.deltas as f64 / seconds),
            through.deltas as f64 / commits.max(1.0)
        ),
        commits < through.deltas as f64,
    );
    report.row(
        "… processor time of the service",
        "",
        format!(
            "{:.1} µs a token, {:.2} % of a processor a stream",
            cpu.as_secs_f64() * 1e6 / through.tokens as f64,
            cpu.as_secs_f64() * 100.0 / seconds / f64::from(STREAMS)
        ),
        None,
    );
    report.remark(format!("{STREAMS} streams, direct: {direct_usage}"));
    report.remark(format!(
        "{STREAMS} streams, through the service: {usage}; first token p99 {}; {} tokens, each once and in order, and every stored text equal to its stream; VmHWM {}",
        time(through.first.p99()),
        number(through.tokens as f64),
        mib(stage.server.memory("VmHWM")?)
    ));
    Ok(())
}

/// Runs all streams: from the upstream itself, or in these conversations.
async fn all(
    stage: &Stage,
    conversations: Option<&[String]>,
    plan: Plan,
    apart: Duration,
) -> Result<Vec<Heard>> {
    let mut tasks = Vec::new();
    for index in 0..STREAMS {
        let (upstream, server) = (stage.upstream.addr, stage.server.addr);
        let conversation = conversations.and_then(|all| all.get(index as usize)).cloned();
        tasks.push(tokio::spawn(async move {
            sleep(apart * index).await;
            let Some(conversation) = conversation else {
                return talk::direct(&mut Line::new(upstream).await?, plan).await;
            };
            let mut line = Line::new(server).await?;
            // Half of them each way.
            let heard = if index % 2 == 0 {
                let mut events = Line::new(server).await?;
                talk::watch(&mut events, &conversation).await?;
                talk::by_events(&mut line, &mut events, &conversation, plan).await?
            } else {
                talk::by_reply(&mut line, &conversation, plan).await?
            };
            Ok(heard)
        }));
    }
    let mut heard = Vec::new();
    for (index, task) in tasks.into_iter().enumerate() {
        heard.push(task.await?.with_context(|| format!("stream {index}"))?);
    }
    if let Some(conversations) = conversations {
        let mut line = Line::new(stage.server.addr).await?;
        for (conversation, heard) in conversations.iter().zip(&heard) {
            talk::compare(&mut line, conversation, heard).await?;
        }
    }
    Ok(heard)
}

/// What all streams saw together.
#[derive(Default)]
struct Sum {
    lag: Histogram,
    first: Histogram,
    tokens: u64,
    deltas: u64,
    /// Of the stream with the most, a second.
    most_deltas: f64,
}

impl Sum {
    fn of(all: Vec<Heard>) -> Self {
        let mut sum = Self::default();
        for heard in all {
            sum.lag.merge(&heard.tokens.lag);
            sum.first.record(heard.first);
            sum.tokens += heard.tokens.count;
            sum.deltas += heard.deltas;
            // The last one comes with the end, whenever that is.
            let intervals = heard.deltas.saturating_sub(2) as f64;
            sum.most_deltas = sum
                .most_deltas
                .max(intervals / heard.span.as_secs_f64().max(1e-3));
        }
        sum
    }
}
