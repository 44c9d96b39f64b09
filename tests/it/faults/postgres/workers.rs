//! Workers SIGKILLed at random while users write: each message gets its one answer, and none is left lying.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::ledger::{Ledger, Tally};
use super::super::load;
use super::super::{Dice, Proof, Violation, ensure, fails, holds, new_home, number_from_env};
use super::census::{self, Census};
use super::node::{Duty, Node};
use crate::support::postgres::{TestDatabase, shared};
use crate::support::{Client, SOON, eventually};

/// Promised: nothing is left to do this long after the last death. A lease is 30 seconds, a sweep comes every 5.
const PROMISED: Duration = Duration::from_secs(60);

const WRITERS: usize = 32;
const CONVERSATIONS: usize = 64;

/// Two nodes that answer requests and work on replies, and one that only works.
const ALL_WORK: &[Duty] = &[Duty::Serve, Duty::Serve, Duty::Work];
/// Two nodes that answer requests, and two that work.
const APART: &[Duty] = &[
    Duty::ServeWithoutReplies,
    Duty::ServeWithoutReplies,
    Duty::Work,
    Duty::Work,
];

/// How leases run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leases {
    /// As they do.
    InTheirTime,
    /// They are moved into the past after the last death, which is what time does.
    AtOnce,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    nodes: &'static [Duty],
    messages: usize,
    deaths: usize,
    leases: Leases,
    patience: Duration,
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    deaths: usize,
    /// From the last death until nothing was left to do.
    settled_after: Duration,
    written_in: Duration,
    census: Census,
    tally: Tally,
}

/// The nodes that answer requests. Each has another address after each death.
#[derive(Clone, Default)]
struct Doors(Arc<Mutex<Vec<Client>>>);

impl Doors {
    fn are(&self, nodes: &[Node]) {
        let serving = nodes.iter().filter(|node| node.duty() != Duty::Work);
        *self.0.lock().expect("nobody panics here") = serving.map(|node| node.client()).collect();
    }

    fn any(&self, dice: &mut Dice) -> Client {
        let doors = self.0.lock().expect("nobody panics here");
        doors[dice.below(doors.len())].clone()
    }
}

