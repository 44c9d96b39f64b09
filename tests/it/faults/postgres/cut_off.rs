//! A node that is cut off from the database: it says so and stays, another does its work, and it comes back by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client as Database;

use super::census::{self, Census};
use super::crowd::{Crowd, Seen, judge_put_off};
use super::network::Network;
use super::node::{Duty, Node};
use crate::faults::ledger::{Ledger, Tally};
use crate::faults::load;
use crate::faults::{Dice, Proof, Violation, ensure, fails, holds, new_home};
use crate::support::postgres::{TestDatabase, shared};
use crate::support::proxy::{Direction, Proxy};
use crate::support::{Client, SOON, eventually};

/// How many replies the node is about to store when it is cut off.
const HELD: usize = 8;

const UNREADY_WITHIN: Duration = Duration::from_secs(5);

/// An attempt to connect that was lost on the way is given up after 3 seconds; the machine may be busy.
const BACK_WITHIN: Duration = Duration::from_secs(6);

/// How many complaints the node may log while it is cut off, besides a line for each request: some at once, and then a
/// few each second.
fn complaints_within(time: Duration) -> usize {
    10 + 3 * usize::try_from(time.as_secs()).expect("a short time")
}

/// What a half minute does.
const AGED: &str = "UPDATE replies SET lease_until = lease_until - 30000000 WHERE status = 'running'";

/// What lies between the node and the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing comes through, and nobody is told.
    Silence,
    /// Connections are reset, and new ones, too.
    Reset,
    /// Bytes that go this way are lost.
    OneWay(Direction),
    /// For a control.
    Nothing,
}

impl Fault {
    fn strike(self, network: &Proxy) {
        match self {
            Self::Silence => network.stall(),
            Self::Reset => network.refuse(),
            Self::OneWay(direction) => network.lose(direction),
            Self::Nothing => {}
        }
    }
}

/// What becomes of the fault once the other node has taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Passes,
    /// For a control.
    Never,
    /// For a control: it passes, and what the node then meets makes it answer 500.
    Badly,
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    fault: Fault,
    unready_after: Duration,
    complaints: usize,
    cut_off_for: Duration,
    /// From the moment in which the network is well.
    ready_after: Duration,
    written_after: Duration,
    replied_after: Duration,
    seen: Seen,
    census: Census,
    tally: Tally,
}

/// Cuts a node off while it has answers to store, and lets another one take over, then brings the network back.
async fn prove(home: &Arc<TempDir>, database: &TestDatabase, fault: Fault, end: End) -> Proof<Report> {
    let mut dice = Dice::roll("cut off");
    let (db, ledger) = (database.client().await, Ledger::default());
    let front = Node::start(home, database.url(), "front", Duty::ServeWithoutReplies).await;
    let held = front.client().conversation("held").await;
    say(&front.client(), &ledger, &held, &mut dice).await?;
    let shared = front.client().conversation("of the users").await;
    let probes = front.client().conversation("not in the ledger").await;

    let network = Network::to(database).await;
    network.fail_before_storing(move |proxy| fault.strike(proxy));
    let node = Node::start(home, &network.url(database), "cut-off", Duty::Serve).await;
    eventually("the node is about to store", SOON, async || {
        network.has_failed().then_some(())
    })
    .await;
    let struck = Instant::now();
    let complaints_at_start = complaints(&node);
    ready_within(&node, false, UNREADY_WITHIN).await?;
    let unready_after = struck.elapsed();
    let crowd = Crowd::start(&node.client(), &ledger, &[shared], 1, &mut dice);

    let running = format!("status = 'running' AND conversation_id = '{held}'");
    ensure(count(&db, &running).await == HELD, || {
        "the node held nothing".to_owned()
    })?;
    let other = Node::start(home, database.url(), "other", Duty::Serve).await;
    census::tamper(&db, AGED).await;
    say(&other.client(), &ledger, &held, &mut dice).await?;
    let answered = format!("status = 'succeeded' AND conversation_id = '{held}'");
    eventually("the other node has taken over", SOON, async || {
        (count(&db, &answered).await == 2 * HELD).then_some(())
    })
    .await;

    // Those who are sent away at once come again soon.
    let enough = if fault == Fault::Reset { 2_000 } else { 200 };
    eventually("many are sent away, and it is known why", 3 * SOON, async || {
        (crowd.put_off() > enough && node.log().contains("the database is away")).then_some(())
    })
    .await;
    let (complaints, away) = (complaints(&node) - complaints_at_start, struck.elapsed());
    ensure(complaints <= complaints_within(away), || {
        format!("a flood of {complaints} complaints in {away:?}")
    })?;
    ensure(node.client().get("/livez").await.status == 200, || {
        "not alive".to_owned()
    })?;
    ready_within(&node, false, Duration::ZERO).await?;
    // In order, so that it leaves nothing half claimed.
    stop(other).await;
    let cut_off_for = struck.elapsed();

    if end == End::Badly {
        db.batch_execute("ALTER TABLE messages RENAME TO elsewhere")
            .await
            .expect("tampering");
    }
    let restored = Instant::now();
    if end != End::Never {
        network.pass();
    }
    ready_within(&node, true, BACK_WITHIN).await?;
    let ready_after = restored.elapsed();
    writes_within(&node.client(), &probes, BACK_WITHIN).await?;
    let written_after = restored.elapsed();
    replies_within(&node.client(), &probes, BACK_WITHIN).await?;
    let replied_after = restored.elapsed();

    let seen = crowd.finish().await?;
    // What was on its way to the database when the way was cut may have claimed replies for nobody.
    db.execute(AGED, &[]).await.expect("leases that run out");
    let census = Census::settled(&db, Instant::now() + 6 * SOON).await;
    census.judge()?;
    Ok(Report {
        fault,
        unready_after,
        complaints,
        cut_off_for,
        ready_after,
        written_after,
        replied_after,
        seen,
        census,
        tally: ledger.judge(&front.client(), SOON).await?,
    })
}

