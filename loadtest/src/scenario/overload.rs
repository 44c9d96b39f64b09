//! Overload: more requests than the service can do, by an open loop, on a disk that is the bottleneck. What it can do it
//! should go on doing, at once and for those whom it lets in; the others should hear at once when to come back.
//!
//! Judged are writes: reads come along, more of them with each step, and wait for no disk.

use super::{Settings, post_user};
use crate::client::Client;
use crate::histogram::Histogram;
use crate::http;
use crate::open_loop::{Answered, OpenLoop, Seen};
use crate::process::{Process, Scratch};
use crate::report::{Report, mib, number, percent, time};
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One request in so many reads a conversation, the others are user messages.
const READS: usize = 5;
/// Well below the knee.
const UNLOADED: f64 = 200.0;
/// From one step to the next while the knee is looked for.
const STEP_UP: f64 = 1.25;
/// A server keeps up that answers so much of what is offered in so many times the median of when it has little to do.
const KEEPS_UP: f64 = 0.95;
const IN_TIME: u32 = 4;
const TIMES: [f64; 4] = [1.0, 2.0, 3.0, 10.0];
const LEAST_GOODPUT: f64 = 0.9;
const MOST_P99: f64 = 3.0;
const MOST_MEMORY: u64 = 256 << 20;
const RECOVERY: Duration = Duration::from_secs(5);
/// A flush of the disk under test, so that the knee lies near 2,000 a second.
const FLUSH_MS: u32 = 90;
/// The status of a write that was done.
const CREATED: u16 = 201;
/// What puts the service's own limits out of the way.
const NO_LIMITS: &[(&str, &str)] = &[("ENGAGEMENT_MAX_IN_FLIGHT", "1000000")];

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    eprintln!("overload");
    let scratch = settings.scratch("overload")?;
    let disk = slow_disk(&scratch)?;
    let seen = measure(settings, &scratch.path().join("limits"), &disk, &[])?;
    seen.report(report);
    let control = measure(settings, &scratch.path().join("no-limits"), &disk, NO_LIMITS)?;
    report.row(
        "… the same without the service's limits (a control)",
        "misses at least one of these",
        control.text(),
        !control.is_good(),
    );
    Ok(())
}

/// Compiles what makes a disk slow for one process.
fn slow_disk(scratch: &Scratch) -> Result<PathBuf> {
    let (source, library) = (
        scratch.path().join("slow_disk.c"),
        scratch.path().join("slow_disk.so"),
    );
    std::fs::write(&source, include_str!("../slow_disk.c"))?;
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .context("a C compiler is needed")?;
    ensure!(compiled.success(), "cc: {compiled}");
    Ok(library)
}

/// What one server did.
struct Measured {
    knee: f64,
    unloaded: Histogram,
    /// How many times the knee, for how long, and what came of it, with the memory at its peak.
    steps: Vec<(f64, Duration, Seen, u64)>,
    recovery: Option<Duration>,
}

