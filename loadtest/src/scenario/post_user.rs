//! User messages by 64 clients over 50 conversations while the replies are generated, then the time until the last reply is there.

use super::{Settings, Side, ratio, spread};
use crate::client::{Client, create_path, text_of};
use crate::http;
use crate::process::Process;
use crate::reference::Samples;
use crate::report::{Report, number, percent, time};
use anyhow::{Result, bail};
use serde_json::Value;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const CLIENTS: usize = 64;
pub(super) const CONVERSATIONS: usize = 50;
/// One text for each rule of the built-in replies.
pub(super) const TEXTS: [&str; 5] = [
    "Hello, I have just moved here and would like to know a little more about the harbour and the boats.",
    "I would like some help with the forms for the boat that I bought in spring; they are rather long.",
    "What time does the ferry leave on Sundays, and does it take bicycles as well as people?",
    "Many thanks for all that you told me last week; the trip to the island was very pleasant.",
    "The fog came in at noon and stayed until the evening, so we walked along the shore and back.",
];
/// The bare server of the specification: 60,000 a second, of which the service shall reach 10,000.
const LEAST_SHARE: f64 = 10.0 / 60.0;
const DRAIN_TARGET: Duration = Duration::from_secs(1);
const DRAIN_LIMIT: Duration = Duration::from_mins(1);
const P99_TARGET: Duration = Duration::from_millis(20);

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    eprintln!("POST user messages");
    let scratch = settings.scratch("post-user")?;
    let server = settings.start(&scratch)?;
    let mut client = Client::new(server.addr)?;
    let sample = client.conversation("Sample")?;
    let samples = Samples {
        message: Some(http::post(
            &create_path(&sample),
            &http::message("user", TEXTS[0]),
        )),
        ..Samples::default()
    };
    let sample_dir = scratch.path().join("samples");
    samples.take(&mut client, &sample_dir)?;
    let reference = Process::reference(&sample_dir)?;

    let (mut ours, mut bare) = (Side::default(), Side::default());
    let mut slowest_drain = Duration::ZERO;
    for round in 0..settings.rounds {
        let ids = make(&mut client, round)?;
        let requests = requests(&ids);
        let outcome = ours.round(&server, &settings.closed(server.addr, CLIENTS, &requests))?;
        let stopped = Instant::now();
        let acknowledged = outcome.succeeded + outcome.warmed;
        let messages = drain(&mut client, &ids, &outcome.last, acknowledged, stopped)?;
        slowest_drain = slowest_drain.max(messages.after);
        eprintln!(
            "     round {round}: {acknowledged} acknowledged, {} stored, {} replies, drained in {}",
            messages.user,
            messages.assistant,
            time(messages.after)
        );
        bare.round(&reference, &settings.closed(reference.addr, CLIENTS, &requests))?;
    }
    let share = ratio(&ours.rates, &bare.rates);
    report.row(
        &format!("`POST …/messages/create`, user messages, {CLIENTS} clients over {CONVERSATIONS} conversations, durable, replies at the same time"),
        "10,000/s where the bare handler gives 60,000 (17 %)",
        format!("{} of {} requests/s ({})", number(ours.rate()), number(bare.rate()), percent(share)),
        share >= LEAST_SHARE && ours.errors == 0,
    );
    report.row(
        "… p99",
        "under 20 ms",
        time(ours.latency.p99()),
        ours.latency.p99() < P99_TARGET,
    );
    report.row(
        "… backlog drained after the load stops (slowest round; each message one reply, counted)",
        "within 1 s",
        time(slowest_drain),
        slowest_drain < DRAIN_TARGET,
    );
    report.remark(ours.text("POST user, service"));
    report.remark(bare.text("POST user, bare"));
    report.remark(format!(
        "POST user, ratio by round: {}",
        spread(&ours.rates, &bare.rates)
    ));
    Ok(())
}

pub(super) fn make(client: &mut Client, round: u32) -> Result<Vec<String>> {
    (0..CONVERSATIONS)
        .map(|index| client.conversation(&format!("Round {round}, number {index}")))
        .collect()
}

pub(super) fn requests(ids: &[String]) -> Arc<[Vec<u8>]> {
    let mut requests = Vec::new();
    for text in TEXTS {
        for id in ids {
            requests.push(http::post(&create_path(id), &http::message("user", text)));
        }
    }
    requests.into()
}

/// What is in the conversations once every reply is there.
pub(super) struct Drained {
    pub(super) user: u64,
    pub(super) assistant: u64,
    pub(super) after: Duration,
}

pub(super) fn drain(
    client: &mut Client,
    ids: &[String],
    last: &[Vec<u8>],
    acknowledged: u64,
    stopped: Instant,
) -> Result<Drained> {
    // The last message of each client first: cheap to ask for, so that the asking does not disturb the replies.
    let mut waiting = Vec::new();
    for body in last {
        let message: Value = serde_json::from_slice(body)?;
        let conversation = text_of(&message, "conversation")?;
        let id = text_of(&message, "message_id")?;
        waiting.push(format!("/conversations/{conversation}/messages/{id}/reply"));
    }
    while let Some(path) = waiting.last() {
        let reply = client.get(path)?;
        match text_of(&reply, "status")?.as_str() {
            "succeeded" => {
                waiting.pop();
            }
            "queued" | "running" if stopped.elapsed() < DRAIN_LIMIT => {
                thread::sleep(Duration::from_millis(2));
            }
            _ => bail!("a reply that does not come: {reply}"),
        }
    }
    // Then all of them.
    let user: u64 = total(client, ids, "user")?;
    if user < acknowledged {
        bail!("{acknowledged} messages acknowledged, {user} stored");
    }
    loop {
        let assistant = total(client, ids, "assistant")?;
        let after = stopped.elapsed(); // with the counting: an upper bound
        if assistant == user {
            return Ok(Drained {
                user,
                assistant,
                after,
            });
        }
        if assistant > user || stopped.elapsed() > DRAIN_LIMIT {
            bail!("{user} user messages, {assistant} replies");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn total(client: &mut Client, ids: &[String], role: &str) -> Result<u64> {
    ids.iter()
        .map(|id| client.count(id, &format!("&role={role}")))
        .sum()
}
