//! What is kept while it is worked on, and what is taken back, by a clock that the test moves.

use std::{sync::Arc, time::Duration};

use engagement::{
    clock::Clock,
    config::ReplySettings,
    model::{BusyPolicy, Message, NewReply, ReplyOptions, ReplyState, Swept},
    provider::{
        routes::Providers,
        scripted::{Scripted, Step},
    },
};

use super::{Engine, SOON, quick};
use crate::{
    store::{Database, at},
    support::eventually,
};

const LEASE: Duration = Duration::from_secs(30);
const NEVER: Duration = Duration::from_hours(1);
const MOST_LOST: u32 = 10;

impl Engine {
    /// An engine that works on one question, and has nothing to do but to keep it.
    async fn holding(settings: ReplySettings) -> (Self, Message) {
        let provider = Arc::new(Scripted::new([Step::Hold("slow".into())]));
        let providers = Providers::only(provider.clone());
        let (clock, db) = (Clock::manual(at(2_000)), Database::sqlite());
        let engine = Self::by(clock, db, provider, providers, settings).await;
        let question = engine.ask("a question").await;
        engine.until_called(1).await;
        (engine, question)
    }

    /// How often work ended in this way.
    async fn ended(&self, outcome: &str) -> u64 {
        let page = self.metrics.page().await.unwrap().into_text().unwrap();
        let line = format!("engagement_reply_attempts_total{{code=\"\",outcome=\"{outcome}\"}} ");
        let count = page.lines().find_map(|counted| counted.strip_prefix(&line));
        count.expect("a count").parse().unwrap()
    }

    fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now().after(time));
    }

    /// Until when the lease lasts, by the row itself.
    fn lasts_until(&self) -> i64 {
        let db = rusqlite::Connection::open(self.db.path()).unwrap();
        db.query_row("SELECT max(lease_until) FROM replies", (), |row| row.get(0))
            .unwrap()
    }

    /// Looks for lost leases, as another process would.
    async fn sweep(&self) -> Swept {
        let swept = self.db.store.sweep_replies(self.clock.now(), MOST_LOST, NEVER);
        swept.await.unwrap()
    }
}

#[tokio::test]
async fn a_heartbeat_keeps_a_long_reply() {
    let settings = ReplySettings {
        lease: LEASE,
        sweep: NEVER,
        ..quick()
    };
    let (engine, question) = Engine::holding(settings).await;

    // Three leases long.
    for _ in 0..6 {
        let before = engine.lasts_until();
        engine.pass(LEASE / 2);
        eventually("the lease is renewed", 3 * SOON, async || {
            (engine.lasts_until() > before).then_some(())
        })
        .await;
        assert_eq!(engine.sweep().await, Swept::default(), "nothing is lost");
    }
    engine.provider.release();

    let reply = engine.end(&question).await;
    assert_eq!((reply.attempts, engine.provider.calls()), (1, 1));
}

#[tokio::test]
async fn without_a_heartbeat_a_long_reply_is_lost() {
    let settings = ReplySettings {
        lease: LEASE,
        sweep: NEVER,
        heartbeat: NEVER,
        ..quick()
    };
    let (engine, _) = Engine::holding(settings).await;

    engine.pass(LEASE + LEASE);

    assert_eq!(engine.sweep().await.requeued, 1);
}

#[tokio::test]
async fn a_process_that_stood_still_keeps_its_own_replies_and_takes_back_those_of_others() {
    let settings = ReplySettings {
        workers: 1,
        lease: LEASE,
        // Nothing but the sweep itself renews anything.
        heartbeat: NEVER,
        ..quick()
    };
    let (engine, question) = Engine::holding(settings).await;
    let others = engine.ask("of a process that is gone").await;
    let claimed = engine
        .db
        .store
        .claim_replies(1, Vec::new(), engine.clock.now(), LEASE)
        .await
        .unwrap();
    assert_eq!(claimed[0].lease.message, others.id);

    engine.pass(LEASE * 10);

    eventually("what others lost is taken back", 3 * SOON, async || {
        (engine.reply(&others).await.state == ReplyState::Queued).then_some(())
    })
    .await;
    engine.provider.release();
    let reply = engine.end(&question).await;
    assert_eq!((reply.state, reply.attempts), (ReplyState::Succeeded, 1));
    engine.end(&others).await;
    assert_eq!(engine.provider.calls(), 2, "each was asked for once");
}

