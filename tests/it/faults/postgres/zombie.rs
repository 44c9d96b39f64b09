//! A node that is frozen in the middle of its work, past its lease, and thawed: what it comes back with is discarded.

use std::sync::Arc;
use std::time::Instant;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio_postgres::Client;

use super::super::ledger::{Ledger, Tally};
use super::super::load;
use super::super::{Proof, ensure, fails, holds, new_home};
use super::census::{self, Census};
use super::network::Network;
use super::node::{Duty, Node};
use crate::support::SOON;
use crate::support::eventually;
use crate::support::postgres::{TestDatabase, shared};
use crate::support::proxy::Proxy;

/// How many replies the frozen node holds.
const HELD: usize = 8;

/// The node finds out by itself, or hears first that its leases are gone.
const DISCARDED: &str = "reply discarded: its lease was lost";

fn discarded(log: &str) -> usize {
    log.matches(DISCARDED).count()
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    discarded: usize,
    census: Census,
    tally: Tally,
}

/// What time and others do while a node is frozen.
struct Meanwhile {
    leases_run_out: bool,
    /// What somebody does to the database before the node is thawed.
    tamper: &'static str,
}

/// Freezes a node that has its answers ready and is about to store them; lets another one take over; thaws it.
async fn prove(home: &Arc<TempDir>, database: &TestDatabase, meanwhile: Meanwhile) -> Proof<Report> {
    let network = Network::to(database).await;
    let requests = Node::start(home, database.url(), "requests", Duty::ServeWithoutReplies).await;
    let db = database.client().await;
    let (client, ledger) = (requests.client(), Ledger::default());
    let conversation = client.conversation("with a zombie").await;
    for token in 0..HELD {
        load::post(&client, &ledger, 0, &conversation, &load::text(token as u64, "")).await;
    }
    network.fail_before_storing(Proxy::stall);
    let frozen = Node::start(home, &network.url(database), "frozen", Duty::Work).await;
    eventually("the node holds all replies and stores none", SOON, async || {
        let holds = running(&db).await == HELD && network.has_failed();
        holds.then_some(())
    })
    .await;
    frozen.freeze().await;
    // The network is well: it is the node that does nothing.
    network.pass();

    if meanwhile.leases_run_out {
        // What half a minute does, and sooner.
        census::tamper(&db, "UPDATE replies SET lease_until = lease_until - 30000000").await;
    }
    let other = Node::start(home, database.url(), "other", Duty::Work).await;
    if meanwhile.leases_run_out {
        let taken_over = Census::settled(&db, Instant::now() + SOON).await;
        taken_over.judge()?;
        eventually("the other node says that it took them over", SOON, async || {
            other.log().contains("took back replies").then_some(())
        })
        .await;
    }
    census::tamper(&db, meanwhile.tamper).await;

    frozen.signal(Signal::CONT);
    let ended = |log: &str| discarded(log) + log.matches(" reply conversation=").count();
    eventually("the thawed node is done with its replies", SOON, async || {
        (ended(&frozen.log()) >= HELD).then_some(())
    })
    .await;
    let discarded = discarded(&frozen.log());
    let census = Census::settled(&db, Instant::now() + SOON).await;
    census.judge()?;
    ensure(discarded == HELD, || {
        format!("{} late answers were stored", HELD - discarded)
    })?;
    Ok(Report {
        discarded,
        census,
        tally: ledger.judge(&client, SOON).await?,
    })
}

async fn running(db: &Client) -> usize {
    let count = "SELECT count(*) FROM replies WHERE status = 'running'";
    let row = db.query_one(count, &[]).await.expect("a count");
    usize::try_from(row.get::<_, i64>(0)).expect("a count")
}

const AS_IT_IS: Meanwhile = Meanwhile {
    leases_run_out: true,
    tamper: "",
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_frozen_node_comes_back_with_is_discarded() {
    let Some(cluster) = shared().await else { return };
    let home = new_home();
    holds(prove(&home, &cluster.database().await, AS_IT_IS).await, &home);
}

/// What would be, were there no token and no index: the late answers find the replies as they were when their node
/// was frozen.
const UNFENCED: &str = "
    DROP INDEX messages_one_answer;
    UPDATE replies SET status = 'running', lease_token = 1, lease_until = 9000000000000000, finished_at = NULL";

#[tokio::test]
async fn control_late_answers_that_are_stored_are_seen() {
    let Some(cluster) = shared().await else { return };
    let meanwhile = Meanwhile {
        tamper: UNFENCED,
        ..AS_IT_IS
    };
    let proof = prove(&new_home(), &cluster.database().await, meanwhile).await;
    fails(proof, "8 answered twice");
}

#[tokio::test]
async fn control_a_node_that_comes_back_within_its_lease_is_seen() {
    let Some(cluster) = shared().await else { return };
    let meanwhile = Meanwhile {
        leases_run_out: false,
        ..AS_IT_IS
    };
    let proof = prove(&new_home(), &cluster.database().await, meanwhile).await;
    fails(proof, "8 late answers were stored");
}
