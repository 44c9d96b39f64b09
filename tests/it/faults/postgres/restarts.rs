//! PostgreSQL restarted, its backends ended and killed, its postmaster killed, again and again, under load.
//!
//! The node keeps its process and its port; what was acknowledged is there, once, and answered, once. Whoever asks
//! meanwhile gets an answer: the thing itself, or a 503 with a time to come back. Soon after the database accepts
//! connections, nobody is sent away any more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::{sleep, sleep_until};

use super::crowd::{Crowd, Seen};
use crate::faults::ledger::{Ledger, Tally};
use crate::faults::{Dice, Proof, ensure, fails, holds, load, new_home, number_from_env};
use crate::support::postgres::{Durability, PrivateCluster, TestDatabase, private};
use crate::support::{SOON, Server, eventually};

/// How soon after the database the service serves everybody again: a second, and what a machine takes on which all tests
/// run at once.
const SERVES_WITHIN: Duration = Duration::from_secs(4);
const PROMISED: Duration = Duration::from_secs(1);

/// A reply that was claimed by a statement whose answer was lost waits for its lease (30 s) and the sweep (5 s).
const REPLIED_WITHIN: Duration = Duration::from_mins(1);

/// What hits the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// An administrator restarts it; it may be away for a while.
    Restart,
    /// An administrator ends every connection.
    BackendsTerminated,
    /// The kernel kills the process behind one connection: the server ends all others and recovers.
    BackendKilled,
    BackendsKilled,
    /// The kernel kills the server's first process; it is started again after a while.
    PostmasterKilled,
    /// For controls: none.
    Nothing,
    /// For controls: a restart that leaves the node locked out for longer than that.
    RestartBehindClosedDoors,
}

const BLOWS: [Blow; 5] = [
    Blow::Restart,
    Blow::BackendsTerminated,
    Blow::BackendKilled,
    Blow::BackendsKilled,
    Blow::PostmasterKilled,
];

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    blows: Vec<(Blow, usize, Duration)>,
    seen: Seen,
    tally: Tally,
}

/// A node over a database that keeps what it acknowledges.
struct World {
    cluster: PrivateCluster,
    database: TestDatabase,
}

impl World {
    async fn new() -> Option<Self> {
        let cluster = private(Durability::Durable).await?;
        let database = cluster.database().await;
        Some(Self { cluster, database })
    }

    /// Strikes; gives the time from which on the database accepts connections.
    async fn strike(&self, blow: Blow, dice: &mut Dice) -> Instant {
        let away = Duration::from_millis(dice.next() % 800);
        match blow {
            Blow::Restart => {
                self.cluster.stop().await;
                sleep(away).await;
                self.cluster.start_again().await;
            }
            Blow::PostmasterKilled => {
                self.cluster.kill_postmaster().await;
                sleep(away).await;
                self.cluster.start_again().await;
            }
            Blow::BackendsTerminated => {
                self.database.terminate_backends().await;
            }
            Blow::BackendKilled => {
                self.cluster.kill_a_backend(self.database.name()).await;
                self.cluster.ready().await;
            }
            Blow::BackendsKilled => {
                self.cluster.kill_backends().await;
                self.cluster.ready().await;
            }
            Blow::Nothing => {}
            Blow::RestartBehindClosedDoors => {
                let allow = |allowed: bool| {
                    let name = self.database.name();
                    format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {allowed}")
                };
                let admin = self.cluster.client().await;
                admin.batch_execute(&allow(false)).await.expect("a closed door");
                self.cluster.restart().await;
                let accepts = Instant::now();
                sleep(2 * SERVES_WITHIN).await;
                let admin = self.cluster.client().await;
                admin.batch_execute(&allow(true)).await.expect("an open door");
                return accepts;
            }
        }
        Instant::now()
    }

    /// The processes that serve the node.
    async fn backends(&self) -> HashSet<i32> {
        let pids = "SELECT pid FROM pg_stat_activity WHERE datname = $1";
        let client = self.cluster.client().await;
        let rows = client.query(pids, &[&self.database.name()]).await;
        rows.expect("the backends").iter().map(|row| row.get(0)).collect()
    }

    async fn change(&self, sql: &str) {
        let client = self.database.client().await;
        // The node still stores answers: now and then the two stand in each other's way, and nothing is changed.
        eventually("tampering", SOON, async || client.batch_execute(sql).await.ok()).await;
    }
}

