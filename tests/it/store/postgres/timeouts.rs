//! Nothing waits for ever: locks, searches that nobody wants any more, sessions that were left in a transaction.

use std::time::{Duration, Instant};

use engagement::{
    model::{ConversationId, MessageFilter, Needle, PageNumber, Role, RoleFilter},
    store::{ConversationStore, Error, postgres::Options},
};
use tokio_postgres::Client;

use super::{Node, number};
use crate::support::{
    self, SOON, eventually,
    postgres::{Durability, TestDatabase, private},
    proxy::{Proxy, Upstream},
};

const LIMIT: Duration = Duration::from_secs(1);

/// What the connection adds to the server's limit before it is given up, and a busy machine to everything.
const SLACK: Duration = Duration::from_secs(2);

async fn impatient(database: &TestDatabase) -> Node {
    let mut options = Options::new(database.url());
    options.statement_timeout = LIMIT;
    Node::with(&options).await
}

#[tokio::test]
async fn writes_that_wait_for_a_lock_are_put_off_in_time_and_reads_go_on() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let node = impatient(&database).await;
    let conversation = node.conversation().await;
    let message = node.say(conversation, Role::User, "before").await;
    let beside = database.client().await;
    beside.batch_execute("BEGIN; LOCK TABLE messages").await.unwrap();

    let asked = Instant::now();
    let put_off = async {
        let appended = node.try_say(conversation, Role::User, "meanwhile").await;
        let deleted = node
            .store
            .delete_message(conversation, message, node.clock.now())
            .await;
        (appended.map(drop), deleted.map(drop), asked.elapsed())
    };
    let reads = async {
        for _ in 0..20 {
            let read = node.store.conversation(conversation).await;
            assert!(read.unwrap().is_some());
        }
        asked.elapsed()
    };
    let ((appended, deleted, took), reading) = tokio::join!(put_off, reads);

    for refused in [appended, deleted] {
        assert!(
            matches!(&refused, Err(Error::Unavailable(reason)) if reason.contains("lock timeout")),
            "{refused:?}"
        );
    }
    assert!(
        took < 2 * LIMIT + SLACK,
        "two writes, one after the other: {took:?}"
    );
    assert!(
        reading < took,
        "what does not need the table is read while they wait: {reading:?}, {took:?}"
    );
    beside.batch_execute("ROLLBACK").await.unwrap();
    node.say(conversation, Role::User, "afterwards").await;
    let all = "SELECT count(*) FROM messages";
    assert_eq!(
        number(&beside, all, &[]).await,
        2,
        "what was put off did not happen"
    );
}

fn searching() -> MessageFilter {
    MessageFilter {
        role: RoleFilter::Any,
        needle: Needle::new("needle"),
    }
}

async fn searches(beside: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND state = 'active' AND query LIKE '%-- messages: those that hold a text%'
                     AND pid <> pg_backend_pid()";
    number(beside, sql, &[]).await
}

#[tokio::test]
async fn a_search_that_nobody_waits_for_is_stopped_and_its_session_is_free_again() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let mut options = Options::new(database.url());
    // Only being stopped can end a search within this test.
    options.scan_deadline = Duration::from_mins(10);
    let node = Node::with(&options).await;
    let conversation = node.conversation().await;
    node.say(conversation, Role::User, "a needle").await;
    let (locking, beside) = (database.client().await, database.client().await);
    let search = || node.page(conversation, searching(), PageNumber::Last);
    search().await.unwrap();
    locking.batch_execute("BEGIN; LOCK TABLE messages").await.unwrap();

    // More of them than there are sessions for searches.
    for _ in 0..5 {
        let at_work = eventually("the search is at work", SOON, async || {
            (searches(&beside).await == 1).then_some(())
        });
        tokio::select! {
            found = search() => panic!("it cannot be found yet: {found:?}"),
            () = at_work => {}
        }
        eventually("the search is stopped", SOON, async || {
            (searches(&beside).await == 0).then_some(())
        })
        .await;
    }

    let wanted = search();
    let unlock = async {
        eventually("the search is at work", SOON, async || {
            (searches(&beside).await == 1).then_some(())
        })
        .await;
        locking.batch_execute("ROLLBACK").await.unwrap();
    };
    let (found, ()) = tokio::join!(wanted, unlock);
    found.expect("a search that somebody waits for is not stopped");
}

async fn in_state(beside: &Client, state: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'engagement' AND state = $1";
    number(beside, sql, &[&state]).await
}

#[tokio::test]
async fn a_session_that_is_cut_off_within_a_transaction_is_ended_and_its_locks_are_free() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let database = cluster.database().await;
    let proxy = Proxy::start(Upstream::Tcp(cluster.tcp())).await;
    let mut options = Options::new(database.url_through(proxy.address()));
    options.statement_timeout = LIMIT;
    let (cut_off, other) = (Node::with(&options).await, impatient(&database).await);
    let conversation: ConversationId = other.conversation().await;
    let message = other.say(conversation, Role::User, "to be deleted").await;
    let (locking, beside) = (database.client().await, database.client().await);
    let lock = "BEGIN; SELECT FROM conversations FOR UPDATE";
    locking.batch_execute(lock).await.unwrap();

    let delete = cut_off
        .store
        .delete_message(conversation, message, cut_off.clock.now());
    let cut = async {
        eventually("the deletion waits", SOON, async || {
            (in_state(&beside, "active").await == 1).then_some(())
        })
        .await;
        proxy.stall();
        locking.batch_execute("ROLLBACK").await.unwrap();
        eventually("it has the row, and nobody ends it", SOON, async || {
            (in_state(&beside, "idle in transaction").await == 1).then_some(())
        })
        .await;
        let began = Instant::now();
        eventually("the server ends it", SOON, async || {
            (in_state(&beside, "idle in transaction").await == 0).then_some(())
        })
        .await;
        began.elapsed()
    };
    let (deleted, took) = tokio::join!(delete, cut);

    assert!(matches!(deleted, Err(Error::Unavailable(_))), "{deleted:?}");
    assert!(took < LIMIT + SLACK, "{took:?}");
    other.say(conversation, Role::User, "afterwards").await;
    assert!(
        other
            .store
            .message(conversation, message)
            .await
            .unwrap()
            .is_some(),
        "it was rolled back"
    );
}