/// Writes some messages for which there has to be a reply.
async fn say(client: &Client, ledger: &Ledger, conversation: &str, dice: &mut Dice) -> Proof<()> {
    for _ in 0..HELD {
        let said = load::post(client, ledger, 0, conversation, &load::text(dice.next(), "")).await;
        ensure(said.is_some_and(|answer| answer.status == 201), || {
            "a node that is not cut off did not write".to_owned()
        })?;
    }
    Ok(())
}

/// Asks until the node is ready, or until it is not.
async fn ready_within(node: &Node, ready: bool, within: Duration) -> Proof<()> {
    let began = Instant::now();
    loop {
        let answer = node.client().get("/readyz").await;
        match (answer.status == 200, ready) {
            (true, true) => return Ok(()),
            (false, false) => return judge_put_off("readiness", &answer),
            _ => {}
        }
        let wanted = if ready { "ready again" } else { "unready" };
        ensure(began.elapsed() < within, || {
            format!("not {wanted} within {within:?}")
        })?;
        sleep(Duration::from_millis(20)).await;
    }
}

async fn writes_within(client: &Client, conversation: &str, within: Duration) -> Proof<()> {
    let (path, began) = (
        format!("/conversations/{conversation}/messages/create"),
        Instant::now(),
    );
    loop {
        let answer = client
            .post_json(&path, &json!({ "role": "assistant", "text": "by hand" }))
            .await;
        if answer.status == 201 {
            return Ok(());
        }
        judge_put_off("a write", &answer)?;
        ensure(began.elapsed() < within, || "does not write again".to_owned())?;
    }
}

/// A reply to one of some messages: what was claimed for nobody takes longer.
async fn replies_within(client: &Client, conversation: &str, within: Duration) -> Proof<()> {
    let replies = async {
        loop {
            let message = client.message(conversation, "user", "are you there?").await;
            let reply = client.finished_reply(conversation, &message);
            if timeout(Duration::from_secs(1), reply).await.is_ok() {
                return;
            }
        }
    };
    let replied = timeout(within, replies).await;
    replied.map_err(|_| Violation("does not reply again".to_owned()))
}

/// Ends a node in order, and waits for that.
async fn stop(mut node: Node) {
    node.terminate();
    node.wait_exit(2 * SOON).await;
}

async fn count(db: &Database, which: &str) -> usize {
    let count = format!("SELECT count(*) FROM replies WHERE {which}");
    let row = db.query_one(&count, &[]).await.expect("a count");
    usize::try_from(row.get::<_, i64>(0)).expect("a count")
}

/// Warnings and errors in the log, besides the line that each request gets.
fn complaints(node: &Node) -> usize {
    let log = node.log();
    log.lines()
        .filter(|line| line.contains(" WARNING ") || line.contains(" ERROR "))
        .filter(|line| !line.contains(": request "))
        .count()
}

async fn survives(fault: Fault) {
    let Some(cluster) = shared().await else { return };
    let home = new_home();
    let proof = prove(&home, &cluster.database().await, fault, End::Passes).await;
    holds(proof, &home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_comes_back_from_a_network_that_is_silent() {
    survives(Fault::Silence).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_comes_back_from_a_network_that_resets_everything() {
    survives(Fault::Reset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_comes_back_from_a_network_that_loses_its_requests() {
    survives(Fault::OneWay(Direction::ToServer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_comes_back_from_a_network_that_loses_the_answers() {
    survives(Fault::OneWay(Direction::ToClient)).await;
}

async fn is_seen(fault: Fault, end: End, because: &str) {
    let Some(cluster) = shared().await else { return };
    fails(
        prove(&new_home(), &cluster.database().await, fault, end).await,
        because,
    );
}

#[tokio::test]
async fn control_a_node_that_is_not_cut_off_is_seen() {
    is_seen(Fault::Nothing, End::Passes, "not unready").await;
}

#[tokio::test]
async fn control_a_node_that_stays_cut_off_is_seen() {
    is_seen(Fault::Reset, End::Never, "not ready again").await;
}

#[tokio::test]
async fn control_a_node_that_answers_500_is_seen() {
    is_seen(Fault::Reset, End::Badly, "answered 500").await;
}
