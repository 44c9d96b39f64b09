//! Providers that take calls and never answer: each of their replies ends, and nobody else waits for it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::bystander::{Bystander, Times};
use super::memory::open_files;
use super::stage::{Stage, ask, table};
use crate::faults::{Proof, ensure, fails, holds};
use crate::support::upstream::Upstream;
use crate::support::{Client, SOON, Server, eventually};

/// Nine of ten calls are to these.
const HUNG: usize = 45;

/// Six tries of a second each, and the pauses between them: 31 seconds at most, or what the breaker says.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

/// What a process may hold more than before: connections of the test's own clients that come and go.
const SPARE_FILES: usize = 8;

const IMPATIENT: &str = "first_byte_timeout_s = 1\ngap_timeout_s = 1\ntotal_timeout_s = 1";

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    before: [String; 2],
    meanwhile: [String; 2],
    ended_after: Duration,
    files_before: usize,
    files_after: usize,
}

/// Each of those that hang is a provider of its own; `p` is well.
fn settings(upstream: &Upstream) -> String {
    let mut settings = table("p", &upstream.openai_url(), "");
    for number in 0..HUNG {
        let manner = format!("stream = {}\n{IMPATIENT}", number % 2 == 0);
        let _ = write!(
            settings,
            "{}",
            table(&format!("hung{number}"), &upstream.openai_url(), &manner)
        );
    }
    format!("model = \"p/m\"\n{settings}")
}

/// All share one provider, and that has one place.
fn settings_of_one_place(upstream: &Upstream) -> String {
    table("p", &upstream.openai_url(), "concurrency = 1")
}

async fn start(stage: &Stage) -> Server {
    // Two hands, so that replies that hang would hold them if they could.
    stage.builder().env("WORKERS", "2").start().await
}

/// Two bystanders, one of whom asks a provider.
async fn bystand(client: &Client, time: Duration) -> Proof<[Times; 2]> {
    let near = Bystander::asks(client.clone(), "hello", "rules");
    let far = Bystander::asks_for(time, client.clone(), "an echo", "p/m").await;
    Ok([near.ends().await?, far?])
}

async fn prove(stage: &Stage, model: impl Fn(usize) -> String) -> Proof<Report> {
    let server = start(stage).await;
    let client = server.client();
    let before = bystand(&client, Duration::from_secs(2)).await?;
    let files_before = open_files(&server);

    let began = Instant::now();
    let mut asked = Vec::new();
    for number in 0..HUNG {
        let conversation = client.conversation("with somebody who never answers").await;
        let message = ask(&client, &conversation, "fault:silent", &model(number)).await;
        asked.push((conversation, message));
    }
    // While all of them are being tried, and, as a second part, until they are given up.
    let first = bystand(&client, Duration::from_secs(3)).await?;
    for (before, meanwhile) in before.iter().zip(&first) {
        meanwhile.are_as(before)?;
    }
    let near = Bystander::asks(client.clone(), "hello", "rules");
    for (conversation, message) in &asked {
        let reply = client
            .finished_reply_within(ENDS_WITHIN, conversation, message)
            .await;
        let code = reply["error"]["code"].as_str().unwrap_or_default();
        ensure(
            reply["status"] == "failed" && code.starts_with("provider_"),
            || format!("no failure with a reason: {reply}"),
        )?;
    }
    let ended_after = began.elapsed();
    near.ends().await?.are_as(&before[0])?;
    are_freed(&server, files_before + SPARE_FILES).await?;
    ensure(stage.upstream.open() == 0, || {
        format!("{} calls are left open", stage.upstream.open())
    })?;
    ensure(!server.log().contains("panicked"), || "panicked".to_owned())?;
    Ok(Report {
        before: before.map(|times| times.shown()),
        meanwhile: first.map(|times| times.shown()),
        ended_after,
        files_before,
        files_after: open_files(&server),
    })
}

async fn are_freed(server: &Server, most: usize) -> Proof<()> {
    let within = Duration::from_secs(3);
    let began = Instant::now();
    eventually("files are freed, or not", 2 * within, async || {
        (open_files(server) <= most || began.elapsed() > within).then_some(())
    })
    .await;
    let left = open_files(server);
    ensure(left <= most, || format!("files: {left} are open, of {most}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_that_hang_end_their_own_replies_and_slow_nobody() {
    let stage = Stage::with(None, settings).await;
    let proof = prove(&stage, |number| format!("hung{number}/m")).await;
    holds(proof, &stage.home);
}

#[tokio::test]
async fn control_one_place_for_all_is_seen() {
    let stage = Stage::with(None, settings_of_one_place).await;
    fails(prove(&stage, |_| "p/m".to_owned()).await, "slowed");
}

#[tokio::test]
async fn control_files_that_stay_open_are_seen() {
    let stage = Stage::with(None, settings).await;
    let server = start(&stage).await;
    let before = open_files(&server);
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(TcpStream::connect(server.address()).await.expect("a connection"));
    }
    eventually("they are taken in", SOON, async || {
        (open_files(&server) >= before + 50).then_some(())
    })
    .await;
    fails(are_freed(&server, before + SPARE_FILES).await, "files");
}
