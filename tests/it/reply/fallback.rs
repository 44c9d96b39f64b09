//! Providers that fail, hang or cannot take so much, and who is asked instead.

use std::{sync::Arc, time::Duration};

use engagement::{
    access::Caller,
    model::{Failure, MessageText, ReplyOptions, ReplyState, Role},
    provider::{
        Refusal,
        routes::{Backend, Providers, Remote},
        scripted::{Scripted, Step},
    },
    telemetry::metrics::ProviderMetrics,
};

use super::{Engine, SOON, quick, streaming::pieces};
use crate::{store::Database, support::eventually};

const CONTEXT: usize = 1024 * 1024;

pub(super) fn backend(
    name: &str,
    provider: &Arc<Scripted>,
    concurrency: usize,
    fallback: &[&str],
) -> Backend {
    Backend {
        name: name.to_owned(),
        models: vec![format!("{name}-model")],
        fallback: fallback
            .iter()
            .map(|name| ((*name).to_owned(), format!("{name}-model")))
            .collect(),
        remote: Some(Remote::new(concurrency, CONTEXT)),
        provider: provider.clone(),
        metrics: ProviderMetrics::default(),
    }
}

#[tokio::test]
async fn another_provider_is_asked_when_one_fails() {
    let steps = [Step::Break(
        vec!["from the first".into()],
        Refusal::Fail(Failure::new("broken", "It is broken.")),
    )];
    let (first, second) = (
        Arc::new(Scripted::new(steps)),
        Arc::new(Scripted::new([pieces(&["from the second"])])),
    );
    first.release_times(10);
    second.release_times(10);
    let backends = vec![
        backend("first", &first, 10, &["second"]),
        backend("second", &second, 10, &[]),
    ];
    let providers = Providers::new(backends, ("first".into(), "first-model".into()));
    let engine = Engine::start(Database::sqlite(), first.clone(), providers, quick()).await;
    let question = engine.say("Hello").await;
    let reply = engine.end(&question).await;

    assert_eq!((reply.state, reply.attempts), (ReplyState::Succeeded, 1));
    assert_eq!(engine.texts().await, ["Hello", "from the second"]);
    assert_eq!(engine.shown(&question).await, "from the second");
    assert_eq!(second.prompts()[0].model, "second-model");
    engine.stop().await;
}

#[tokio::test]
async fn a_reply_fails_with_its_reason_once_nobody_is_left() {
    let refuse = |code: &str| Step::Refuse(Refusal::Fail(Failure::new(code, "No.")));
    let (first, second) = (
        Arc::new(Scripted::new([refuse("first_failed")])),
        Arc::new(Scripted::new([refuse("second_failed")])),
    );
    let backends = vec![
        backend("first", &first, 10, &["second"]),
        backend("second", &second, 10, &[]),
    ];
    let providers = Providers::new(backends, ("first".into(), "first-model".into()));
    let engine = Engine::start(Database::sqlite(), first, providers, quick()).await;
    let question = engine.say("Hello").await;
    let reply = engine.end(&question).await;
    assert_eq!(
        reply.state,
        ReplyState::Failed(Failure::new("second_failed", "No."))
    );
    engine.stop().await;
}

fn later() -> Step {
    Step::Refuse(Refusal::Later {
        after: Duration::from_millis(1),
        failure: Failure::new("provider_unavailable", "It is being tried."),
    })
}

#[tokio::test]
async fn waiting_for_a_provider_that_is_being_tried_counts_for_nothing() {
    let mut steps: Vec<_> = (0..20).map(|_| later()).collect();
    steps.push(Step::Answer("at last".into()));
    let engine = Engine::far(steps).await;
    let question = engine.say("Hello").await;
    let reply = engine.end(&question).await;

    assert_eq!((reply.state, reply.attempts), (ReplyState::Succeeded, 1));
    assert_eq!(engine.texts().await, ["Hello", "at last"]);
    engine.stop().await;
}

