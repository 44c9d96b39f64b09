//! Reads by 32 keep-alive clients, against the reference: one conversation, and a page of 10 of 30 messages.

use super::{Settings, Side, ratio, spread};
use crate::client::Client;
use crate::http;
use crate::process::Process;
use crate::reference::Samples;
use crate::report::{Report, number, percent};
use anyhow::{Result, ensure};
use std::sync::Arc;

const CLIENTS: usize = 32;
const MESSAGES: u64 = 30;

/// Which read.
#[derive(Clone, Copy)]
pub enum Read {
    /// `GET /conversations/{id}`.
    Conversation,
    /// `GET /conversations/{id}/messages`.
    Messages,
}

/// Measures one of them.
pub fn run(settings: &Settings, report: &mut Report, read: Read) -> Result<()> {
    let (name, least, aim) = match read {
        Read::Conversation => ("GET /conversations/{id}", 0.65, 0.80),
        Read::Messages => ("GET /conversations/{id}/messages (10 of 30)", 0.45, 0.60),
    };
    eprintln!("{name}");
    let scratch = settings.scratch("reads")?;
    let server = settings.start(&scratch)?;
    let mut client = Client::new(server.addr)?;
    let id = client.conversation("Thirty messages")?;
    client.fill(&id, MESSAGES)?;
    let mut samples = Samples::default();
    let request = match read {
        Read::Conversation => samples
            .conversation
            .insert(http::get(&format!("/conversations/{id}")))
            .clone(),
        Read::Messages => samples
            .page
            .insert(http::get(&format!("/conversations/{id}/messages")))
            .clone(),
    };
    let sample_dir = scratch.path().join("samples");
    samples.take(&mut client, &sample_dir)?;
    let reference = Process::reference(&sample_dir)?;
    let body = client.send(&request)?.body().to_vec();
    ensure!(
        Client::new(reference.addr)?.send(&request)?.body() == body,
        "the reference answers other bytes"
    );

    let requests: Arc<[Vec<u8>]> = vec![request].into();
    let (mut ours, mut bare) = (Side::default(), Side::default());
    for _ in 0..settings.rounds {
        ours.round(&server, &settings.closed(server.addr, CLIENTS, &requests))?;
        bare.round(
            &reference,
            &settings.closed(reference.addr, CLIENTS, &requests),
        )?;
    }
    let share = ratio(&ours.rates, &bare.rates);
    report.row(
        &format!("`{name}`, {CLIENTS} keep-alive clients, logging on"),
        &format!(
            "{} (aim {}) of a bare handler",
            percent(least),
            percent(aim)
        ),
        format!(
            "{} ({} of {} requests/s)",
            percent(share),
            number(ours.rate()),
            number(bare.rate())
        ),
        share >= least && ours.errors == 0,
    );
    report.remark(ours.text(&format!("`{name}`, service")));
    report.remark(bare.text(&format!("`{name}`, bare")));
    report.remark(format!(
        "`{name}`, ratio by round: {}; the service takes {:.2} times the reference's processor time",
        spread(&ours.rates, &bare.rates),
        ratio(&ours.server_cpu, &bare.server_cpu)
    ));
    Ok(())
}
