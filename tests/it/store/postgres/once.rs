//! Requests that come to several nodes at once, in groups, and through a network that fails, are carried out once.

use std::collections::HashMap;

use engagement::{
    model::{ConversationId, Message, Role, Timestamp},
    store::{ConversationStore, Error, Mark, Once, OnceStore},
};
use futures_util::future::join_all;
use uuid::Uuid;

use super::{Node, number};
use crate::support::{
    self,
    postgres::{Durability, private},
    proxy::{Cut, Proxy, Upstream},
};

const CALLERS: u128 = 64;

impl Node {
    /// Appends a message under this mark; what is remembered is its id and its date.
    async fn say_once(&self, to: ConversationId, mark: u128) -> Result<Option<Message>, Error> {
        self.try_say_once(to, mark, "once").await
    }

    async fn try_say_once(
        &self,
        to: ConversationId,
        mark: u128,
        text: &str,
    ) -> Result<Option<Message>, Error> {
        let new = self.message(to, Role::User, text);
        let mark = Mark {
            id: Uuid::from_u128(mark),
            fingerprint: Uuid::nil(),
        };
        let once = Once::new(mark, new.now, Timestamp::from_micros(0), answer);
        self.store.append_message(new, Some(once)).await
    }

    async fn answered(&self, mark: u128) -> Option<String> {
        let forgotten = Timestamp::from_micros(0);
        let remembered = self.store.remembered(Uuid::from_u128(mark), forgotten).await;
        remembered.unwrap().map(|remembered| remembered.answer)
    }
}

fn answer(message: &Message) -> String {
    format!("{} {}", message.id.as_uuid(), message.created.as_micros())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_carry_out_a_request_once() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let nodes = [Node::open(database.url()).await, Node::open(database.url()).await];
    let (hot, other) = (nodes[0].conversation().await, nodes[0].conversation().await);

    let tries = (0..20_usize)
        .flat_map(|_| 0..CALLERS)
        .enumerate()
        .map(|(at, mark)| {
            let node = &nodes[at % 3 % 2];
            let conversation = if mark % 4 == 0 { other } else { hot };
            async move { (mark, node.say_once(conversation, mark).await) }
        });
    let mut done: HashMap<u128, Message> = HashMap::new();
    for (mark, outcome) in join_all(tries).await {
        match outcome {
            Ok(Some(message)) => assert!(done.insert(mark, message).is_none(), "{mark} was done twice"),
            Err(Error::Repeated) => {}
            other => panic!("{mark}: {other:?}"),
        }
    }

    assert_eq!(done.len(), CALLERS as usize);
    for (mark, message) in &done {
        assert_eq!(nodes[1].answered(*mark).await, Some(answer(message)));
    }
    let beside = database.client().await;
    let stored = number(&beside, "SELECT count(*) FROM messages", &[]).await;
    assert_eq!(stored, i64::try_from(CALLERS).unwrap());
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&beside, deadlocks, &[]).await, 0);
}

#[tokio::test]
async fn control_without_marks_each_try_is_carried_out() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let nodes = [Node::open(database.url()).await, Node::open(database.url()).await];
    let conversation = nodes[0].conversation().await;
    join_all(
        nodes
            .iter()
            .map(|node| node.say(conversation, Role::User, "once")),
    )
    .await;
    let stored = number(&database.client().await, "SELECT count(*) FROM messages", &[]).await;
    assert_eq!(stored, 2);
}

#[tokio::test]
async fn requests_under_marks_are_committed_together() {
    let Some(cluster) = private(Durability::Durable).await else {
        return;
    };
    let database = cluster.database().await;
    let node = Node::open(database.url()).await;
    let mut conversations = Vec::new();
    for _ in 0..CALLERS {
        conversations.push(node.conversation().await);
    }
    let beside = database.client().await;
    let transactions = async || {
        let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        number(&beside, sql, &[]).await
    };

    let before = transactions().await;
    let say = conversations
        .iter()
        .zip(0..)
        .map(|(to, mark)| node.say_once(*to, mark));
    for said in join_all(say).await {
        assert!(said.unwrap().is_some());
    }
    let together = transactions().await - before;

    assert!(together <= 16, "{together} commits for {CALLERS} messages");
}

#[tokio::test]
async fn a_request_whose_answer_is_lost_is_found_and_not_carried_out_again() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let database = cluster.database().await;
    let proxy = Proxy::start(Upstream::Tcp(cluster.tcp())).await;
    let node = Node::open(&database.url_through(proxy.address())).await;
    let conversation = node.conversation().await;
    node.say_once(conversation, 1).await.unwrap();

    proxy.cut_when(b"in doubt", Cut::AfterSending);
    let first = node.try_say_once(conversation, 2, "in doubt").await;
    let message = first.expect("it is looked up").expect("the conversation exists");
    assert_eq!(node.answered(2).await, Some(answer(&message)));
    let again = node.try_say_once(conversation, 2, "in doubt").await;
    assert!(matches!(again, Err(Error::Repeated)), "{again:?}");

    proxy.cut_when(b"never sent", Cut::BeforeSending);
    let first = node.try_say_once(conversation, 3, "never sent").await;
    assert!(matches!(first, Err(Error::Unavailable(_))), "{first:?}");
    assert_eq!(
        node.answered(3).await,
        None,
        "control: what was not carried out is not remembered"
    );
    let again = node.try_say_once(conversation, 3, "never sent").await;
    assert!(matches!(again, Ok(Some(_))), "{again:?}");

    let beside = database.client().await;
    assert_eq!(number(&beside, "SELECT count(*) FROM messages", &[]).await, 3);
    assert_eq!(number(&beside, "SELECT count(*) FROM idempotency", &[]).await, 3);
}
