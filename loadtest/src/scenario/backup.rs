//! A million messages taken in, given away, saved under load and restored: how fast, and what it costs those who write.

use super::{Settings, Side, post_user, ratio, spread};
use crate::client::{Client, sentence};
use crate::process::{Process, Scratch};
use crate::report::{Report, mib, number, percent, time};
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CONVERSATIONS: u64 = 2_000;
const IMPORT_TARGET: f64 = 50_000.0;
/// How much slower a write may be while a backup runs.
const MOST_SLOWER: f64 = 1.2;
const RESTORE_TARGET: Duration = Duration::from_mins(1);

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    eprintln!(
        "import, export, backup and restore of {} messages",
        number(settings.messages as f64)
    );
    let scratch = settings.scratch("backup")?;
    let lines = scratch.path().join("all.jsonl");
    let messages = write_lines(&lines, settings.messages)?;
    import(settings, report, &scratch, messages)?;
    export(settings, report, &scratch, messages)?;
    under_load(settings, report, &scratch)?;
    restore(settings, report, &scratch)
}

/// Conversations in our own format, with identifiers as the service gives them. Gives how many messages.
fn write_lines(path: &Path, messages: u64) -> Result<u64> {
    let each = messages.div_ceil(CONVERSATIONS).max(1);
    let mut out = BufWriter::new(File::create(path)?);
    let mut number = 0_u64;
    for conversation in 0..CONVERSATIONS {
        let mut line = format!(
            "{{\"format\":\"engagement.conversation/1\",\"conversation_id\":\"{}\",\"description\":\"Number {conversation}\",\
             \"date_created\":\"2026-01-02T03:04:05.000000Z\",\"messages\":[",
            scattered(conversation)
        );
        for place in 0..each {
            let comma = if place == 0 { "" } else { "," };
            let (role, text) = (
                if place % 2 == 0 { "user" } else { "assistant" },
                sentence(number),
            );
            // Version 7: message follows message.
            write!(
                line,
                "{comma}{{\"message_id\":\"{:08x}-{:04x}-7000-8000-000000000000\",\"role\":\"{role}\",\"text\":\"{text}\",\
                 \"date_created\":\"2026-01-02T03:04:05.000000Z\"}}",
                number >> 16,
                number & 0xffff
            )?;
            number += 1;
        }
        writeln!(out, "{line}]}}")?;
    }
    out.into_inner()?.sync_all()?;
    Ok(number)
}

/// An identifier of version 4 that lies anywhere.
fn scattered(number: u64) -> String {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{number:012x}",
        mixed >> 32,
        (mixed >> 16) & 0xffff,
        (mixed >> 4) & 0xfff,
        mixed & 0xfff
    )
}

/// Runs a command of the program to its end. Gives what it says, and how long it took.
fn command(settings: &Settings, scratch: &Scratch, arguments: &[&str]) -> Result<(String, Duration)> {
    let begin = Instant::now();
    let mut command = Command::new(&settings.server);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ENGAGEMENT_") {
            command.env_remove(name);
        }
    }
    let run = command.args(arguments).current_dir(scratch.path()).output()?;
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    ensure!(run.status.success(), "engagement {}: {said}", arguments.join(" "));
    Ok((String::from_utf8_lossy(&run.stdout).into_owned(), begin.elapsed()))
}

fn import(settings: &Settings, report: &mut Report, scratch: &Scratch, messages: u64) -> Result<()> {
    let mut rates = Vec::new();
    for _ in 0..settings.rounds.min(3) {
        for file in ["engagement.db", "engagement.db-wal", "engagement.db-shm"] {
            std::fs::remove_file(scratch.path().join(file)).ok();
        }
        let (said, took) = command(settings, scratch, &["import", "jsonl", "all.jsonl"])?;
        rates.push(messages as f64 / took.as_secs_f64());
        eprintln!("     {}", said.trim());
    }
    let rate = crate::report::median(&rates);
    report.row(
        &format!(
            "`engagement import jsonl` of {} messages into SQLite",
            number(messages as f64)
        ),
        "50,000/s",
        format!("{}/s", number(rate)),
        rate >= IMPORT_TARGET,
    );
    let (_, took) = command(settings, scratch, &["import", "jsonl", "all.jsonl"])?;
    report.remark(format!("import again, all there already: {}", time(took)));
    Ok(())
}

