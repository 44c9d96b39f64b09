//! A crowd that watches through a network which cuts everybody off all the time: each comes back, and has seen it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::task::JoinSet;

use super::judge::{Stored, same, told_to_a_latecomer};
use super::stage::{Stage, ask};
use crate::faults::{Dice, Proof, ensure, fails, holds};
use crate::support::postgres::{Cluster, shared};
use crate::support::proxy::{Proxy, Upstream};
use crate::support::sse::{Ended, Reader};
use crate::support::{SOON, eventually};

const CROWD: usize = 500;

/// Replies of about half a second and of two seconds, and one that nobody is too slow to stop in the middle.
const SHORT: &str = "stream:10@20";
const LONG: &str = "stream:40@20";
const LONGEST: &str = "stream:200@20";

/// How long a connection lives, in milliseconds.
const LIVES: std::ops::Range<usize> = 100..2_000;

/// The crowd has to catch up with what was written, and what is written has to get on beside the crowd.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    replies: usize,
    events: usize,
    /// How many streams everybody needed.
    streams: usize,
    cuts: usize,
}

/// What a control does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tamper {
    Nothing,
    /// One of the crowd comes back without a word of what it saw.
    OneForgets,
    /// One of the crowd loses an event on its way.
    OneLoses,
    /// The network cuts nobody off.
    NobodyIsCut,
}

async fn prove(stage: &Stage, crowd: usize, tamper: Tamper) -> Proof<Report> {
    let mut dice = Dice::roll("cuts");
    // What is being written is given up after a second, and taken up by the next process.
    let builder = || stage.builder().env("DRAIN_TIMEOUT_S", "1").env("LOG_FILE", "off");
    let mut server = builder().start().await;
    let proxy = Proxy::start(Upstream::Tcp(server.address())).await;
    if tamper != Tamper::NobodyIsCut {
        let mut dice = Dice::of(dice.next());
        let mut life = move || LIVES.start + dice.below(LIVES.end - LIVES.start);
        proxy.limit_lives(move || Duration::from_millis(life() as u64));
    }
    let conversation = server.client().conversation("in front of a crowd").await;

    let finished = Arc::<AtomicUsize>::default();
    let replies = 4;
    let first = Reader::of_conversation(proxy.address(), &conversation);
    let mut watching = JoinSet::new();
    for number in 0..crowd {
        let mut reader = first.newcomer();
        if number == 0 && tamper == Tamper::OneForgets {
            reader = reader.forgetful();
        }
        let finished = Arc::clone(&finished);
        watching.spawn(async move {
            let mut ends = 0;
            let ended = reader
                .read_on("all replies end", 3 * PATIENCE, |event| {
                    ends += usize::from(matches!(&*event.name, "reply.succeeded" | "reply.failed"));
                    ends == replies
                })
                .await;
            assert_eq!(ended, Ended::Found, "everybody is let in");
            finished.fetch_add(1, SeqCst);
            reader
        });
    }

    // Two replies one after the other, and two in one go, of which the service is stopped in the first.
    let mut last = String::new();
    for text in [SHORT, LONG] {
        last = ask(&server.client(), &conversation, text, "p/m").await;
        let client = server.client();
        client.finished_reply_within(PATIENCE, &conversation, &last).await;
    }
    let calls = stage.upstream.calls();
    for text in [LONGEST, SHORT] {
        last = ask(&server.client(), &conversation, text, "p/m").await;
    }
    eventually("it is written", SOON, async || {
        (stage.upstream.calls() > calls).then_some(())
    })
    .await;
    server.terminate();
    server.wait_exit(SOON).await;
    server = builder().start().await;
    proxy.lead_to(Upstream::Tcp(server.address()));
    let client = server.client();
    client.finished_reply_within(PATIENCE, &conversation, &last).await;
    let path = format!("/conversations/{conversation}/messages?page_size=100&role=user");
    ensure(
        server.client().get(&path).await.expect(200)["count"] == replies,
        || "messages".to_owned(),
    )?;

    let mut crowd = Vec::new();
    while let Some(reader) = watching.join_next().await {
        crowd.push(reader.expect("a reader that ends"));
    }
    if tamper == Tamper::OneLoses {
        crowd[0].log.remove(5);
    }
    let stored = Stored::read(&server.client(), &conversation).await;
    let told = told_to_a_latecomer(&Reader::of_conversation(server.address(), &conversation), &last).await;
    stored.agrees_with(&told)?;
    for reader in &crowd {
        same(&reader.log, &told)?;
        stored.agrees_with(&reader.log)?;
        ensure(reader.halves == 0, || {
            "half an event was the end of a stream".to_owned()
        })?;
    }
    let cuts: usize = crowd.iter().map(|reader| reader.cuts).sum();
    ensure(cuts > 2 * crowd.len(), || "nobody was cut off".to_owned())?;
    let began_again = told
        .iter()
        .filter(|event| &*event.name == "reply.started")
        .count();
    ensure(began_again > replies, || "the stop hit no reply".to_owned())?;
    Ok(Report {
        replies,
        events: told.len(),
        streams: crowd.iter().map(|reader| reader.streams).sum(),
        cuts,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_is_cut_off_all_the_time_sees_what_is_stored() {
    let stage = Stage::new(None).await;
    holds(prove(&stage, CROWD, Tamper::Nothing).await, &stage.home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_is_cut_off_all_the_time_sees_what_is_stored_in_postgresql() {
    let Some(cluster) = shared().await else { return };
    let cluster: &Cluster = cluster;
    let stage = Stage::new(Some(cluster)).await;
    holds(prove(&stage, CROWD, Tamper::Nothing).await, &stage.home);
}

#[tokio::test]
async fn control_one_of_the_crowd_that_forgets_is_seen() {
    fails(
        prove(&Stage::new(None).await, 3, Tamper::OneForgets).await,
        "doubled",
    );
}

#[tokio::test]
async fn control_one_of_the_crowd_that_loses_an_event_is_seen() {
    fails(
        prove(&Stage::new(None).await, 3, Tamper::OneLoses).await,
        "missing",
    );
}

#[tokio::test]
async fn control_a_network_that_cuts_nobody_off_is_seen() {
    fails(
        prove(&Stage::new(None).await, 3, Tamper::NobodyIsCut).await,
        "nobody was cut off",
    );
}
