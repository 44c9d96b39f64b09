//! Those who listen and hear nothing: what each of them costs in memory, and what they cost the one who hears something.

use super::{Settings, Stage, talk, within};
use crate::client::{Client, sentence};
use crate::report::{Report, mib, number, time};
use crate::stream::Line;
use crate::upstream::Plan;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const SIZES: [usize; 2] = [1000, 4000];
const KIB: f64 = 1024.0;
const MOST_KIB: f64 = 32.0;

/// Measures it.
pub(super) fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let stage = Stage::start(settings, "stream-idle")?;
    let mut client = Client::new(stage.server.addr)?;
    let mut conversations = Vec::new();
    for index in 0..SIZES.into_iter().max().unwrap_or_default() {
        let id = client.conversation(&format!("Number {index}"))?;
        client.fill(&id, 1)?;
        conversations.push((id, sentence(0)));
    }
    within(
        settings.time * 30,
        subscribe(settings, report, &stage, &conversations),
    )
}

async fn subscribe(
    settings: &Settings,
    report: &mut Report,
    stage: &Stage,
    conversations: &[(String, String)],
) -> Result<()> {
    sleep(settings.time).await;
    let before = stage.server.memory("VmRSS")?;
    let mut lines: Vec<Line> = Vec::new();
    for size in SIZES {
        for (conversation, text) in &conversations[lines.len()..size] {
            let mut line = Line::new(stage.server.addr).await?;
            talk::watch(&mut line, conversation).await?;
            // Each has heard something before it falls silent.
            let frame = line.next().await?.context("no event")?;
            if !frame.data.contains(text) {
                bail!("not the message that is there: {}", frame.data);
            }
            lines.push(line);
        }
        // By default longer than the time between two heartbeats.
        sleep(settings.time * 4).await;
        let grown = stage.server.memory("VmRSS")?.saturating_sub(before);
        let each = grown as f64 / size as f64 / KIB;
        report.row(
            &format!("memory (VmRSS) of one of {} idle subscribers, each of a conversation of its own, its connection included", number(size as f64)),
            "at most 32 KiB",
            format!("{each:.1} KiB ({} on top of {})", mib(grown), mib(before)),
            each <= MOST_KIB,
        );
        if size == SIZES[0] {
            one_of_them(settings, report, stage, &conversations[0].0, &mut lines).await?;
        }
    }
    Ok(())
}

/// One of the idle ones hears a reply.
async fn one_of_them(
    settings: &Settings,
    report: &mut Report,
    stage: &Stage,
    conversation: &str,
    lines: &mut [Line],
) -> Result<()> {
    let others = lines.len() - 1;
    let events = lines.first_mut().context("nobody listens")?;
    let plan = Plan {
        rate: 50,
        tokens: (settings.time.as_secs_f64() * 2.0 * 50.0) as u64,
        wait_ms: 20,
    };
    let mut line = Line::new(stage.server.addr).await?;
    let before = stage.usage();
    let started = Instant::now();
    let heard = talk::by_events(&mut line, events, conversation, plan).await?;
    let lasted: Duration = started.elapsed();
    let (usage, cpu) = stage.usage().since(&before);
    talk::compare(&mut line, conversation, &heard).await?;
    report.row(
        &format!("one reply of 50 tokens/s beside {others} idle subscribers: lag of a token, p99"),
        "",
        format!(
            "{} (median {}, max {}; {:.1} % of a processor)",
            time(heard.tokens.lag.p99()),
            time(heard.tokens.lag.median()),
            time(heard.tokens.lag.max()),
            cpu.as_secs_f64() * 100.0 / lasted.as_secs_f64()
        ),
        None,
    );
    report.remark(format!("one reply beside {others} idle subscribers: {usage}"));
    Ok(())
}
