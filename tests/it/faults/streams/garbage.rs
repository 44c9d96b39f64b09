//! Everything that can be wrong with a provider, at once and in any order: each message ends in a reply or in a failure with
//! a reason, in bounded memory, and nobody else notices.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::bystander::Bystander;
use super::judge::{Stored, same, told_to_a_latecomer};
use super::memory::Memory;
use super::stage::{Stage, ask, table};
use crate::faults::{Dice, Proof, ensure, fails, holds};
use crate::support::sse::Reader;
use crate::support::upstream::{FAULTS, Upstream};
use crate::support::{Client, SOON};

/// What cannot be said by a script: the provider is not there, by its name, its port or its protocol.
const ABSENT: &[(&str, &str)] = &[
    ("no_such_name", "http://nowhere.invalid/v1"),
    ("no_such_port", "http://127.0.0.1:1/v1"),
];

/// Is asked for by this one; not the 5 minutes that it can get.
const YEAR: &str = "retry_after_year";

/// Six tries, with 31 seconds of pauses between them at most, or what the breaker says.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

/// How much more memory the service may take: of an answer in one piece up to 8 MiB are kept until it is read, and several
/// such answers come at once here.
const MOST_MIB: u64 = 128;

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    messages: usize,
    succeeded: usize,
    failed: usize,
    grown_mib: u64,
    ended_after: Duration,
    before: String,
    meanwhile: String,
}

/// Each fault is a provider of its own in each manner, so that none is left alone for another's sake.
fn settings(upstream: &Upstream) -> String {
    let mut settings = "model = \"rules\"\n".to_owned();
    let url = upstream.openai_url();
    let tls = url.replace("http:", "https:");
    let absent = ABSENT.iter().copied().chain([("no_tls", tls.as_str())]);
    for (fault, url) in FAULTS.iter().map(|fault| (*fault, url.as_str())).chain(absent) {
        for streams in [true, false] {
            let total = if ["drip", "silent"].contains(&fault) {
                2
            } else {
                20
            };
            let lines = format!(
                "stream = {streams}\nconcurrency = 1\nconnect_timeout_s = 2\nfirst_byte_timeout_s = 2\ngap_timeout_s = 2\ntotal_timeout_s = {total}"
            );
            let _ = write!(settings, "{}", table(&name(fault, streams), url, &lines));
        }
    }
    settings
}

fn name(fault: &str, streams: bool) -> String {
    format!("{}-{fault}", if streams { "s" } else { "w" })
}

/// Every fault in both manners, once for good, and once for a single try; in any order.
fn questions(dice: &mut Dice) -> Vec<(String, String)> {
    let mut questions = Vec::new();
    for fault in FAULTS
        .iter()
        .copied()
        .chain(ABSENT.iter().map(|(name, _)| *name))
        .chain(["no_tls"])
    {
        for streams in [true, false] {
            for times in [":1", ""] {
                let model = format!("{}/m", name(fault, streams));
                questions.push((format!("fault:{fault}{times} from {model}"), model));
            }
        }
    }
    for last in (1..questions.len()).rev() {
        questions.swap(last, dice.below(last + 1));
    }
    questions
}

/// One message, in a conversation of its own, to its end; whether it was answered.
async fn ends(client: &Client, text: &str, model: &str, within: Duration) -> Proof<bool> {
    let conversation = client.conversation("with somebody who talks nonsense").await;
    let message = ask(client, &conversation, text, model).await;
    let address = client
        .base_url()
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let mut reader = Reader::of_conversation(address, &conversation);
    if model.contains(YEAR) {
        return is_put_off(client, &conversation, &message).await;
    }
    let reading = reader.read_on("the reply ends", 2 * within, |event| {
        event.ends_reply_to(&message)
    });
    let read = timeout(within, reading).await;
    ensure(read.is_ok(), || format!("no end within {within:?}: {model}"))?;
    let path = format!("/conversations/{conversation}/messages/{message}/reply");
    let reply = client.get(&path).await.expect(200);
    let answered = reply["status"] == "succeeded";
    let code = reply["error"]["code"].as_str().unwrap_or_default();
    ensure(
        answered || (reply["status"] == "failed" && !code.is_empty()),
        || format!("no failure with a reason: {model}, {reply}"),
    )?;
    let told = told_to_a_latecomer(&reader, &message).await;
    same(&reader.log, &told)?;
    ensure(!told.iter().any(|event| event.data.contains("canary")), || {
        format!("repeated what the provider said: {model}")
    })?;
    Stored::read(client, &conversation).await.agrees_with(&told)?;
    Ok(answered)
}