/// Writes until enough is acknowledged.
fn write(
    doors: &Doors,
    ledger: &Ledger,
    acked: &Arc<AtomicUsize>,
    enough: usize,
    dice: &mut Dice,
    conversations: &[String],
) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (doors, ledger, acked) = (doors.clone(), ledger.clone(), Arc::clone(acked));
        let (mut dice, conversations) = (Dice::of(dice.next()), conversations.to_vec());
        writers.spawn(async move {
            while acked.load(Ordering::Relaxed) < enough {
                let client = doors.any(&mut dice);
                let conversation = &conversations[dice.below(conversations.len())];
                let text = load::text(dice.next(), "");
                let answer = load::post(&client, &ledger, writer, conversation, &text).await;
                if answer.is_some_and(|answer| answer.status == 201) {
                    acked.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    writers
}

/// Kills nodes that work while users write, then lets `tamper` at the database once all is done, then judges.
async fn prove(home: &Arc<TempDir>, database: &TestDatabase, plan: Plan, tamper: &str) -> Proof<Report> {
    let mut dice = Dice::roll("workers");
    let mut nodes = Vec::new();
    for (at, duty) in plan.nodes.iter().enumerate() {
        nodes.push(Node::start(home, database.url(), &format!("node-{at}"), *duty).await);
    }
    let (doors, ledger, acked) = (Doors::default(), Ledger::default(), Arc::<AtomicUsize>::default());
    doors.are(&nodes);
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        conversations.push(doors.any(&mut dice).conversation("under load").await);
    }

    let began = Instant::now();
    let mut writers = write(&doors, &ledger, &acked, plan.messages, &mut dice, &conversations);
    let mut last_death = Instant::now();
    for death in 1..=plan.deaths {
        // Spread over the run, and the last one close to its end.
        let moment =
            plan.messages * death / (plan.deaths + 1) + dice.below(plan.messages / (plan.deaths + 1));
        eventually("enough is written", PROMISED, async || {
            (acked.load(Ordering::Relaxed) >= moment).then_some(())
        })
        .await;
        sleep(Duration::from_micros(dice.next() % 20_000)).await;
        let mut mortal: Vec<_> = nodes
            .iter_mut()
            .filter(|node| node.duty() != Duty::ServeWithoutReplies)
            .collect();
        let chosen = dice.below(mortal.len());
        last_death = Instant::now();
        mortal[chosen].die_and_start_again().await;
        doors.are(&nodes);
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer that ends");
    }
    let written_in = began.elapsed();

    let db = database.client().await;
    if plan.leases == Leases::AtOnce {
        let aged = "UPDATE replies SET lease_until = lease_until - 30000000 WHERE status = 'running'";
        db.execute(aged, &[]).await.expect("leases that run out");
    }
    let settled = Census::settled(&db, last_death + PROMISED).await;
    let settled_after = last_death.elapsed();
    if tamper.is_empty() {
        ensure(settled.lost_leases > 0, || "no death hit a reply".to_owned())?;
    } else {
        settled.judge()?;
        census::tamper(&db, tamper).await;
    }
    let (beside, over_http) = (
        Census::take(&db).await,
        ledger.judge(&doors.any(&mut dice), plan.patience).await,
    );
    match (beside.judge(), over_http) {
        (Ok(()), Ok(tally)) => Ok(Report {
            deaths: plan.deaths,
            settled_after,
            written_in,
            census: beside,
            tally,
        }),
        (beside, over_http) => {
            let said =
                |judged: Proof<()>| judged.map_or_else(|Violation(what)| what, |()| "all is well".to_owned());
            Err(Violation(format!(
                "from beside: {}; over HTTP: {}",
                said(beside),
                said(over_http.map(drop))
            )))
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_gets_one_reply_however_often_workers_are_killed() {
    let Some(cluster) = shared().await else { return };
    let home = new_home();
    let plan = Plan {
        nodes: ALL_WORK,
        messages: number_from_env("ENGAGEMENT_TEST_WORKERS_MESSAGES", 10_000),
        deaths: number_from_env("ENGAGEMENT_TEST_WORKERS_DEATHS", 8),
        leases: Leases::InTheirTime,
        patience: SOON,
    };
    holds(prove(&home, &cluster.database().await, plan, "").await, &home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_where_nodes_that_answer_requests_leave_the_replies_to_workers() {
    let Some(cluster) = shared().await else { return };
    let home = new_home();
    let plan = Plan {
        nodes: APART,
        messages: 2_000,
        deaths: 6,
        leases: Leases::AtOnce,
        patience: SOON,
    };
    holds(prove(&home, &cluster.database().await, plan, "").await, &home);
}

/// The proof over little, where somebody changes the database behind everybody's back before it is judged.
async fn prove_over(tamper: &str) -> Option<Proof<Report>> {
    let cluster = shared().await?;
    let plan = Plan {
        nodes: APART,
        messages: 200,
        deaths: 1,
        leases: Leases::AtOnce,
        patience: Duration::from_secs(1),
    };
    Some(prove(&new_home(), &cluster.database().await, plan, tamper).await)
}

#[tokio::test]
async fn control_a_second_answer_is_seen() {
    // What a reply that ran twice would leave behind, were there no index to refuse it.
    let forged = "
        DROP INDEX messages_one_answer;
        WITH answer AS (SELECT * FROM messages WHERE reply_to IS NOT NULL LIMIT 1),
             place AS (UPDATE conversations SET last_seq = last_seq + 1, assistant_count = assistant_count + 1
                       FROM answer WHERE conversations.id = conversation_id RETURNING last_seq)
        INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text, folded, reply_to)
        SELECT gen_random_uuid(), conversation_id, last_seq, role, created_at, updated_at, text, folded, reply_to
        FROM answer CROSS JOIN place";
    let Some(proof) = prove_over(forged).await else {
        return;
    };
    fails(proof, "from beside: 1 answered twice; over HTTP: answered twice");
}

#[tokio::test]
async fn control_a_lost_answer_is_seen() {
    let lost = "
        WITH lost AS (DELETE FROM messages WHERE id = (SELECT id FROM messages WHERE reply_to IS NOT NULL LIMIT 1)
                      RETURNING conversation_id)
        UPDATE conversations SET assistant_count = assistant_count - 1
        FROM lost WHERE conversations.id = conversation_id";
    let Some(proof) = prove_over(lost).await else {
        return;
    };
    fails(proof, "from beside: 1 unanswered; over HTTP: unanswered");
}

#[tokio::test]
async fn control_a_lost_reply_is_seen() {
    let lost = "DELETE FROM replies WHERE message_id = (SELECT message_id FROM replies LIMIT 1)";
    let Some(proof) = prove_over(lost).await else {
        return;
    };
    fails(proof, "from beside: 1 forgotten; over HTTP: unanswered in time");
}

#[tokio::test]
async fn control_a_reply_that_runs_for_ever_is_seen() {
    let for_ever = "UPDATE replies SET status = 'running', lease_until = 9000000000000000, finished_at = NULL
                    WHERE message_id = (SELECT message_id FROM replies LIMIT 1)";
    let Some(proof) = prove_over(for_ever).await else {
        return;
    };
    fails(
        proof,
        "from beside: 1 still under way; over HTTP: unanswered in time",
    );
}