/// Strikes as often as there are blows, tampers, then judges.
async fn prove(
    home: &Arc<TempDir>,
    world: &World,
    blows: &[Blow],
    dice: &mut Dice,
    tamper: &str,
    patience: Duration,
) -> Proof<Report> {
    let server = Server::builder_over(home)
        .env("DATABASE_URL", world.database.url())
        .start()
        .await;
    let client = server.client();
    let ledger = Ledger::default();
    let conversations = load::conversations(&client).await;
    let mut crowd = Crowd::start(&client, &ledger, &conversations, 0, dice);
    crowd.all_write().await?;

    let mut struck = Vec::new();
    for (at, blow) in (1..).zip(blows) {
        sleep(Duration::from_micros(dice.next() % 200_000)).await;
        let backends = world.backends().await;
        let accepts = world.strike(*blow, dice).await;
        crowd.all_write().await?;
        crowd.all_write().await?;
        if at == blows.len() || dice.below(3) == 0 {
            // Not always, so that some blows come before everything is back; at the end, so that all is judged in peace.
            sleep_until((accepts + PROMISED).into()).await;
            crowd.all_write().await?;
        }
        let survivors = world.backends().await.intersection(&backends).count();
        ensure(survivors < backends.len(), || format!("{blow:?} hit nothing"))?;
        let late = crowd
            .last_put_off()
            .map_or(Duration::ZERO, |last| last.saturating_duration_since(accepts));
        ensure(late < SERVES_WITHIN, || {
            format!("late: {late:?} after the database, requests were sent away ({blow:?})")
        })?;
        struck.push((*blow, late));
    }
    let seen = crowd.finish().await?;
    if !tamper.is_empty() {
        world.change(tamper).await;
    }
    let tally = ledger.judge(&client, patience).await?;
    let summary = BLOWS.iter().map(|kind| {
        let of_kind = struck.iter().filter(|(blow, _)| blow == kind);
        let worst = of_kind.clone().map(|(_, late)| *late).max().unwrap_or_default();
        (*kind, of_kind.count(), worst)
    });
    Ok(Report {
        blows: summary.collect(),
        seen,
        tally,
    })
}

/// As many of each kind as can be, in random order.
fn shuffled(rounds: usize, dice: &mut Dice) -> Vec<Blow> {
    let mut blows: Vec<_> = (0..rounds).map(|round| BLOWS[round % BLOWS.len()]).collect();
    for at in (1..blows.len()).rev() {
        blows.swap(at, dice.below(at + 1));
    }
    blows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_however_often_postgresql_dies() {
    let Some(world) = World::new().await else { return };
    let (home, mut dice) = (new_home(), Dice::roll("restarts"));
    let blows = shuffled(number_from_env("ENGAGEMENT_TEST_RESTARTS", 20), &mut dice);
    let proof = prove(&home, &world, &blows, &mut dice, "", REPLIED_WITHIN).await;
    holds(proof, &home);
}

/// The proof over these blows, the last of which is followed by some SQL.
async fn prove_over(blows: &[Blow], tamper: &str) -> Option<Proof<Report>> {
    let world = World::new().await?;
    let mut dice = Dice::roll("control");
    Some(prove(&new_home(), &world, blows, &mut dice, tamper, SOON / 2).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_lost_message_is_seen() {
    let lose = "
        WITH lost AS (
            DELETE FROM messages WHERE id = (SELECT id FROM messages WHERE role = 'user' LIMIT 1)
            RETURNING conversation_id
        )
        UPDATE conversations SET user_count = user_count - 1 FROM lost WHERE id = conversation_id";
    if let Some(proof) = prove_over(&[Blow::BackendsTerminated], lose).await {
        fails(proof, "lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_doubled_message_is_seen() {
    let double = "
        WITH doubled AS (
            INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
            SELECT gen_random_uuid(), conversation_id, last_seq + 1, 'user', m.created_at, m.updated_at, text
            FROM messages AS m JOIN conversations AS c ON c.id = conversation_id WHERE role = 'user' LIMIT 1
            RETURNING conversation_id
        )
        UPDATE conversations SET user_count = user_count + 1, last_seq = last_seq + 1
        FROM doubled WHERE id = conversation_id";
    if let Some(proof) = prove_over(&[Blow::BackendsTerminated], double).await {
        fails(proof, "doubled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_missing_answer_is_seen() {
    let take = "
        WITH gone AS (
            DELETE FROM messages WHERE id = (SELECT id FROM messages WHERE role = 'assistant' LIMIT 1)
            RETURNING conversation_id
        )
        UPDATE conversations SET assistant_count = assistant_count - 1 FROM gone WHERE id = conversation_id";
    if let Some(proof) = prove_over(&[Blow::BackendsTerminated], take).await {
        fails(proof, "unanswered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_database_that_nothing_hits_is_seen() {
    if let Some(proof) = prove_over(&[Blow::Nothing], "").await {
        fails(proof, "hit nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_service_that_comes_back_late_is_seen() {
    if let Some(proof) = prove_over(&[Blow::RestartBehindClosedDoors], "").await {
        fails(proof, "late");
    }
}