#[tokio::test]
async fn a_lease_that_others_took_is_counted_as_lost_and_not_as_called_off() {
    let (engine, question) = Engine::holding(quick()).await;

    let now = engine.clock.now();
    let reclaimed = engine.db.store.reclaim_replies(now, MOST_LOST).await.unwrap();
    assert_eq!(reclaimed.requeued, 1);

    engine.end(&question).await;
    eventually("the first try is discarded", 3 * SOON, async || {
        (engine.ended("discarded").await == 1).then_some(())
    })
    .await;
    assert_eq!(engine.ended("called_off").await, 0);
}

#[tokio::test]
async fn a_reply_that_is_cancelled_through_another_node_is_counted_as_called_off() {
    for cancels in [true, false] {
        let (engine, question) = Engine::holding(quick()).await;

        let (store, now) = (&engine.db.store, engine.clock.now());
        if cancels {
            let partial = engagement::model::MessageId::from([7; 16]);
            let cancelled = store.cancel_reply(engine.conversation, question.id, partial, now, None);
            cancelled.await.unwrap();
        } else {
            store.delete_conversation(engine.conversation).await.unwrap();
        }

        eventually("it is called off", 3 * SOON, async || {
            (engine.ended("called_off").await == 1).then_some(())
        })
        .await;
        assert_eq!(engine.ended("discarded").await, 0);
    }
}

#[tokio::test]
async fn a_cancellation_ends_the_attempt_that_it_found_and_no_later_one() {
    let engine = Engine::with([Step::Answer("first".into()), Step::Hold("second".into())]).await;
    let question = engine.ask("a question").await;
    engine.end(&question).await;
    let (store, now) = (&engine.db.store, engine.clock.now());
    let retried = store.retry_reply(engine.conversation, question.id, NewReply::default(), now, None);
    retried.await.unwrap();
    engine.until_called(2).await;

    engine.intake.call_off_attempt(question.id, 1);
    engine.provider.release();
    let reply = engine.end(&question).await;

    assert_eq!((reply.state, reply.attempts), (ReplyState::Succeeded, 2));
    assert_eq!(engine.ended("called_off").await, 0);
}

#[tokio::test]
async fn a_cancellation_ends_the_attempt_that_it_found() {
    let (engine, question) = Engine::holding(quick()).await;

    engine.intake.call_off_attempt(question.id, 1);

    eventually("it is called off", 3 * SOON, async || {
        (engine.ended("called_off").await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_a_message_that_interrupts_has_leases_looked_at() {
    let settings = ReplySettings {
        lease: LEASE,
        sweep: NEVER,
        heartbeat: NEVER,
        ..quick()
    };
    let provider = Arc::new(Scripted::new([Step::Hold("slow".into())]));
    let (clock, db) = (Clock::manual(at(2_000)), Database::sqlite());
    let engine = Engine::by(clock, db, provider.clone(), provider.far_away(), settings).await;
    engine.say("a question").await;
    engine.until_called(1).await;
    let before = engine.lasts_until();
    engine.pass(LEASE / 2);
    let elsewhere = Engine {
        conversation: engine.db.conversation().await.id,
        ..engine
    };

    let queued = elsewhere.say("elsewhere").await;
    elsewhere.end(&queued).await;
    assert_eq!(elsewhere.lasts_until(), before, "nothing was renewed");

    let interrupts = ReplyOptions {
        busy: Some(BusyPolicy::Interrupt),
        ..ReplyOptions::default()
    };
    let interrupting = elsewhere.say_with("elsewhere", interrupts).await;
    elsewhere.end(&interrupting).await;
    eventually("leases are looked at", 3 * SOON, async || {
        (elsewhere.lasts_until() > before).then_some(())
    })
    .await;
}
