//! A replica takes lists off the primary, and nothing that somebody waits for or works by.

use std::time::{Duration, Instant};

use engagement::{
    model::{
        Answer, ConversationId, Finished, MessageFilter, MessageText, Needle, Outcome, PageNumber,
        ReplyState, Role, RoleFilter, Told,
    },
    store::{ConversationStore, PageAnswer, ReplyStore, postgres::Options},
};
use tokio_postgres::Client;

use super::{Node, number};
use crate::{
    store::texts,
    support::{
        SOON, Server, eventually,
        postgres::{Durability, PrivateCluster, TestDatabase, private},
    },
};

/// A primary and its copy.
struct Pair {
    database: TestDatabase,
    replica: PrivateCluster,
    primary: PrivateCluster,
}

impl Pair {
    async fn start() -> Option<Self> {
        let primary = private(Durability::Fast).await?;
        let database = primary.database().await;
        let replica = primary.standby().await;
        Some(Self {
            database,
            replica,
            primary,
        })
    }

    fn options(&self) -> Options {
        let mut options = Options::new(self.database.url());
        options.replica_url = Some(self.replica.url_of(self.database.name()));
        options
    }

    async fn beside_replica(&self) -> Client {
        let url = self.replica.url_of(self.database.name());
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }

    /// Waits until the replica has everything.
    async fn caught_up(&self) {
        let beside = self.database.client().await;
        let written = "SELECT (pg_current_wal_lsn() - '0/0')::bigint";
        let written = number(&beside, written, &[]).await;
        let replica = self.beside_replica().await;
        eventually("the replica has it all", SOON, async || {
            let replayed = "SELECT coalesce(pg_last_wal_replay_lsn() - '0/0', 0)::bigint";
            (number(&replica, replayed, &[]).await >= written).then_some(())
        })
        .await;
    }

    /// Makes the replica stay as it is, or go on.
    async fn lag(&self, lags: bool) {
        let what = if lags {
            "pg_wal_replay_pause"
        } else {
            "pg_wal_replay_resume"
        };
        let replica = self.replica.client().await;
        replica.batch_execute(&format!("SELECT {what}()")).await.unwrap();
        if lags {
            eventually("it stays as it is", SOON, async || {
                let sql = "SELECT (pg_get_wal_replay_pause_state() = 'paused')::int::bigint";
                (number(&replica, sql, &[]).await == 1).then_some(())
            })
            .await;
        }
    }
}

async fn list(node: &Node, of: ConversationId, needle: Option<&str>) -> Vec<String> {
    let filter = MessageFilter {
        role: RoleFilter::Any,
        needle: needle.and_then(Needle::new),
    };
    match node.page(of, filter, PageNumber::Last).await.unwrap() {
        PageAnswer::Page(page) => texts(&page.messages).into_iter().map(str::to_owned).collect(),
        other => panic!("no page: {other:?}"),
    }
}