/// It would take five pauses of five minutes to be given up, so it is looked at while it waits, and called off.
async fn is_put_off(client: &Client, conversation: &str, message: &str) -> Proof<bool> {
    let path = format!("/conversations/{conversation}/messages/{message}/reply");
    let began = Instant::now();
    while client.get(&path).await.expect(200)["attempts"] != 1 {
        ensure(began.elapsed() < SOON, || "not begun".to_owned())?;
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(5)).await;
    let reply = client.get(&path).await.expect(200);
    ensure(reply["status"] == "queued" && reply["attempts"] == 1, || {
        format!("not put off: {reply}")
    })?;
    let reply = client
        .post_json(&format!("{path}/cancel"), &json!({}))
        .await
        .expect(200);
    ensure(reply["status"] == "cancelled", || {
        format!("not called off: {reply}")
    })?;
    Ok(false)
}

async fn prove(stage: &Stage, questions: Vec<(String, String)>, within: Duration) -> Proof<Report> {
    let server = stage.start().await;
    let client = server.client();
    let before = Bystander::asks_for(Duration::from_secs(2), client.clone(), "hello", "rules").await?;
    let memory = Memory::of(&server);
    let began = Instant::now();
    let bystander = Bystander::asks(client.clone(), "hello", "rules");
    let mut asked = JoinSet::new();
    let messages = questions.len();
    for (text, model) in questions {
        let client = client.clone();
        asked.spawn(async move { ends(&client, &text, &model, within).await });
    }
    let mut succeeded = 0;
    while let Some(ended) = asked.join_next().await {
        succeeded += usize::from(ended.expect("a client that ends")?);
    }
    let ended_after = began.elapsed();
    let meanwhile = bystander.ends().await?;
    meanwhile.are_as(&before)?;
    let grown_mib = memory.stays_within(MOST_MIB)?;
    is_calm(&(server.log() + &server.stderr()))?;
    Ok(Report {
        messages,
        succeeded,
        failed: messages - succeeded,
        grown_mib,
        ended_after,
        before: before.shown(),
        meanwhile: meanwhile.shown(),
    })
}

/// Nothing in the log that should not be there.
fn is_calm(log: &str) -> Proof<()> {
    // A key that is refused is worth an error: somebody has to do something.
    let lines = log
        .lines()
        .filter(|line| !line.contains("a provider refuses the key that it is given"));
    for (line, word) in lines.flat_map(|line| ["panicked", " ERROR ", "canary"].map(|word| (line, word))) {
        ensure(!line.contains(word), || format!("the log says {line}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_provider_does_every_message_ends_and_nobody_else_notices() {
    let stage = Stage::with(None, settings).await;
    let questions = questions(&mut Dice::roll("garbage"));
    holds(prove(&stage, questions, ENDS_WITHIN).await, &stage.home);
}

#[tokio::test]
async fn control_a_message_that_does_not_end_is_seen() {
    let stage = Stage::with(None, |upstream| {
        table("p", &upstream.openai_url(), "first_byte_timeout_s = 3600")
    })
    .await;
    let question = ("fault:silent".to_owned(), "p/m".to_owned());
    fails(
        prove(&stage, vec![question], Duration::from_secs(4)).await,
        "no end",
    );
}

#[test]
fn control_a_panic_and_a_secret_in_the_log_are_seen() {
    is_calm("2026-01-19 INFO all is well").expect("what holds");
    fails(
        is_calm("thread 'worker' panicked at src/reply/ask.rs"),
        "panicked",
    );
    fails(is_calm("2026-01-19 WARN canary of the provider"), "canary");
}
