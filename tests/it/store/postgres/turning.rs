//! Replies that take turns, with two nodes at them: one at a time, all of them, in their order.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use engagement::{
    model::{Answer, BusyPolicy, ConversationId, Failure, Finished, MessageText, Outcome, Told},
    store::{ConversationStore, Error, ReplyStore},
};
use futures_util::future::join_all;

use super::{Node, number};
use crate::support::{self, SOON, eventually};

/// How many replies are asked for in each conversation.
const ROUNDS: usize = 250;
const CONVERSATIONS: usize = 4;

struct Hammer<'a> {
    nodes: &'a [Node; 2],
    conversations: Vec<ConversationId>,
    /// Whose turn it is at the moment.
    busy: Mutex<HashSet<ConversationId>>,
    finished: AtomicUsize,
    asked: AtomicUsize,
    over: AtomicBool,
}

impl Hammer<'_> {
    async fn ask(&self, at: usize) {
        let node = &self.nodes[at % 2];
        for round in 0..ROUNDS / 2 {
            for conversation in &self.conversations {
                let mut new = node.asking(*conversation, "another one");
                if round % 50 == 49 {
                    new.reply.busy = BusyPolicy::Reject;
                }
                match node.store.append_message(new, None).await {
                    Ok(Some(_)) => self.asked.fetch_add(1, Ordering::SeqCst),
                    Err(Error::Busy) => 0,
                    other => panic!("{other:?}"),
                };
            }
        }
    }

    async fn answer(&self, at: usize) {
        let node = &self.nodes[at % 2];
        let mut turn = at;
        while !self.over.load(Ordering::SeqCst) {
            for claimed in node.claim(2).await {
                let conversation = claimed.lease.conversation;
                assert!(
                    self.busy.lock().unwrap().insert(conversation),
                    "one reply at a time is written in a conversation"
                );
                turn = turn.wrapping_mul(31).wrapping_add(7);
                let now = node.clock.now();
                let outcome = match turn % 5 {
                    0 => Outcome::Failed(Failure::new("code", "sentence")),
                    _ => Outcome::Answered(Answer::new(
                        node.ids.message(now),
                        MessageText::parse("answer").unwrap(),
                    )),
                };
                // Before it is finished, because the next may be claimed before this is told.
                self.busy.lock().unwrap().remove(&conversation);
                let finished = node
                    .store
                    .finish_reply(claimed.lease, outcome, Told::default(), now);
                assert_eq!(finished.await.unwrap(), Finished::Stored);
                self.finished.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_are_never_lost_between_two_nodes() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let nodes = [Node::open(database.url()).await, Node::open(database.url()).await];
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        conversations.push(nodes[0].conversation().await);
    }
    let hammer = Hammer {
        nodes: &nodes,
        conversations,
        busy: Mutex::default(),
        finished: AtomicUsize::new(0),
        asked: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    };
    let beside = database.client().await;

    tokio::join!(
        async {
            join_all((0..2).map(|at| hammer.ask(at))).await;
            let asked = hammer.asked.load(Ordering::SeqCst);
            // Nobody sweeps: whoever ends a turn has to pass it on.
            eventually("every reply has had its turn", 6 * SOON, async || {
                (hammer.finished.load(Ordering::SeqCst) == asked).then_some(())
            })
            .await;
            hammer.over.store(true, Ordering::SeqCst);
        },
        join_all((0..4).map(|at| hammer.answer(at))),
    );

    let finished = hammer.finished.load(Ordering::SeqCst);
    eprintln!("{finished} turns");
    assert!(finished >= 900, "{finished}");
    let swapped = "SELECT count(*) FROM (
                       SELECT finished_at < lag(finished_at) OVER (PARTITION BY conversation_id ORDER BY turn) AS is_earlier
                       FROM replies) AS ends WHERE is_earlier";
    assert_eq!(
        number(&beside, swapped, &[]).await,
        0,
        "each ended after the one in front of it"
    );
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&beside, deadlocks, &[]).await, 0);
}

#[tokio::test]
async fn a_turn_that_nobody_passed_on_is_found_by_the_next_sweep() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let node = Node::open(database.url()).await;
    let conversation = node.conversation().await;
    let first = node.ask(conversation, "one").await;
    node.ask(conversation, "two").await;
    let beside = database.client().await;
    // As if its node had ended between its commit and the look for the next.
    beside
        .execute(
            "UPDATE replies SET status = 'failed', error_code = 'x', error_message = 'y', finished_at = 1 WHERE message_id = $1",
            &[&first.as_uuid()],
        )
        .await
        .unwrap();
    assert!(node.claim(2).await.is_empty(), "control: nobody's turn");

    let pause = Duration::from_mins(5);
    node.store
        .sweep_replies(node.clock.now(), 10, pause)
        .await
        .unwrap();

    assert_eq!(node.claim(2).await.len(), 1);
}
