//! What deleted conversations leave behind is removed by whichever node looks first.

use engagement::model::Role;
use engagement::store::{ConversationStore, Store};
use futures_util::future::join_all;
use tokio_postgres::Client;

use super::{Node, number};
use crate::support::{self, SOON, eventually};

async fn left(beside: &Client) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM replies) + (SELECT count(*) FROM purges)";
    number(beside, sql, &[]).await
}

#[tokio::test]
async fn what_a_deleted_conversation_leaves_is_removed_by_and_by() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let node = Node::open(database.url()).await;
    let conversation = node.conversation().await;
    join_all((0..1_500).map(|_| node.say(conversation, Role::User, "gone"))).await;

    assert!(node.store.delete_conversation(conversation).await.unwrap());

    let beside = database.client().await;
    eventually("nothing is left", SOON, async || {
        (left(&beside).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_nodes_remove_together_what_a_third_left_behind() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let gone = Node::open(database.url()).await;
    let kept = gone.conversation().await;
    gone.say(kept, Role::User, "stays").await;
    gone.store.close().await;
    let beside = database.client().await;
    // As if it had deleted 12 conversations and ended before it removed their messages.
    beside
        .batch_execute(
            "INSERT INTO purges SELECT gen_random_uuid() FROM generate_series(1, 12);
             INSERT INTO messages (id, conversation_id, seq, role, text, created_at, updated_at)
             SELECT gen_random_uuid(), conversation_id, seq, 'user', 'gone', 0, 0
             FROM purges, generate_series(1, 1500) AS seq;
             INSERT INTO replies (message_id, conversation_id, status, run_after, created_at, started_at, finished_at)
             SELECT id, conversation_id, 'succeeded', 0, 0, 0, 0 FROM messages WHERE text = 'gone'",
        )
        .await
        .unwrap();
    assert_eq!(left(&beside).await, 2 + 12 + 2 * 12 * 1_500);

    let (one, other) = tokio::join!(Node::open(database.url()), Node::open(database.url()));

    eventually("only what stays is left", SOON, async || {
        (left(&beside).await == 2).then_some(())
    })
    .await;
    for node in [one, other] {
        node.say(kept, Role::User, "works as before").await;
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&beside, deadlocks, &[]).await, 0);
}
