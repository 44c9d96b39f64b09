//! Memory: idle, and at its peak under 1,000 connections that read and write; and the size of the binary.

use super::{Settings, Side};
use crate::client::{Client, create_path};
use crate::http;
use crate::report::{Report, mib};
use anyhow::Result;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const CONNECTIONS: usize = 1000;
const CONVERSATIONS: u64 = 50;
const MIB: u64 = 1 << 20;

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    eprintln!("memory");
    let size = std::fs::metadata(&settings.server)?.len();
    report.row(
        "size of the release binary",
        "under 20 MiB",
        mib(size),
        size < 20 * MIB,
    );

    let scratch = settings.scratch("memory")?;
    let server = settings.start(&scratch)?;
    thread::sleep(settings.time.min(Duration::from_secs(2)));
    let idle = server.memory("VmRSS")?;
    report.row(
        "memory (VmRSS), idle after start",
        "20 MiB",
        mib(idle),
        idle <= 20 * MIB,
    );

    let mut client = Client::new(server.addr)?;
    let mut requests = Vec::new();
    for index in 0..CONVERSATIONS {
        let id = client.conversation(&format!("Number {index}"))?;
        client.fill(&id, 20)?;
        requests.push(http::get(&format!("/conversations/{id}")));
        requests.push(http::get(&format!("/conversations/{id}/messages")));
        requests.push(http::post(
            &create_path(&id),
            &http::message("user", "Does the ferry take bicycles?"),
        ));
    }
    let requests: Arc<[Vec<u8>]> = requests.into();
    let mut loaded = Side::default();
    for _ in 0..settings.rounds {
        loaded.round(
            &server,
            &settings.closed(server.addr, CONNECTIONS, &requests),
        )?;
    }
    let after = server.memory("VmRSS")?;
    let peak = server.memory("VmHWM")?;
    report.row(
        &format!("memory (VmHWM), full load with {CONNECTIONS} connections, a third of the requests user messages"),
        "128 MiB",
        mib(peak),
        peak <= 128 * MIB && loaded.errors == 0,
    );
    thread::sleep(settings.time.min(Duration::from_secs(2)));
    report.remark(format!(
        "memory: {} as the load stops, {} soon after",
        mib(after),
        mib(server.memory("VmRSS")?)
    ));
    report.remark(loaded.text(&format!("{CONNECTIONS} connections")));
    Ok(())
}
