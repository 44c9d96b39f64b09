//! Many who watch one conversation while a reply is written in it.

use super::{Settings, Stage, talk, within};
use crate::client::Client;
use crate::histogram::Histogram;
use crate::report::{Report, mib, time};
use crate::stream::Line;
use crate::upstream::Plan;
use anyhow::{Result, bail};
use std::time::Instant;

const SUBSCRIBERS: usize = 500;
const RATE: u64 = 50;

/// Measures it.
pub(super) fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let stage = Stage::start(settings, "stream-crowd")?;
    let conversation = Client::new(stage.server.addr)?.conversation("Crowded")?;
    let lasting = settings.time * 3;
    let plan = Plan {
        rate: RATE,
        tokens: (lasting.as_secs_f64() * RATE as f64) as u64,
        wait_ms: 20,
    };
    within(lasting, watch(report, &stage, &conversation, plan))
}

async fn watch(report: &mut Report, stage: &Stage, conversation: &str, plan: Plan) -> Result<()> {
    let mut lines = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut line = Line::new(stage.server.addr).await?;
        talk::watch(&mut line, conversation).await?;
        lines.push(line);
    }
    let mut asking = Line::new(stage.server.addr).await?;
    let before = stage.usage();
    let asked = Instant::now();
    let tasks: Vec<_> = lines
        .into_iter()
        .map(|mut line| tokio::spawn(async move { talk::listen(&mut line, plan, asked).await }))
        .collect();
    talk::post(&mut asking, conversation, plan).await?;
    let mut lag = Histogram::default();
    let (mut deltas, mut text) = (0, None);
    for task in tasks {
        let heard = task.await??;
        lag.merge(&heard.tokens.lag);
        deltas += heard.deltas;
        match &text {
            None => {
                talk::compare(&mut asking, conversation, &heard).await?;
                text = Some(heard.tokens.text);
            }
            Some(text) if *text == heard.tokens.text => {}
            Some(_) => bail!("two subscribers saw different texts"),
        }
    }
    let (usage, cpu) = stage.usage().since(&before);
    report.row(
        &format!(
            "{SUBSCRIBERS} subscribers of one conversation, a reply of {RATE} tokens/s: lag of a token, p99"
        ),
        "",
        format!(
            "{} (median {}, max {}; {:.1} µs of processor an event sent)",
            time(lag.p99()),
            time(lag.median()),
            time(lag.max()),
            cpu.as_secs_f64() * 1e6 / deltas as f64
        ),
        None,
    );
    report.remark(format!(
        "{SUBSCRIBERS} subscribers of one conversation: {usage}; VmHWM {}",
        mib(stage.server.memory("VmHWM")?)
    ));
    Ok(())
}
