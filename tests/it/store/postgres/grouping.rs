//! Appends that wait together are committed together, and nobody fails or waits for ever because of a neighbour.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use engagement::{
    model::{Answer, ConversationId, Finished, MessageId, MessageText, Outcome, Role, Told},
    store::{ConversationStore, Error, ReplyStore, postgres::Options},
};
use futures_util::future::join_all;
use tokio_postgres::Client;

use super::{Node, number};
use crate::support::{
    self, SOON, eventually,
    postgres::{Durability, TestDatabase, private},
};

const CALLERS: usize = 64;

/// How many transactions have written anything in this server so far.
async fn transactions(client: &Client) -> i64 {
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    number(client, sql, &[]).await
}

#[tokio::test]
async fn what_waits_together_is_committed_together() {
    let Some(cluster) = private(Durability::Durable).await else {
        return;
    };
    let database = cluster.database().await;
    let node = Node::open(database.url()).await;
    let conversation = node.conversation().await;
    let beside = database.client().await;

    let before = transactions(&beside).await;
    for _ in 0..CALLERS {
        node.say(conversation, Role::User, "one after the other").await;
    }
    let alone = transactions(&beside).await - before;

    let before = transactions(&beside).await;
    let callers = (0..CALLERS).map(|_| node.say(conversation, Role::User, "all at once"));
    join_all(callers).await;
    let together = transactions(&beside).await - before;

    eprintln!("{CALLERS} messages: {alone} commits one after the other, {together} all at once");
    let callers = i64::try_from(CALLERS).unwrap();
    assert!(
        alone >= callers,
        "control: a lone caller's message is a commit, so these can be counted"
    );
    assert!(
        together <= callers / 4,
        "{together} commits for {callers} messages"
    );
}

/// Keeps every write from its table until dropped or committed.
async fn lock(client: &Client) {
    client
        .batch_execute("BEGIN; LOCK TABLE messages IN EXCLUSIVE MODE")
        .await
        .unwrap();
}

async fn waiting(client: &Client) -> i64 {
    number(client, "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())", &[]).await
}

#[tokio::test]
async fn a_row_that_cannot_be_stored_fails_alone() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let node = Node::open(database.url()).await;
    let conversation = node.conversation().await;
    let taken = node.say(conversation, Role::User, "the first with this id").await;
    let beside = database.client().await;

    // Who writes first stands before the lock, and all the others gather behind.
    lock(&beside).await;
    let append = async |at: usize| {
        let mut new = node.message(conversation, Role::User, "a neighbour");
        if at == CALLERS / 2 {
            new.id = taken;
        }
        node.store.append_message(new, None).await
    };
    let release = async {
        eventually("a writer waits", SOON, async || {
            (waiting(&beside).await > 0).then_some(())
        })
        .await;
        beside.batch_execute("COMMIT").await.unwrap();
    };
    let (stored, ()) = tokio::join!(join_all((0..CALLERS).map(append)), release);

    for (at, outcome) in stored.iter().enumerate() {
        let is_right = match outcome {
            Ok(Some(_)) => at != CALLERS / 2,
            Err(Error::Conflict) => at == CALLERS / 2,
            _ => false,
        };
        assert!(is_right, "{at}: {outcome:?}");
    }
    let places = "SELECT count(*) FROM messages HAVING min(seq) = 1 AND max(seq) = count(*)";
    assert_eq!(
        number(&beside, places, &[]).await,
        i64::try_from(CALLERS).unwrap(),
        "no place is left out"
    );
}

/// What two nodes do to the same conversations, until told to stop.
struct Turmoil<'a> {
    nodes: &'a [Node; 2],
    conversations: Vec<ConversationId>,
    over: AtomicBool,
    appended: AtomicUsize,
    answered: AtomicUsize,
    deleted: AtomicUsize,
}

/// Conversations from which messages are deleted; in the others, every place stays taken.
const THINNED: usize = 10;

