//! Leases go by the database's clock: a node whose own is wrong takes nothing from others and puts nothing off.

use std::time::Duration;

use engagement::{
    model::{ConversationId, Finished, NewMessage, Outcome, Role, Swept, Timestamp, Told},
    store::{
        Claimant, ConversationStore, ReplyStore,
        postgres::{LeaseClock, Options},
    },
};

use super::{Node, number};
use crate::support::{self, postgres::TestDatabase};

const LEASE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
const TEN_MINUTES: Duration = Duration::from_mins(10);
const A_MOMENT: Duration = Duration::from_secs(2);

/// A node whose clock is right, and what one says whose clock is ten minutes ahead or behind.
struct World {
    node: Node,
    conversation: ConversationId,
    right: Timestamp,
    ahead: Timestamp,
    behind: Timestamp,
}

impl World {
    async fn with(database: &TestDatabase, lease_clock: LeaseClock) -> Self {
        let mut options = Options::new(database.url());
        options.lease_clock = lease_clock;
        let node = Node::with(&options).await;
        let conversation = node.conversation().await;
        let right = node.clock.now();
        let behind = right.as_micros() - i64::try_from(TEN_MINUTES.as_micros()).unwrap();
        Self {
            conversation,
            right,
            ahead: right.after(TEN_MINUTES),
            behind: Timestamp::from_micros(behind),
            node,
        }
    }

    async fn ask(&self, now: Timestamp) {
        let message = self.node.message(self.conversation, Role::User, "question");
        let stored = self
            .node
            .store
            .append_message(NewMessage { now, ..message }, None)
            .await;
        stored.unwrap().expect("the conversation exists");
    }

    async fn claims(&self, now: Timestamp) -> usize {
        let claimed = self
            .node
            .store
            .claim_replies(10, Vec::new(), now, LEASE)
            .await
            .unwrap();
        claimed.len()
    }

    async fn sweeps(&self, now: Timestamp) -> Swept {
        let swept = self.node.store.sweep_replies(now, 3, LONGEST_PAUSE).await;
        swept.unwrap()
    }

    async fn is_due(&self, now: Timestamp) -> bool {
        let until = self.node.store.until_due(Vec::new(), now).await.unwrap();
        until.is_some_and(|until| until < A_MOMENT)
    }
}

/// What a node with a wrong clock must not bring about, and whether it did not.
async fn promises(lease_clock: LeaseClock) -> Option<Vec<(&'static str, bool)>> {
    let cluster = support::postgres::shared().await?;
    let mut kept = Vec::new();

    let database = cluster.database().await;
    let world = World::with(&database, lease_clock).await;
    world.ask(world.right).await;
    kept.push((
        "a clock behind sees what is due",
        world.is_due(world.behind).await,
    ));
    kept.push((
        "a clock behind claims what is due",
        world.claims(world.behind).await == 1,
    ));

    let database = cluster.database().await;
    let world = World::with(&database, lease_clock).await;
    world.ask(world.right).await;
    assert_eq!(world.claims(world.right).await, 1);
    let swept = world.sweeps(world.ahead).await;
    kept.push((
        "a clock ahead leaves others their leases",
        swept == Swept::default(),
    ));

    let database = cluster.database().await;
    let world = World::with(&database, lease_clock).await;
    world.ask(world.right).await;
    let claimed = world
        .node
        .store
        .claim_replies(1, Vec::new(), world.right, LEASE)
        .await
        .unwrap();
    let lease = claimed[0].lease;
    let lost = world
        .node
        .store
        .renew_leases(vec![lease], world.behind, LEASE)
        .await;
    assert!(lost.unwrap().is_empty());
    let swept = world.sweeps(world.right).await;
    kept.push((
        "a lease that a clock behind has renewed lasts",
        swept == Swept::default(),
    ));

    let database = cluster.database().await;
    let world = World::with(&database, lease_clock).await;
    let message = world.node.message(world.conversation, Role::User, "question");
    let now = world.ahead;
    let claimant = Claimant::new(LEASE, |_| {});
    let stored = world
        .node
        .store
        .append_and_claim(NewMessage { now, ..message }, claimant, None)
        .await;
    stored.unwrap().expect("the conversation exists");
    let ends_in_time = "SELECT count(*) FROM replies
                        WHERE lease_until < extract(epoch FROM clock_timestamp() + interval '1 minute') * 1000000";
    let beside = database.client().await;
    kept.push((
        "a lease that a clock ahead has taken with its message ends in time",
        number(&beside, ends_in_time, &[]).await == 1,
    ));

    let database = cluster.database().await;
    let world = World::with(&database, lease_clock).await;
    world.ask(world.ahead).await;
    kept.push((
        "what a clock ahead asks is due at once",
        world.is_due(world.right).await && world.claims(world.right).await == 1,
    ));

    let database = cluster.database().await;
    let world = World::with(&database, lease_clock).await;
    world.ask(world.right).await;
    let claimed = world
        .node
        .store
        .claim_replies(1, Vec::new(), world.right, LEASE)
        .await
        .unwrap();
    let retry = Outcome::Retry {
        after: Duration::from_secs(1),
    };
    let finished = world
        .node
        .store
        .finish_reply(claimed[0].lease, retry, Told::default(), world.ahead)
        .await;
    assert_eq!(finished.unwrap(), Finished::Stored);
    kept.push((
        "a retry that a clock ahead asks for is soon",
        world.is_due(world.right).await,
    ));

    Some(kept)
}

#[tokio::test]
async fn a_node_whose_clock_is_wrong_steals_no_lease_and_delays_no_reply() {
    let Some(promises) = promises(LeaseClock::Database).await else {
        return;
    };
    let broken: Vec<_> = promises.iter().filter(|(_, kept)| !kept).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[tokio::test]
async fn control_leases_by_the_callers_clock_are_stolen_and_delayed() {
    let Some(promises) = promises(LeaseClock::Caller).await else {
        return;
    };
    let kept: Vec<_> = promises.iter().filter(|(_, kept)| *kept).collect();
    assert!(kept.is_empty(), "these do not tell the clocks apart: {kept:?}");
}