fn measure(settings: &Settings, dir: &Path, disk: &Path, limits: &[(&str, &str)]) -> Result<Measured> {
    let mut environment: Vec<(&str, OsString)> =
        limits.iter().map(|(name, value)| (*name, value.into())).collect();
    environment.push(("LD_PRELOAD", disk.into()));
    environment.push(("LOADTEST_FLUSH_MS", FLUSH_MS.to_string().into()));
    let server = Process::server_with(&environment, &settings.server, dir, settings.stderr.as_deref())?;
    let mut client = Client::new(server.addr)?;
    let conversations = post_user::make(&mut client, 0)?;
    let mut requests = Vec::new();
    for (index, post) in post_user::requests(&conversations).iter().enumerate() {
        requests.push(post.clone());
        if index % (READS - 1) == 0 {
            requests.push(http::get(&format!(
                "/conversations/{}",
                conversations[index % conversations.len()]
            )));
        }
    }
    let generator = OpenLoop::new(server.addr, requests)?;
    let (short, long) = (settings.time, settings.time.mul_f64(2.5));
    generator.offer(UNLOADED, short / 2, || {});
    let unloaded = generator.offer(UNLOADED, long, || {});
    let knee = knee(&generator, &unloaded, short);
    // Checkpoints are part of any load but the smallest; so recovery is to what the same load met before.
    generator.offer(knee / 2.0, short / 2, || {});
    let before = generator.offer(knee / 2.0, long, || {});
    let mut steps = Vec::new();
    for times in TIMES {
        let mut peak = 0;
        let seen = generator.offer(times * knee, long, || {
            peak = peak.max(server.memory("VmRSS").unwrap_or(0));
        });
        eprintln!("     {}", line(times, long, &seen, peak));
        steps.push((times, long, seen, peak));
    }
    let after = generator.offer(knee / 2.0, 2 * RECOVERY, || {});
    let recovery = recovery(&after, &writes(&before));
    server.stop()?;
    Ok(Measured {
        knee,
        unloaded: writes(&unloaded),
        steps,
        recovery,
    })
}

/// The highest rate at which it still keeps up.
fn knee(generator: &OpenLoop, unloaded: &Seen, time: Duration) -> f64 {
    let bound = IN_TIME * unloaded.accepted.median();
    let mut rate = 2.0 * UNLOADED;
    loop {
        let seen = generator.offer(rate * STEP_UP, time, || {});
        let in_time = seen.answers.iter().filter(|answer| answer.took <= bound).count();
        let share = in_time as f64 / seen.offered.max(1) as f64;
        eprintln!(
            "     {} a second: {} answered in time",
            number(rate * STEP_UP),
            percent(share)
        );
        if share < KEEPS_UP {
            return rate;
        }
        rate *= STEP_UP;
    }
}

/// From the end of the overload to the moment from which all is as if there had been none.
fn recovery(after: &Seen, before: &Histogram) -> Option<Duration> {
    const WINDOW: Duration = Duration::from_millis(500);
    if after.refusals() > after.offered / 20 {
        return None;
    }
    let bound = before.p99().mul_f64(1.5);
    let late = of_writes(after).filter(|answer| answer.took > bound);
    let mut windows: Vec<u32> = Vec::new();
    for answer in late {
        let index = (answer.due.as_millis() / WINDOW.as_millis()) as usize;
        windows.resize(windows.len().max(index + 1), 0);
        windows[index] += 1;
    }
    // The last window in which more than a few were late.
    let per_window = after.offered as f64 / (2.0 * RECOVERY.as_secs_f64() / WINDOW.as_secs_f64());
    let bad = windows
        .iter()
        .rposition(|late| f64::from(*late) > 0.05 * per_window);
    Some(bad.map_or(Duration::ZERO, |index| WINDOW * (index as u32 + 1)))
}

/// What was done of what the disk limits.
fn of_writes(seen: &Seen) -> impl Iterator<Item = &Answered> {
    seen.answers.iter().filter(|answer| answer.status == CREATED)
}

fn writes(seen: &Seen) -> Histogram {
    let mut took = Histogram::default();
    for answer in of_writes(seen) {
        took.record(answer.took);
    }
    took
}

fn goodput(time: Duration, seen: &Seen) -> f64 {
    // Answers after the end of the step are not part of what was done in it.
    let in_time = of_writes(seen)
        .filter(|answer| answer.due + answer.took <= time)
        .count();
    in_time as f64 / time.as_secs_f64()
}

