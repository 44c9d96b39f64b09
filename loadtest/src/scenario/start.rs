//! Starting on a database that has much in it: until the address is printed, and until `/readyz` answers 200.

use super::Settings;
use crate::client::Client;
use crate::http;
use crate::process::{Process, Scratch};
use crate::report::{Report, number, time};
use anyhow::{Result, bail};
use std::thread;
use std::time::Duration;

const READY_TARGET: Duration = Duration::from_millis(100);
const READY_LIMIT: Duration = Duration::from_mins(1);

/// Stops the server, by SIGTERM and by SIGKILL in turn, and starts it again, some times.
pub fn restarts(
    settings: &Settings,
    report: &mut Report,
    scratch: &Scratch,
    mut server: Process,
    messages: u64,
) -> Result<()> {
    let (mut slowest, mut texts) = (Duration::ZERO, Vec::new());
    for round in 0..settings.rounds.max(2) {
        let how = if round % 2 == 0 {
            let (status, took) = server.stop()?;
            format!("SIGTERM ({status}, {})", time(took))
        } else {
            server.kill()?;
            "SIGKILL".to_owned()
        };
        server = settings.start(scratch)?;
        let ready = ready(&server)?;
        slowest = slowest.max(ready);
        texts.push(format!(
            "{} listening, {} ready after {how}",
            time(server.started_in),
            time(ready)
        ));
    }
    report.row(
        &format!(
            "start on that database ({} messages), until ready, slowest",
            number(messages as f64)
        ),
        "within 100 ms",
        time(slowest),
        slowest <= READY_TARGET,
    );
    report.remark(format!("start: {}", texts.join("; ")));
    Ok(())
}

/// From the spawn to the first 200 of `/readyz`.
fn ready(server: &Process) -> Result<Duration> {
    let request = http::get("/readyz");
    while server.spawned.elapsed() < READY_LIMIT {
        if Client::new(server.addr)
            .and_then(|mut client| client.time(&request))
            .is_ok()
        {
            return Ok(server.spawned.elapsed());
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("not ready after {READY_LIMIT:?}");
}
