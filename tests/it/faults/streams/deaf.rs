//! Those who watch and never read, while thousands of things happen: they cost no memory and nobody's time, and get it all
//! when they read at last.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::bystander::Bystander;
use super::judge::{is_the_end, same};
use super::memory::Memory;
use super::stage::Stage;
use crate::faults::{Proof, ensure, fails, holds};
use crate::support::sse::{Ended, Reader};
use crate::support::{Client, Raw, SOON, Server};

const DEAF: usize = 16;

/// What happens: so many messages, some of which are large, so that no socket takes them all in.
const MESSAGES: usize = 2_000;
const LARGE: usize = 120;

/// How much more memory the service may take. If it kept what is not read, that would be several times as much.
const MOST_MIB: u64 = 64;

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    events: usize,
    grown_mib: u64,
    before: String,
    meanwhile: String,
}

/// Writes what happens, by several hands.
async fn much_happens(client: &Client, conversation: &str, messages: usize) {
    let mut hands = JoinSet::new();
    for hand in 0..4 {
        let (client, path) = (
            client.clone(),
            format!("/conversations/{conversation}/messages/create"),
        );
        hands.spawn(async move {
            for number in 0..messages / 4 {
                let is_large = number % (MESSAGES / LARGE) == 0;
                let text = format!("{hand}, {number}").repeat(if is_large { 10_000 } else { 1 });
                let message = json!({ "role": "assistant", "text": text });
                client.post_json(&path, &message).await.expect(201);
            }
        });
    }
    while let Some(ended) = hands.join_next().await {
        ended.expect("a hand that ends");
    }
}

async fn prove(stage: &Stage, messages: usize, freezes: bool) -> Proof<Report> {
    let server = stage.start().await;
    let client = server.client();
    let conversation = client.conversation("in front of the deaf").await;
    client.message(&conversation, "assistant", "the beginning").await;
    let before = Bystander::asks_for(Duration::from_secs(1), client.clone(), "hello", "rules").await?;

    let first = Reader::of_conversation(server.address(), &conversation);
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut reader = first.newcomer();
        let stream = reader
            .open()
            .await
            .map_err(|ended| crate::faults::Violation(format!("{ended:?}")))?;
        deaf.push((reader, stream));
    }
    let memory = Memory::of(&server);
    let bystander = Bystander::asks(client.clone(), "hello", "rules");
    let thawed = CancellationToken::new();
    let freezing = tokio::spawn(freeze(server.pid(), freezes, thawed.clone()));
    // Somebody who hears well is told everything at once.
    let mut attentive = first.newcomer();
    let hearing = tokio::spawn(async move {
        attentive
            .read_on("those who read are told", 6 * SOON, is_the_end)
            .await;
        attentive
    });
    much_happens(&client, &conversation, messages).await;
    client.message(&conversation, "assistant", "the end").await;
    let heard = hearing.await.expect("a reader that ends").log;
    thawed.cancel();
    freezing.await.expect("a freeze that ends");
    let meanwhile = bystander.ends().await?;
    let grown_mib = memory.stays_within(MOST_MIB)?;
    meanwhile.are_as(&before)?;

    for (mut reader, stream) in deaf {
        if reader.take_all(stream, is_the_end).await != Ended::Found {
            // It was silent for too long, and comes back.
            reader.read_on("the deaf are told", 3 * SOON, is_the_end).await;
        }
        same(&reader.log, &heard)?;
    }
    ensure(heard.len() > messages, || format!("{} events only", heard.len()))?;
    Ok(Report {
        events: heard.len(),
        grown_mib,
        before: before.shown(),
        meanwhile: meanwhile.shown(),
    })
}

/// Stops the process for longer than a busy machine does, again and again.
async fn freeze(pid: u32, freezes: bool, end: CancellationToken) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a number")).expect("a process");
    while freezes && !end.is_cancelled() {
        for (signal, pause) in [(Signal::STOP, 1_500), (Signal::CONT, 20)] {
            rustix::process::kill_process(pid, signal).expect("a process to signal");
            sleep(Duration::from_millis(pause)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_never_read_cost_no_memory_and_nobodys_time_and_are_told_in_the_end() {
    let stage = Stage::new(None).await;
    holds(prove(&stage, MESSAGES, false).await, &stage.home);
}

#[tokio::test]
async fn control_a_server_that_slows_down_is_seen() {
    fails(prove(&Stage::new(None).await, 12, true).await, "slowed");
}

/// The same crowd asks for pages instead, which are kept until they are read.
#[tokio::test]
async fn control_memory_that_the_deaf_cost_is_seen() {
    let stage = Stage::new(None).await;
    let server: Server = stage.start().await;
    let client = server.client();
    let conversation = client.conversation("in front of the deaf").await;
    for number in 0..LARGE {
        client
            .message(&conversation, "assistant", &format!("{number:04}").repeat(20_000))
            .await;
    }
    let memory = Memory::of(&server);
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut raw = Raw::connect(server.address()).await;
        let path = format!("/conversations/{conversation}/messages?page_size=100");
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await
            .expect("a request");
        deaf.push(raw);
    }
    for _ in 0..200 {
        if memory.grown_mib() > MOST_MIB {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    fails(memory.stays_within(MOST_MIB), "grew");
}