#[tokio::test]
async fn waiting_counts_where_a_fallback_was_asked_each_time() {
    let refuse = || Step::Refuse(Refusal::Fail(Failure::new("second_failed", "No.")));
    let (first, second) = (
        Arc::new(Scripted::new((0..20).map(|_| later()))),
        Arc::new(Scripted::new((0..20).map(|_| refuse()))),
    );
    let backends = vec![
        backend("first", &first, 10, &["second"]),
        backend("second", &second, 10, &[]),
    ];
    let providers = Providers::new(backends, ("first".into(), "first-model".into()));
    let engine = Engine::start(Database::sqlite(), first, providers, quick()).await;
    let question = engine.say("Hello").await;
    let reply = engine.end(&question).await;

    assert!(matches!(reply.state, ReplyState::Failed(_)), "{reply:?}");
    assert_eq!(
        (reply.attempts, second.calls()),
        (6, 6),
        "one try and five retries"
    );
    engine.stop().await;
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_shortened_and_given_up_in_the_end() {
    let too_long = || {
        Step::Refuse(Refusal::TooLong(Failure::new(
            "context_too_long",
            "It is too long.",
        )))
    };
    let mut steps = vec![pieces(&["a1"]), pieces(&["a2"]), pieces(&["a3"]), pieces(&["a4"])];
    steps.extend((0..10).map(|_| too_long()));
    let engine = Engine::far(steps).await;
    engine.provider.release_times(100);
    for question in ["q1", "q2", "q3", "q4"] {
        let question = engine.say(question).await;
        engine.end(&question).await;
    }
    let question = engine.say("q5").await;
    let reply = engine.end(&question).await;

    assert_eq!(
        reply.state,
        ReplyState::Failed(Failure::new("context_too_long", "It is too long."))
    );
    let prompts = engine.provider.prompts();
    let lengths: Vec<_> = prompts[4..].iter().map(|prompt| prompt.history.len()).collect();
    assert_eq!(lengths.first(), Some(&8));
    assert_eq!(
        lengths.last(),
        Some(&0),
        "the message alone was tried last: {lengths:?}"
    );
    assert!(lengths.windows(2).all(|pair| pair[1] < pair[0]), "{lengths:?}");
    engine.stop().await;
}

#[tokio::test]
async fn a_provider_that_hangs_holds_up_nobody_else() {
    let hanging = Arc::new(Scripted::new((0..50).map(|_| Step::Hold("at last".into()))));
    let quick_one = Arc::new(Scripted::new([]));
    let backends = vec![
        backend("hanging", &hanging, 2, &[]),
        backend("quick", &quick_one, 2, &[]),
    ];
    let providers = Providers::new(backends, ("quick".into(), "quick-model".into()));
    let engine = Engine::start(Database::sqlite(), hanging.clone(), providers, quick()).await;
    let ask = async |model: &str| {
        let conversation = engine.db.conversation().await.id;
        let options = ReplyOptions {
            model: engagement::model::ModelName::parse(model).ok(),
            ..ReplyOptions::default()
        };
        let text = MessageText::parse("Hello").unwrap();
        let by = Caller::operator();
        let message = engine
            .service
            .create_message(conversation, Role::User, text, options, &by, None);
        message.await.unwrap()
    };
    let mut stuck = Vec::new();
    for _ in 0..20 {
        stuck.push(ask("hanging-model").await);
    }
    eventually("its places are taken", SOON, async || {
        (hanging.calls() == 2).then_some(())
    })
    .await;
    for model in ["quick-model", "rules"].repeat(10) {
        let message = ask(model).await;
        eventually("the others go on", SOON, async || {
            let reply = engine.db.store.reply(message.conversation, message.id).await;
            (reply.unwrap().unwrap().state == ReplyState::Succeeded).then_some(())
        })
        .await;
    }
    assert_eq!(hanging.calls(), 2, "no more at once than there are places");

    hanging.release_times(20);
    for message in stuck {
        eventually("they come round", SOON, async || {
            let reply = engine.db.store.reply(message.conversation, message.id).await;
            (reply.unwrap().unwrap().state == ReplyState::Succeeded).then_some(())
        })
        .await;
    }
    engine.stop().await;
}
