//! One client that posts assistant messages one after the other, against the sum of a bare commit and a bare handler.

use super::{Settings, alternate, ratio, spread};
use crate::client::{Client, create_path, sentence};
use crate::commit::BareCommit;
use crate::histogram::Histogram;
use crate::http;
use crate::process::Process;
use crate::reference::Samples;
use crate::report::{Report, time};
use anyhow::Result;

const MOST: f64 = 1.5;
/// Commits of a few pages that fill a write-ahead log of some thousand pages.
const PAST_CHECKPOINT: u64 = 1500;

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    eprintln!("POST one assistant message at a time");
    let scratch = settings.scratch("post-lone")?;
    let server = settings.start(&scratch)?;
    let mut client = Client::new(server.addr)?;
    let id = client.conversation("Lone")?;
    let request = http::post(&create_path(&id), &http::message("assistant", &sentence(1)));
    let samples = Samples {
        message: Some(request.clone()),
        ..Samples::default()
    };
    let sample_dir = scratch.path().join("samples");
    samples.take(&mut client, &sample_dir)?;
    let reference = Process::reference(&sample_dir)?;
    let mut reference_client = Client::new(reference.addr)?;
    let mut commit = BareCommit::new(&scratch.path().join("bare"))?;

    let (mut ours, mut sums) = (Vec::new(), Vec::new());
    let mut all: [Histogram; 3] = Default::default();
    // Until a write-ahead log has been checkpointed once, each commit makes its file longer, which costs a flush more.
    client.time_many(&request, PAST_CHECKPOINT, settings.time)?;
    commit.measure(PAST_CHECKPOINT, settings.time)?;
    for round in 0..=settings.rounds {
        let [service, durable, handler] = alternate(
            settings,
            [
                &mut |count| client.time_many(&request, count, settings.time),
                &mut |count| commit.measure(count, settings.time),
                &mut |count| reference_client.time_many(&request, count, settings.time),
            ],
        )?;
        if round == 0 {
            continue; // warm-up
        }
        ours.push(service.median().as_secs_f64());
        sums.push((durable.median() + handler.median()).as_secs_f64());
        for (sum, part) in all.iter_mut().zip([&service, &durable, &handler]) {
            sum.merge(part);
        }
    }
    let [service, durable, handler] = &all;
    let times = ratio(&ours, &sums);
    report.row(
        "one lone `POST` of an assistant message, median",
        "within 1.5 times (durable commit of the same rows + bare handler)",
        format!(
            "{} = {times:.2} times ({} + {})",
            time(service.median()),
            time(durable.median()),
            time(handler.median())
        ),
        times <= MOST,
    );
    report.remark(format!(
        "lone POST: p99 {}, max {}; bare commit p99 {}, max {}; ratio by round: {}",
        time(service.p99()),
        time(service.max()),
        time(durable.p99()),
        time(durable.max()),
        spread(&ours, &sums)
    ));
    Ok(())
}
