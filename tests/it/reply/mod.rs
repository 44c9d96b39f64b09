//! The reply engine over a real store, with a provider that follows a script.

mod fallback;
mod leases;
mod places;
mod streaming;

use std::{sync::Arc, time::Duration};

use engagement::{
    clock::Clock,
    config::{ReplySettings, ServiceSettings},
    model::{ConversationId, Failure, Message, Reply, ReplyState, Role},
    provider::{
        Refusal,
        routes::Providers,
        scripted::{Scripted, Step},
    },
    reply::{self, Intake, Parts},
    service::Service,
    shutdown::Shutdown,
    telemetry::metrics::Metrics,
};

use crate::{
    store::Database,
    support::{SOON, eventually},
};

/// An engine at work, quick enough for tests.
struct Engine {
    db: Database,
    provider: Arc<Scripted>,
    shutdown: Shutdown,
    service: Service,
    conversation: ConversationId,
    clock: Clock,
    metrics: Metrics,
    intake: Intake,
}

fn quick() -> ReplySettings {
    ReplySettings {
        workers: 4,
        lease: Duration::from_secs(2),
        heartbeat: Duration::from_millis(50),
        sweep: Duration::from_millis(50),
        poll: Duration::from_millis(200),
        first_pause: Duration::from_millis(1),
        ..ReplySettings::default()
    }
}

impl Engine {
    async fn with(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::over(Database::sqlite(), steps, quick()).await
    }

    async fn over(db: Database, steps: impl IntoIterator<Item = Step>, settings: ReplySettings) -> Self {
        let provider = Arc::new(Scripted::new(steps));
        let providers = Providers::only(provider.clone());
        Self::start(db, provider, providers, settings).await
    }

    async fn start(
        db: Database,
        provider: Arc<Scripted>,
        providers: Providers,
        settings: ReplySettings,
    ) -> Self {
        Self::by(Clock::system(), db, provider, providers, settings).await
    }

    /// By this clock.
    async fn by(
        clock: Clock,
        db: Database,
        provider: Arc<Scripted>,
        providers: Providers,
        settings: ReplySettings,
    ) -> Self {
        let conversation = db.conversation().await.id;
        let shutdown = Shutdown::default();
        let metrics = Metrics::on("sqlite", &[]).unwrap();
        let parts = Parts {
            clock: clock.clone(),
            metrics: metrics.replies(),
            ..Parts::over(db.store.clone(), providers)
        };
        reply::start(parts.clone(), settings, &shutdown);
        let intake = parts.intake.clone();
        let service = Service::new(parts, ServiceSettings::default());
        Self {
            db,
            provider,
            shutdown,
            service,
            conversation,
            clock,
            metrics,
            intake,
        }
    }

    async fn ask(&self, text: &str) -> Message {
        self.db.append(self.conversation, Role::User, text, 2_000).await
    }

    async fn reply(&self, message: &Message) -> Reply {
        self.db
            .store
            .reply(self.conversation, message.id)
            .await
            .unwrap()
            .unwrap()
    }

    /// Waits for the reply's end.
    async fn end(&self, message: &Message) -> Reply {
        eventually("the reply ends", SOON, async || {
            let reply = self.reply(message).await;
            reply.finished.is_some().then_some(reply)
        })
        .await
    }

    async fn until_called(&self, times: usize) {
        eventually("the provider is called", SOON, async || {
            (self.provider.calls() >= times).then_some(())
        })
        .await;
    }

    async fn texts(&self) -> Vec<String> {
        self.db
            .all(self.conversation)
            .await
            .iter()
            .map(|message| message.text.as_str().to_owned())
            .collect()
    }

    async fn stop(&self) {
        self.shutdown.begin();
        tokio::time::timeout(SOON, self.shutdown.finished())
            .await
            .expect("everything ends");
    }
}

fn failure() -> Failure {
    Failure::new("overloaded", "The provider is overloaded.")
}

fn retry(after: Option<Duration>) -> Step {
    Step::Refuse(Refusal::Retry {
        after,
        failure: failure(),
    })
}

#[tokio::test]
async fn an_answer_is_stored_behind_its_question() {
    let engine = Engine::with([Step::Answer("  an answer\0 ".into())]).await;

    let question = engine.ask("a question").await;

    let reply = engine.end(&question).await;
    assert!(matches!(reply.state, ReplyState::Succeeded), "{reply:?}");
    assert_eq!(engine.texts().await, ["a question", "an answer"]);
    engine.stop().await;
}

#[tokio::test]
async fn an_empty_answer_is_a_failure() {
    let engine = Engine::with([Step::Answer(" \0\n".into())]).await;

    let question = engine.ask("a question").await;

    let reply = engine.end(&question).await;
    assert!(
        matches!(&reply.state, ReplyState::Failed(failure) if failure.code == "empty_reply"),
        "{reply:?}"
    );
    assert_eq!(engine.texts().await, ["a question"]);
}

#[tokio::test]
async fn a_final_refusal_is_not_tried_again() {
    let engine = Engine::with([Step::Refuse(Refusal::Fail(failure()))]).await;

    let question = engine.ask("a question").await;

    let reply = engine.end(&question).await;
    assert_eq!((reply.state, reply.attempts), (ReplyState::Failed(failure()), 1));
    assert_eq!(engine.provider.calls(), 1);
}