fn export(settings: &Settings, report: &mut Report, scratch: &Scratch, messages: u64) -> Result<()> {
    let (_, took) = command(settings, scratch, &["export", "out.jsonl"])?;
    report.row(
        "`engagement export` of them",
        "",
        format!("{}/s", number(messages as f64 / took.as_secs_f64())),
        None,
    );
    std::fs::remove_file(scratch.path().join("out.jsonl"))?;
    Ok(())
}

/// Windows of user messages, with a backup running and without, by turns.
fn under_load(settings: &Settings, report: &mut Report, scratch: &Scratch) -> Result<()> {
    let server = settings.start(scratch)?;
    let mut client = Client::new(server.addr)?;
    let (mut calm, mut busy) = (Side::default(), Side::default());
    let (mut calm_p99, mut busy_p99) = (Vec::new(), Vec::new());
    let (mut calm_p50, mut busy_p50) = (Vec::new(), Vec::new());
    let mut backups = Vec::new();
    let mut longest_log = 0;
    for round in 0..settings.rounds {
        let ids = post_user::make(&mut client, round)?;
        let load = settings.closed(server.addr, post_user::CLIENTS, &post_user::requests(&ids));
        // Each goes first as often as the other.
        for is_busy in if round % 2 == 0 {
            [false, true]
        } else {
            [true, false]
        } {
            if !is_busy {
                let outcome = calm.round(&server, &load)?;
                calm_p50.push(outcome.latency.median().as_secs_f64());
                calm_p99.push(outcome.latency.p99().as_secs_f64());
                continue;
            }
            let enough = AtomicBool::new(false);
            let outcome = thread::scope(|scope| -> Result<_> {
                let backing = scope.spawn(|| -> Result<Vec<Duration>> {
                    let mut took = Vec::new();
                    // One after the other, so that one runs for as long as the window lasts.
                    while took.is_empty() || !enough.load(Ordering::Relaxed) {
                        took.push(command(settings, scratch, &["backup", "saved.db", "--replace"])?.1);
                    }
                    Ok(took)
                });
                let outcome = busy.round(&server, &load);
                enough.store(true, Ordering::Relaxed);
                let log = scratch.path().join("engagement.db-wal").metadata()?.len();
                longest_log = longest_log.max(log);
                backups.extend(backing.join().ok().context("the backups ended")??);
                outcome
            })?;
            busy_p50.push(outcome.latency.median().as_secs_f64());
            busy_p99.push(outcome.latency.p99().as_secs_f64());
        }
    }
    let slower = 1.0 / ratio(&busy.rates, &calm.rates);
    report.row(
        "`POST` of user messages by 64 clients while a backup runs, against without",
        "at most 20 % slower",
        format!(
            "{} of {} requests/s: {slower:.2} times as long",
            number(busy.rate()),
            number(calm.rate())
        ),
        slower <= MOST_SLOWER && busy.errors == 0,
    );
    report.row(
        "… p50 and p99",
        "",
        format!(
            "{:.2} and {:.2} times (p99 {} instead of {})",
            ratio(&busy_p50, &calm_p50),
            ratio(&busy_p99, &calm_p99),
            time(busy.latency.p99()),
            time(calm.latency.p99())
        ),
        None,
    );
    report.remark(calm.text("without a backup"));
    report.remark(busy.text("with a backup"));
    report.remark(format!(
        "backup, ratio of rates by round: {}",
        spread(&busy.rates, &calm.rates)
    ));
    let longest = backups.iter().max().copied().unwrap_or_default();
    report.remark(format!(
        "{} backups under load, the longest {} with its verification; the log had up to {} then; processor time a request went from {} to {} of the calm one",
        backups.len(),
        time(longest),
        mib(longest_log),
        percent(1.0),
        percent(ratio(&busy.server_cpu, &calm.server_cpu))
    ));
    server.stop()?;
    Ok(())
}

fn restore(settings: &Settings, report: &mut Report, scratch: &Scratch) -> Result<()> {
    let (said, restoring) = command(settings, scratch, &["restore", "saved.db", "--replace"])?;
    let begin = Instant::now();
    let server: Process = settings.start(scratch)?;
    let mut client = Client::new(server.addr)?;
    client.get(&format!("/conversations/{}", scattered(0)))?;
    let starting = begin.elapsed();
    report.row(
        "`engagement restore`, then the start, to the first answer",
        "under a minute",
        format!("{} and {}", time(restoring), time(starting)),
        restoring + starting < RESTORE_TARGET,
    );
    report.remark(said.trim().to_owned());
    server.stop()?;
    Ok(())
}