impl Turmoil<'_> {
    /// Some seconds' worth on a small machine.
    fn is_enough(&self) -> bool {
        let has = |counter: &AtomicUsize, wanted| counter.load(Ordering::SeqCst) >= wanted;
        has(&self.appended, 10_000) && has(&self.answered, 2_000) && has(&self.deleted, 300)
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    async fn append(&self, caller: usize) {
        let node = &self.nodes[caller % 2];
        let mut turn = caller;
        while self.goes_on() {
            turn = turn.wrapping_mul(31).wrapping_add(7);
            let conversation = self.conversations[turn % self.conversations.len()];
            let said = node.try_say(conversation, Role::User, "question").await;
            said.expect("no error").expect("the conversation exists");
            self.appended.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn answer(&self, at: usize) {
        let node = &self.nodes[at % 2];
        while self.goes_on() {
            let now = node.clock.now();
            let claimed = node
                .store
                .claim_replies(8, Vec::new(), now, Duration::from_secs(30))
                .await;
            let claimed = claimed.expect("no error");
            let finish = claimed.into_iter().map(|claimed| async move {
                let lost = node
                    .store
                    .renew_leases(vec![claimed.lease], now, Duration::from_secs(30))
                    .await;
                lost.expect("no error");
                let id = node.ids.message(now);
                let text = MessageText::parse("answer").unwrap();
                let answer = Outcome::Answered(Answer::new(id, text));
                node.store
                    .finish_reply(claimed.lease, answer, Told::default(), now)
                    .await
                    .expect("no error")
            });
            let finished = join_all(finish).await;
            let stored = finished
                .iter()
                .filter(|finished| **finished == Finished::Stored)
                .count();
            self.answered.fetch_add(stored, Ordering::SeqCst);
            let swept = node.store.sweep_replies(now, 10, Duration::from_mins(5)).await;
            swept.expect("no error");
        }
    }

    async fn delete(&self, at: usize, beside: &Client) {
        let node = &self.nodes[at % 2];
        let sql = "SELECT id FROM messages WHERE conversation_id = $1 ORDER BY seq LIMIT 20";
        while self.goes_on() {
            for conversation in &self.conversations[..THINNED] {
                let ids = beside.query(sql, &[&conversation.as_uuid()]).await.unwrap();
                let delete = ids.iter().map(|row| {
                    let id = MessageId::new(row.get(0));
                    node.store.delete_message(*conversation, id, node.clock.now())
                });
                for deleted in join_all(delete).await {
                    self.deleted
                        .fetch_add(usize::from(deleted.expect("no error")), Ordering::SeqCst);
                }
            }
        }
    }

    /// Conversations come and go beside the others.
    async fn come_and_go(&self, at: usize) {
        let node = &self.nodes[at % 2];
        while self.goes_on() {
            let conversation = node.conversation().await;
            let other = &self.nodes[(at + 1) % 2];
            let (said, deleted) = tokio::join!(
                join_all((0..8).map(|_| node.try_say(conversation, Role::User, "too late?"))),
                other.store.delete_conversation(conversation),
            );
            assert!(said.iter().all(Result::is_ok), "{said:?}");
            assert!(deleted.expect("no error"));
        }
    }
}

async fn deadlocks(database: &TestDatabase) -> i64 {
    let client = database.client().await;
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    number(&client, sql, &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_over_the_same_conversations_never_stand_in_each_others_way() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let mut options = Options::new(database.url());
    // Deadlocks are to be seen, not waiting that a busy machine makes long.
    options.statement_timeout = Duration::from_secs(30);
    let nodes = [Node::with(&options).await, Node::with(&options).await];
    let mut conversations = Vec::new();
    for _ in 0..20 {
        conversations.push(nodes[0].conversation().await);
    }
    let turmoil = Turmoil {
        nodes: &nodes,
        conversations,
        over: AtomicBool::new(false),
        appended: AtomicUsize::new(0),
        answered: AtomicUsize::new(0),
        deleted: AtomicUsize::new(0),
    };
    let (beside, looking) = (database.client().await, database.client().await);

    tokio::join!(
        join_all((0..24).map(|caller| turmoil.append(caller))),
        join_all((0..4).map(|at| turmoil.answer(at))),
        join_all((0..2).map(|at| turmoil.delete(at, &looking))),
        join_all((0..2).map(|at| turmoil.come_and_go(at))),
        async {
            eventually("enough has happened", 6 * SOON, async || {
                turmoil.is_enough().then_some(())
            })
            .await;
            turmoil.over.store(true, Ordering::SeqCst);
        },
    );

    let count = |counter: &AtomicUsize| i64::try_from(counter.load(Ordering::SeqCst)).unwrap();
    let (appended, answered, deleted) = (
        count(&turmoil.appended),
        count(&turmoil.answered),
        count(&turmoil.deleted),
    );
    eprintln!("{appended} appended, {answered} answered, {deleted} deleted");
    assert_eq!(deadlocks(&database).await, 0);
    for (at, conversation) in turmoil.conversations.iter().enumerate() {
        let sql = "SELECT last_seq >= max(seq) AND count(DISTINCT seq) = count(*)
                          AND user_count = count(*) FILTER (WHERE role = 'user')
                          AND assistant_count = count(*) FILTER (WHERE role = 'assistant'),
                          last_seq = count(*) AND min(seq) = 1
                   FROM messages JOIN conversations AS c ON c.id = conversation_id
                   WHERE c.id = $1 GROUP BY c.id";
        let row = beside.query_opt(sql, &[&conversation.as_uuid()]).await.unwrap();
        // A conversation may be empty at the moment.
        let (is_right, is_dense) = row.map_or((true, false), |row| (row.get(0), row.get(1)));
        assert!(is_right, "counts and places of conversation {at}");
        assert!(
            is_dense || at < THINNED,
            "every place is taken in conversation {at}"
        );
    }
    let doubled = "SELECT count(*) FROM replies WHERE status = 'succeeded' AND 1 <> (SELECT count(*) FROM messages WHERE reply_to = message_id)
                   AND conversation_id <> ALL ($1)";
    let thinned: Vec<_> = turmoil.conversations[..THINNED]
        .iter()
        .map(ConversationId::as_uuid)
        .collect();
    assert_eq!(
        number(&beside, doubled, &[&thinned]).await,
        0,
        "a reply that succeeded has its one answer"
    );
}