#[tokio::test]
async fn a_refusal_for_now_is_tried_again_until_it_works() {
    let engine = Engine::with([retry(None), retry(None), Step::Answer("at last".into())]).await;

    let question = engine.ask("a question").await;

    let reply = engine.end(&question).await;
    assert_eq!(reply.attempts, 3);
    assert_eq!(engine.texts().await, ["a question", "at last"]);
}

#[tokio::test]
async fn retries_run_out() {
    let engine = Engine::with((0..9).map(|_| retry(None))).await;

    let question = engine.ask("a question").await;

    let reply = engine.end(&question).await;
    assert_eq!(
        (reply.state, reply.attempts),
        (ReplyState::Failed(failure()), 6),
        "one try and five retries"
    );
}

#[tokio::test]
async fn a_panic_fails_its_own_reply_only() {
    let engine = Engine::with([Step::Panic]).await;

    let (first, second) = (engine.ask("first").await, engine.ask("second").await);

    let mut states = [engine.end(&first).await.state, engine.end(&second).await.state];
    states.sort_by_key(|state| matches!(state, ReplyState::Succeeded));
    assert!(
        matches!(&states[0], ReplyState::Failed(failure) if failure.code == "internal_error"),
        "{states:?}"
    );
    assert!(matches!(&states[1], ReplyState::Succeeded), "{states:?}");
}

#[tokio::test]
async fn a_holder_that_lost_its_lease_discards_its_answer() {
    let engine = Engine::with([
        Step::Hold("from the zombie".into()),
        Step::Answer("from the holder".into()),
    ])
    .await;
    let question = engine.ask("a question").await;
    engine.until_called(1).await;

    // Somebody else decides that this process is gone.
    engine
        .db
        .store
        .reclaim_replies(Clock::system().now(), 10)
        .await
        .unwrap();
    engine.provider.release();

    let reply = engine.end(&question).await;
    assert_eq!(reply.attempts, 2);
    assert_eq!(engine.texts().await, ["a question", "from the holder"]);
    engine.stop().await;
    assert_eq!(
        engine.texts().await,
        ["a question", "from the holder"],
        "and nothing comes later"
    );
}

#[tokio::test]
async fn deleting_calls_the_provider_off() {
    for delete_conversation in [true, false] {
        let engine = Engine::with([Step::Hold("unwanted".into())]).await;
        let question = engine.ask("a question").await;
        engine.until_called(1).await;

        if delete_conversation {
            engine
                .service
                .delete_conversation(engine.conversation)
                .await
                .unwrap();
        } else {
            engine
                .service
                .delete_message(engine.conversation, question.id)
                .await
                .unwrap();
        }

        eventually("the call is dropped", SOON, async || {
            (engine.provider.called_off() == 1).then_some(())
        })
        .await;
        engine.stop().await;
        assert_eq!(
            engine
                .db
                .store
                .reply(engine.conversation, question.id)
                .await
                .unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn no_more_than_the_workers_are_at_the_provider() {
    let engine = Engine::with((0..10).map(|number| Step::Hold(format!("{number}")))).await;
    let mut asked = Vec::new();
    for number in 0..10 {
        asked.push(engine.ask(&format!("question {number}")).await);
    }
    engine.until_called(4).await;

    for released in 0..10 {
        let at_provider = engine.provider.calls() - released;
        assert!(at_provider <= 4, "{at_provider} at once");
        engine.provider.release();
        engine.until_called((5 + released).min(10)).await;
    }

    for question in asked {
        assert!(matches!(engine.end(&question).await.state, ReplyState::Succeeded));
    }
}

#[tokio::test]
async fn stopping_waits_for_what_runs_and_takes_nothing_new() {
    let engine = Engine::with([Step::Hold("finished in time".into())]).await;
    let running = engine.ask("running").await;
    engine.until_called(1).await;

    engine.shutdown.begin();
    let waiting = engine.ask("waiting").await;
    engine.provider.release();
    tokio::time::timeout(SOON, engine.shutdown.finished())
        .await
        .expect("everything ends");

    assert!(matches!(
        engine.reply(&running).await.state,
        ReplyState::Succeeded
    ));
    assert_eq!(engine.reply(&waiting).await.state, ReplyState::Queued);
}

#[tokio::test]
async fn a_forced_stop_gives_leases_back() {
    let engine = Engine::with([Step::Hold("never".into())]).await;
    let question = engine.ask("a question").await;
    engine.until_called(1).await;

    engine.shutdown.force();
    tokio::time::timeout(SOON, engine.shutdown.finished())
        .await
        .expect("everything ends");

    let reply = engine.reply(&question).await;
    assert_eq!(
        (reply.state, reply.attempts),
        (ReplyState::Queued, 1),
        "due again at once, without waiting for the lease"
    );
}

#[tokio::test]
async fn a_backlog_is_drained() {
    let db = Database::sqlite();
    let conversation = db.conversation().await.id;
    for number in 0..500 {
        db.append(conversation, Role::User, &format!("{number}"), 2_000)
            .await;
    }

    let engine = Engine::over(db, [], quick()).await;

    eventually("the queue is empty", 3 * SOON, async || {
        engine.db.due().await.is_none().then_some(())
    })
    .await;
    engine.stop().await;
    assert_eq!(engine.provider.calls(), 500, "each once");
}
