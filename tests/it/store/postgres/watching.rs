//! What happens through one node is noticed on the others.

use std::time::{Duration, Instant};

use engagement::{
    model::{MessageId, Progress, Role},
    store::{ConversationStore, EventStore, ReplyStore, Subscription},
};
use tokio::time::timeout;

use super::{Node, number};
use crate::support::{self, SOON, eventually};

/// Long before a watcher would look by itself.
const AT_ONCE: Duration = Duration::from_secs(2);

/// So long nothing happens where nobody does anything: what went before has been told.
const QUIET: Duration = Duration::from_secs(1);

/// Waits until nothing has happened for a while.
async fn quiet(subscription: &Subscription) {
    eventually("it has become quiet", 3 * SOON, async || {
        let happened = subscription.happened();
        timeout(QUIET, happened).await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_happens_on_one_node_is_heard_of_on_another() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let (one, other) = (Node::open(database.url()).await, Node::open(database.url()).await);
    let conversation = one.conversation().await;
    let elsewhere = one.conversation().await;
    let subscription = other.store.news().subscribe(conversation);
    // Beginning to listen is news by itself, and so is the first look for whether it does.
    quiet(&subscription).await;

    // Again if need be: a listener that lost its connection for a moment makes everybody look.
    eventually(
        "control: who watches another conversation is left alone",
        SOON,
        async || {
            let happened = subscription.happened();
            one.say(elsewhere, Role::User, "not here").await;
            let heard = timeout(Duration::from_millis(300), happened).await;
            heard.is_err().then_some(())
        },
    )
    .await;
    for round in 0..5 {
        let happened = subscription.happened();
        let said = Instant::now();
        one.say(conversation, Role::User, "here").await;
        timeout(AT_ONCE, happened)
            .await
            .expect("the other node hears of it");
        eprintln!("round {round}: heard after {:?}", said.elapsed());
    }
    let happened = subscription.happened();
    assert!(one.store.delete_conversation(conversation).await.unwrap());
    timeout(AT_ONCE, happened)
        .await
        .expect("the other node hears of the deletion");
}

#[tokio::test]
async fn a_listener_that_is_ended_makes_everybody_look() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let node = Node::open(database.url()).await;
    let subscription = node.store.news().subscribe(node.conversation().await);
    quiet(&subscription).await;
    let beside = database.client().await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE '%engagement_events%' AND pid <> pg_backend_pid()";

    let happened = subscription.happened();
    // Its last statement is an empty one, now and then, so the session is known by what it listens to only.
    let ended = number(&beside, end, &[]).await;
    if ended == 0 {
        beside
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )
            .await
            .unwrap();
    }

    timeout(SOON, happened).await.expect("whoever waits looks");
}

#[tokio::test]
async fn a_reply_that_is_called_off_elsewhere_is_noticed_where_it_is_written() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let (writing, other) = (Node::open(database.url()).await, Node::open(database.url()).await);
    let conversation = other.conversation().await;
    let call_offs = writing.store.call_offs();
    // Beginning to listen is one by itself.
    timeout(SOON, call_offs.notified())
        .await
        .expect("the node listens");
    for what in ["cancelled", "deleted", "gone"] {
        let message = other.ask(conversation, "a long story").await;
        let lease = writing.claim(1).await[0].lease;
        let mut told = vec![Progress::Started { attempt: 1 }];
        // Again if need be, as above.
        eventually("control: nothing else calls anything off", SOON, async || {
            told.push(Progress::Delta("Once".to_owned()));
            let telling = writing
                .store
                .tell(lease, std::mem::take(&mut told), writing.clock.now());
            telling.await.unwrap();
            let heard = timeout(Duration::from_millis(200), call_offs.notified()).await;
            heard.is_err().then_some(())
        })
        .await;

        let now = other.clock.now();
        let partial = other.ids.message(now);
        match what {
            "cancelled" => {
                other
                    .store
                    .cancel_reply(conversation, message, partial, now, None)
                    .await
                    .unwrap();
            }
            "deleted" => {
                other
                    .store
                    .delete_message(conversation, message, now)
                    .await
                    .unwrap();
            }
            _ => {
                other.store.delete_conversation(conversation).await.unwrap();
            }
        }

        let heard = Instant::now();
        timeout(SOON, call_offs.notified())
            .await
            .unwrap_or_else(|_| panic!("the writing node hears that the reply is {what}"));
        eprintln!("{what}: heard after {:?}", heard.elapsed());
        let lease_length = Duration::from_secs(30);
        let lost = writing
            .store
            .renew_leases(vec![lease], writing.clock.now(), lease_length);
        assert_eq!(lost.await.unwrap(), [lease]);
    }
    let _: MessageId = other
        .say(other.conversation().await, Role::User, "works as before")
        .await;
}