#[tokio::test]
async fn lists_come_from_the_replica_and_everything_else_from_the_primary() {
    let Some(pair) = Pair::start().await else { return };
    let node = Node::with(&pair.options()).await;
    let conversation = node.conversation().await;
    node.say(conversation, Role::Assistant, "seen by both").await;
    pair.caught_up().await;
    assert_eq!(list(&node, conversation, None).await, ["seen by both"]);

    pair.lag(true).await;
    let question = node.say(conversation, Role::User, "seen by the primary").await;

    for needle in [None, Some("seen")] {
        assert_eq!(
            list(&node, conversation, needle).await,
            ["seen by both"],
            "a list may lag: {needle:?}"
        );
    }
    let message = node.store.message(conversation, question).await.unwrap();
    assert_eq!(
        message.expect("what was just written").text.as_str(),
        "seen by the primary"
    );
    let updated = node
        .store
        .conversation(conversation)
        .await
        .unwrap()
        .unwrap()
        .updated;
    assert_eq!(
        updated,
        node.store
            .message(conversation, question)
            .await
            .unwrap()
            .unwrap()
            .created
    );
    let reply = node.store.reply(conversation, question).await.unwrap();
    assert_eq!(reply.expect("a reply").state, ReplyState::Queued);
    assert!(
        node.store
            .until_due(Vec::new(), node.clock.now())
            .await
            .unwrap()
            .is_some()
    );
    let claimed = node
        .store
        .claim_replies(1, Vec::new(), node.clock.now(), SOON)
        .await
        .unwrap();
    let answer = Outcome::Answered(Answer::new(
        node.ids.message(node.clock.now()),
        MessageText::parse("an answer").unwrap(),
    ));
    let finished = node
        .store
        .finish_reply(claimed[0].lease, answer, Told::default(), node.clock.now())
        .await;
    assert_eq!(finished.unwrap(), Finished::Stored);
    let reply = node.store.reply(conversation, question).await.unwrap().unwrap();
    assert!(matches!(reply.state, ReplyState::Succeeded), "{reply:?}");

    pair.lag(false).await;
    eventually("the list has it all", SOON, async || {
        (list(&node, conversation, None).await.len() == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_replica_does_not_know_yet_comes_from_the_primary() {
    let Some(pair) = Pair::start().await else { return };
    let node = Node::with(&pair.options()).await;
    let known = node.conversation().await;
    for _ in 0..10 {
        node.say(known, Role::Assistant, "on the first page").await;
    }
    pair.caught_up().await;
    pair.lag(true).await;

    let new = node.conversation().await;
    node.say(new, Role::Assistant, "in a new conversation").await;
    node.say(known, Role::Assistant, "on the second page").await;

    assert_eq!(list(&node, new, None).await, ["in a new conversation"]);
    assert_eq!(list(&node, new, Some("new")).await, ["in a new conversation"]);
    let second = PageNumber::Nth(std::num::NonZeroU64::new(2).unwrap());
    let page = node.page(known, MessageFilter::default(), second).await.unwrap();
    let PageAnswer::Page(page) = page else {
        panic!("no page: {page:?}")
    };
    assert_eq!(
        (texts(&page.messages), page.count),
        (vec!["on the second page"], 11)
    );
    let third = PageNumber::Nth(std::num::NonZeroU64::new(3).unwrap());
    let page = node.page(known, MessageFilter::default(), third).await.unwrap();
    assert_eq!(page, PageAnswer::NoSuchPage, "which only the primary can tell");
}

#[tokio::test]
async fn a_replica_that_is_away_costs_nothing() {
    let Some(pair) = Pair::start().await else { return };
    let node = Node::with(&pair.options()).await;
    let conversation = node.conversation().await;
    node.say(conversation, Role::Assistant, "a needle").await;
    pair.caught_up().await;
    assert_eq!(list(&node, conversation, None).await, ["a needle"]);

    pair.replica.stop().await;

    // The first to notice may wait a moment for the connection to come back.
    assert_eq!(list(&node, conversation, None).await, ["a needle"]);
    assert_eq!(list(&node, conversation, Some("needle")).await, ["a needle"]);
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(list(&node, conversation, None).await, ["a needle"]);
        assert_eq!(list(&node, conversation, Some("needle")).await, ["a needle"]);
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    let began = Instant::now();
    let opened = Node::with(&pair.options()).await;
    assert_eq!(list(&opened, conversation, None).await, ["a needle"]);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "a store opens without it: {:?}",
        began.elapsed()
    );

    pair.replica.start_again().await;
    pair.caught_up().await;
    pair.lag(true).await;
    node.say(conversation, Role::Assistant, "not in the replica")
        .await;
    eventually("lists come from the replica again", SOON, async || {
        (list(&node, conversation, None).await == ["a needle"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_reads_lists_from_its_replica() {
    let Some(pair) = Pair::start().await else { return };
    let server = Server::builder()
        .env("DATABASE_URL", pair.database.url())
        .env("DATABASE_REPLICA_URL", &pair.replica.url_of(pair.database.name()));
    let server = server.start().await;
    let client = server.client();
    let conversation = client.conversation_of(&["seen by both"]).await;
    pair.caught_up().await;
    pair.lag(true).await;

    let question = client.message(&conversation, "user", "Hello!").await;

    let reply = client.finished_reply(&conversation, &question).await;
    assert_eq!(
        reply["status"], "succeeded",
        "replies do not wait for the replica"
    );
    let path = format!("/conversations/{conversation}/messages/{question}");
    assert_eq!(client.get(&path).await.expect(200)["text"], "Hello!");
    assert_eq!(
        client.texts(&conversation).await,
        ["seen by both"],
        "the list is the replica's"
    );
    pair.lag(false).await;
    eventually("the list has it all", SOON, async || {
        (client.texts(&conversation).await.len() == 3).then_some(())
    })
    .await;
    assert!(pair.primary.pid().is_some());
}
