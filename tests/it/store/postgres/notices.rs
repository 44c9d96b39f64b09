//! A message on one node wakes the workers of the others; where nobody hears, polling is enough.

use std::time::{Duration, Instant};

use engagement::{model::Role, store::ReplyStore};
use tokio::time::timeout;

use super::Node;
use crate::support::{
    self, SOON, Server, eventually,
    postgres::{Durability, PrivateCluster, TestDatabase, private},
    proxy::{Proxy, Upstream, Verdict},
};

/// How often a worker looks into the queue without being told to, at most (2 seconds, give or take a quarter).
const POLL: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn an_append_on_one_node_wakes_the_workers_of_another() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let (one, other) = (Node::open(database.url()).await, Node::open(database.url()).await);
    let conversation = one.conversation().await;
    let wakeups = other.store.wakeups();
    // Beginning to listen is a wake-up by itself.
    timeout(SOON, wakeups.notified()).await.expect("the node listens");

    let said = Instant::now();
    one.say(conversation, Role::User, "anybody there?").await;
    timeout(SOON, wakeups.notified())
        .await
        .expect("the workers are woken");
    // Nothing but a notice does that, so it need not be sooner than anything.
    eprintln!("woken after {:?}", said.elapsed());
    assert!(
        other
            .store
            .until_due(Vec::new(), other.clock.now())
            .await
            .unwrap()
            .is_some(),
        "and there is something to do"
    );
}

#[tokio::test]
async fn a_listener_that_is_ended_comes_back_and_looks_what_it_missed() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let node = Node::open(database.url()).await;
    let wakeups = node.store.wakeups();
    timeout(SOON, wakeups.notified()).await.expect("the node listens");
    let beside = database.client().await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE '%engagement_replies%' AND pid <> pg_backend_pid()";

    assert_eq!(super::number(&beside, end, &[]).await, 1);

    timeout(SOON, wakeups.notified())
        .await
        .expect("it listens again, and wakes the workers");
    eventually("what is said now is heard", SOON, async || {
        beside.batch_execute("NOTIFY engagement_replies").await.unwrap();
        timeout(POLL / 2, wakeups.notified()).await.ok()
    })
    .await;
}

/// How long each of some replies took that a worker gives, connected by this URL, while another node takes the messages.
async fn waits(database: &TestDatabase, workers_url: &str) -> Vec<Duration> {
    let node = Server::builder()
        .env("DATABASE_URL", database.url())
        .arg("serve")
        .arg("--no-replies");
    let node = node.start().await;
    let worker = Server::builder().env("DATABASE_URL", workers_url).arg("worker");
    let _worker = worker.start().await;
    let client = node.client();
    let conversation = client.conversation("waiting").await;
    let mut waits = Vec::new();
    for _ in 0..5 {
        let said = Instant::now();
        let message = client.message(&conversation, "user", "Hello!").await;
        let reply = client.finished_reply(&conversation, &message).await;
        assert_eq!(reply["status"], "succeeded");
        waits.push(said.elapsed());
    }
    waits.sort_unstable();
    waits
}

/// A way to the server on which no session can begin to listen.
async fn deaf(cluster: &PrivateCluster) -> Proxy {
    let proxy = Proxy::start(Upstream::Tcp(cluster.tcp())).await;
    proxy.judge(|chunk| {
        let listens = chunk.windows(6).any(|window| window == b"LISTEN");
        if listens {
            Verdict::ResetBefore
        } else {
            Verdict::Pass
        }
    });
    proxy
}

#[tokio::test]
async fn a_worker_that_hears_nothing_polls() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let (heard, unheard) = (cluster.database().await, cluster.database().await);
    let proxy = deaf(&cluster).await;

    let woken = waits(&heard, heard.url()).await;
    let polled = waits(&unheard, &unheard.url_through(proxy.address())).await;

    eprintln!("replies by another node: woken {woken:?}, polled {polled:?}");
    assert!(proxy.cuts() > 0, "control: nobody could listen");
    assert!(polled[4] < POLL + SOON / 2, "{polled:?}");
    // Also the control: five times by chance, polling would not look so different.
    assert!(
        2 * woken[2] < polled[4],
        "sooner than by polling: {woken:?}, {polled:?}"
    );
}