fn line(times: f64, time_offered: Duration, seen: &Seen, memory: u64) -> String {
    let refused: Vec<String> = seen
        .refused
        .iter()
        .map(|(status, count)| format!("{} x {status}", number(*count as f64)))
        .collect();
    format!(
        "{times} x: {} a second offered, {} writes answered; refused: [{}], {} without Retry-After, {} closed; {} not sent for want of a connection; writes p50 {}, p99 {}, all p99 {}; {}; generator late by {} at most",
        number(seen.offered as f64 / time_offered.as_secs_f64()),
        number(goodput(time_offered, seen)),
        refused.join(", "),
        seen.unsaid,
        seen.closed,
        seen.unsent,
        time(writes(seen).median()),
        time(writes(seen).p99()),
        time(seen.accepted.p99()),
        mib(memory),
        time(seen.lag),
    )
}

impl Measured {
    fn peak(&self) -> f64 {
        let all = self.steps.iter().map(|(_, time, seen, _)| goodput(*time, seen));
        all.fold(0.0, f64::max)
    }

    /// Goodput at three times the knee, as a share of the highest of all steps.
    fn share(&self) -> f64 {
        let three = self.steps.iter().find(|(times, ..)| (*times - 3.0).abs() < 0.1);
        three.map_or(0.0, |(_, time, seen, _)| goodput(*time, seen) / self.peak())
    }

    /// The worst accepted p99 of the overloaded steps, as a multiple of the unloaded one.
    fn latency(&self) -> f64 {
        let worst = self
            .steps
            .iter()
            .filter(|(times, ..)| *times > 1.5)
            .map(|(_, _, seen, _)| writes(seen).p99());
        worst.max().unwrap_or_default().as_secs_f64() / self.unloaded.p99().as_secs_f64()
    }

    fn memory(&self) -> u64 {
        self.steps.iter().map(|(.., memory)| *memory).max().unwrap_or(0)
    }

    /// Refusals that do not say when to come back, or were no answer at all.
    fn unsaid(&self) -> u64 {
        self.steps
            .iter()
            .map(|(_, _, seen, _)| seen.unsaid + seen.closed)
            .sum()
    }

    fn recovers(&self) -> bool {
        self.recovery.is_some_and(|took| took <= RECOVERY)
    }

    fn is_good(&self) -> bool {
        self.share() >= LEAST_GOODPUT
            && self.latency() <= MOST_P99
            && self.memory() <= MOST_MEMORY
            && self.unsaid() == 0
            && self.recovers()
    }

    fn recovery_text(&self) -> String {
        self.recovery
            .map_or_else(|| format!("not within {}", time(2 * RECOVERY)), time)
    }

    fn text(&self) -> String {
        format!(
            "goodput {}, p99 {:.1} times, {}, {} without a word, recovery {}",
            percent(self.share()),
            self.latency(),
            mib(self.memory()),
            number(self.unsaid() as f64),
            self.recovery_text()
        )
    }

    fn report(&self, report: &mut Report) {
        report.row(
            &format!("overload of a server whose disk takes {FLUSH_MS} ms to flush, four user messages to one read: the knee"),
            "near 2,000 a second",
            format!("{} a second", number(self.knee)),
            None,
        );
        report.row(
            "… writes done at 3 times the knee",
            "90 % of the peak",
            format!("{} of {} a second", percent(self.share()), number(self.peak())),
            self.share() >= LEAST_GOODPUT,
        );
        report.row(
            "… p99 of writes that are accepted, at worst of 2, 3 and 10 times the knee",
            "3 times the unloaded one",
            format!("{:.1} times {}", self.latency(), time(self.unloaded.p99())),
            self.latency() <= MOST_P99,
        );
        report.row(
            "… memory (VmRSS) at its peak",
            "256 MiB",
            mib(self.memory()),
            self.memory() <= MOST_MEMORY,
        );
        report.row(
            "… refusals without Retry-After, or without an answer",
            "none",
            number(self.unsaid() as f64),
            self.unsaid() == 0,
        );
        report.row(
            "… until latency and goodput are back, after 10 times the knee",
            "within 5 s",
            self.recovery_text(),
            self.recovers(),
        );
        for (times, time, seen, memory) in &self.steps {
            report.remark(format!("overload, {}", line(*times, *time, seen, *memory)));
        }
    }
}
