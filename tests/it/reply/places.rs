//! Places at providers: nobody holds a reply that has none.

use std::sync::Arc;

use engagement::{
    model::{Message, ModelName, ReplyOptions, ReplyState},
    provider::{
        routes::Providers,
        scripted::{Scripted, Step},
    },
    reply::{self, Parts},
    shutdown::Shutdown,
};

use super::{Engine, SOON, fallback::backend, quick};
use crate::{
    store::{Database, LANE},
    support::eventually,
};

/// The only provider, at which there is one place.
fn narrow(provider: &Arc<Scripted>) -> Providers {
    let backends = vec![backend(LANE, provider, 1, &[])];
    Providers::new(backends, (LANE.into(), format!("{LANE}-model")))
}

/// A message to it, in a conversation of its own.
async fn asked_at(db: &Database, due: i64) -> Message {
    let conversation = db.conversation().await.id;
    db.ask(conversation, "Hello", due).await
}

fn holding(times: usize) -> Arc<Scripted> {
    Arc::new(Scripted::new((0..times).map(|_| Step::Hold("at last".into()))))
}

#[tokio::test]
async fn replies_without_a_place_stay_in_the_queue() {
    let (db, provider) = (Database::sqlite(), holding(10));
    let mut asked = Vec::new();
    for due in 2_000..2_010 {
        asked.push(asked_at(&db, due).await);
    }
    let engine = Engine::start(db, provider.clone(), narrow(&provider), quick()).await;
    engine.until_called(1).await;
    // There are hands for others, and whoever claims comes round.
    let rules = ReplyOptions {
        model: ModelName::parse("rules").ok(),
        ..ReplyOptions::default()
    };
    let local = engine.say_with("Hello", rules).await;
    engine.end(&local).await;

    for (number, question) in asked.iter().enumerate() {
        engine.until_called(number + 1).await;
        let mut running = 0;
        for question in &asked {
            let reply = engine.db.store.reply(question.conversation, question.id).await;
            running += usize::from(reply.unwrap().unwrap().state == ReplyState::Running);
        }
        assert_eq!(running, 1, "of {number} that were answered");
        engine.provider.release();
        eventually("it ends, and in its turn", 3 * SOON, async || {
            let reply = engine.db.store.reply(question.conversation, question.id).await;
            (reply.unwrap().unwrap().state == ReplyState::Succeeded).then_some(())
        })
        .await;
    }
    engine.stop().await;
}

#[tokio::test]
async fn what_one_node_has_no_place_for_another_one_takes() {
    let (db, here, there) = (Database::sqlite(), holding(4), holding(4));
    for due in 2_000..2_004 {
        asked_at(&db, due).await;
    }
    let engine = Engine::start(db, here.clone(), narrow(&here), quick()).await;
    engine.until_called(1).await;

    let other = Shutdown::default();
    reply::start(
        Parts::over(engine.db.store.clone(), narrow(&there)),
        quick(),
        &other,
    );

    eventually("the other node is at work", 3 * SOON, async || {
        (there.calls() == 1).then_some(())
    })
    .await;
    assert_eq!(here.calls(), 1);
    other.force();
    engine.shutdown.force();
}

#[tokio::test]
async fn a_reply_is_claimed_with_its_message_only_where_there_is_a_place() {
    let (db, provider) = (Database::sqlite(), holding(0));
    let shutdown = Shutdown::default();
    let parts = Parts::over(db.store.clone(), narrow(&provider));
    reply::start(parts.clone(), quick(), &shutdown);
    let claimant = || eventually("there are hands", 3 * SOON, async || parts.intake.claimant(None));
    drop(claimant().await);

    let first = eventually("the pool has let hands go", 3 * SOON, async || {
        parts.intake.claimant(Some(LANE))
    })
    .await;

    assert!(parts.intake.claimant(Some(LANE)).is_none());
    drop(claimant().await);
    drop(first);
    eventually("the place is free again", 3 * SOON, async || {
        parts.intake.claimant(Some(LANE))
    })
    .await;
    shutdown.force();
}
