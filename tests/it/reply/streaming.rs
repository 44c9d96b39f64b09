//! Replies of providers that are somewhere else: told while they are written, one after the other, with what was said before.

use std::{sync::Arc, time::Duration};

use engagement::{
    access::Caller,
    model::{Event, Happening, Line, Message, MessageText, ReplyOptions, ReplyState, Role},
    provider::{
        Refusal,
        scripted::{Scripted, Step},
    },
};

use super::{Engine, SOON, failure, quick, retry};
use crate::{store::Database, support::eventually};

pub(super) fn pieces(pieces: &[&str]) -> Step {
    Step::Pieces(pieces.iter().map(|piece| (*piece).to_owned()).collect())
}

impl Engine {
    pub(super) async fn far(steps: impl IntoIterator<Item = Step>) -> Self {
        let provider = Arc::new(Scripted::new(steps));
        let providers = provider.far_away();
        Self::start(Database::sqlite(), provider, providers, quick()).await
    }

    pub(super) async fn say(&self, text: &str) -> Message {
        self.say_with(text, ReplyOptions::default()).await
    }

    pub(super) async fn say_with(&self, text: &str, options: ReplyOptions) -> Message {
        let (text, by) = (MessageText::parse(text).unwrap(), Caller::operator());
        let message = self
            .service
            .create_message(self.conversation, Role::User, text, options, &by, None);
        message.await.unwrap()
    }

    async fn events(&self, of: &Message) -> Vec<Event> {
        self.db.all_events(self.conversation, Some(of.id), 0).await
    }

    /// What was told of a reply since its last beginning.
    pub(super) async fn shown(&self, of: &Message) -> String {
        let mut text = String::new();
        for event in self.events(of).await {
            match event.what {
                Happening::ReplyStarted { .. } => text.clear(),
                Happening::ReplyDelta { text: piece, .. } => text.push_str(&piece),
                _ => {}
            }
        }
        text
    }

    async fn until_shown(&self, of: &Message, text: &str) {
        eventually(text, SOON, async || (self.shown(of).await == text).then_some(())).await;
    }

    async fn beginnings(&self, of: &Message) -> usize {
        let events = self.events(of).await;
        let is_start = |event: &&Event| matches!(event.what, Happening::ReplyStarted { .. });
        events.iter().filter(is_start).count()
    }
}

fn said(history: &[Line]) -> Vec<&str> {
    history.iter().map(|line| line.text.as_str()).collect()
}

#[tokio::test]
async fn pieces_are_told_while_the_rest_is_still_unwritten() {
    let engine = Engine::far([pieces(&["Good", " morning", ", world"])]).await;
    let question = engine.say("Hello").await;

    engine.until_shown(&question, "Good").await;
    assert_eq!(engine.reply(&question).await.state, ReplyState::Running);
    engine.provider.release();
    engine.until_shown(&question, "Good morning").await;
    engine.provider.release_times(2);

    let reply = engine.end(&question).await;
    assert_eq!(reply.state, ReplyState::Succeeded);
    assert_eq!(engine.texts().await, ["Hello", "Good morning, world"]);
    assert_eq!(engine.shown(&question).await, "Good morning, world");
    engine.stop().await;
}

#[tokio::test]
async fn what_is_shown_is_what_is_stored_whatever_was_written() {
    let engine = Engine::far([pieces(&[" \n", "\0a ", "", " b\0", "\t", " ", "é\u{1c}"])]).await;
    engine.provider.release_times(100);
    let question = engine.say("Hello").await;
    engine.end(&question).await;
    let stored = engine.texts().await[1].clone();
    assert_eq!(stored, "a  b\t é");
    assert_eq!(engine.shown(&question).await, stored);
    engine.stop().await;
}

#[tokio::test]
async fn pieces_that_come_fast_are_stored_together() {
    let many: Vec<String> = (0..2_000).map(|at| format!("{at} ")).collect();
    let engine = Engine::far([Step::Pieces(many.clone())]).await;
    engine.provider.release_times(3_000);
    let question = engine.say("Count").await;
    let reply = engine.end(&question).await;

    assert_eq!(engine.shown(&question).await, many.concat().trim_end());
    let took = reply.started.unwrap().until(reply.finished.unwrap());
    let most = took.as_millis() / 50 + 2;
    let deltas = engine.events(&question).await;
    let deltas = deltas
        .iter()
        .filter(|event| matches!(event.what, Happening::ReplyDelta { .. }))
        .count() as u128;
    assert!(deltas <= most + 1, "{deltas} commits in {took:?}");
    engine.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_begun_anew() {
    let refusal = Refusal::Retry {
        after: None,
        failure: failure(),
    };
    let engine = Engine::far([
        Step::Break(vec!["half an".into()], refusal),
        pieces(&["a whole one"]),
    ])
    .await;
    let question = engine.say("Hello").await;
    engine.until_shown(&question, "half an").await;
    engine.provider.release_times(10);
    let reply = engine.end(&question).await;

    assert_eq!((reply.state, reply.attempts), (ReplyState::Succeeded, 2));
    assert_eq!(engine.beginnings(&question).await, 2);
    assert_eq!(engine.shown(&question).await, "a whole one");
    assert_eq!(engine.texts().await, ["Hello", "a whole one"]);
    engine.stop().await;
}

#[tokio::test]
async fn each_reply_sees_the_earlier_ones() {
    let engine = Engine::far([pieces(&["first"]), pieces(&["second"])]).await;
    let one = engine.say("one").await;
    let two = engine.say("two").await;
    engine.until_shown(&one, "first").await;
    assert_eq!(
        engine.reply(&two).await.state,
        ReplyState::Queued,
        "it waits for its turn"
    );
    engine.provider.release_times(10);
    engine.end(&one).await;
    engine.end(&two).await;

    let prompts = engine.provider.prompts();
    assert_eq!(said(&prompts[0].history), Vec::<&str>::new());
    assert_eq!(said(&prompts[1].history), ["one", "first"]);
    assert_eq!(prompts[1].text.as_str(), "two");
    engine.stop().await;
}

#[tokio::test]
async fn a_cancelled_reply_is_called_off_where_it_is_written() {
    let engine = Engine::far([pieces(&["Once", " upon"]), pieces(&["next"])]).await;
    let question = engine.say("Tell me a story").await;
    engine.until_shown(&question, "Once").await;

    let reply = engine
        .service
        .cancel_reply(engine.conversation, question.id, None)
        .await
        .unwrap();
    assert_eq!(reply.state, ReplyState::Cancelled);
    assert_eq!(engine.texts().await, ["Tell me a story", "Once"]);
    eventually("the call is dropped", SOON, async || {
        (engine.provider.called_off() == 1).then_some(())
    })
    .await;

    let next = engine.say("And now?").await;
    engine.provider.release_times(10);
    engine.end(&next).await;
    assert_eq!(
        said(&engine.provider.prompts()[1].history),
        ["Tell me a story", "Once"]
    );
    engine.stop().await;
}

#[tokio::test]
async fn a_new_try_does_not_see_the_old_answer() {
    let engine = Engine::far([pieces(&["old"]), pieces(&["new"])]).await;
    engine.provider.release_times(10);
    let question = engine.say("Hello").await;
    engine.end(&question).await;
    engine
        .service
        .retry_reply(engine.conversation, question.id, &Caller::operator(), None)
        .await
        .unwrap();
    eventually("there is a new answer", SOON, async || {
        (engine.texts().await == ["Hello", "new"]).then_some(())
    })
    .await;
    assert_eq!(said(&engine.provider.prompts()[1].history), Vec::<&str>::new());
    engine.stop().await;
}

#[tokio::test]
async fn what_a_stop_cuts_off_is_begun_anew_by_the_next_start() {
    let Engine {
        db,
        shutdown,
        conversation,
        provider,
        ..
    } = {
        let engine = Engine::far([pieces(&["half an", " answer"])]).await;
        let question = engine.say("Hello").await;
        engine.until_shown(&question, "half an").await;
        engine
    };
    shutdown.force();
    tokio::time::timeout(SOON, shutdown.finished()).await.unwrap();
    assert_eq!(provider.called_off(), 1);

    let again = Arc::new(Scripted::new([pieces(&["a whole answer"])]));
    again.release_times(10);
    let providers = again.far_away();
    let mut engine = Engine::start(db, again, providers, quick()).await;
    engine.conversation = conversation;
    let question = engine.db.all(conversation).await[0].clone();
    engine.end(&question).await;
    assert_eq!(engine.texts().await, ["Hello", "a whole answer"]);
    assert_eq!(engine.shown(&question).await, "a whole answer");
    engine.stop().await;
}

#[tokio::test]
async fn a_reply_longer_than_the_limit_is_cut_and_its_provider_let_go() {
    let endless: Vec<String> = (0..1_000).map(|_| "x".repeat(1_000)).collect();
    let engine = Engine::far([Step::Pieces(endless)]).await;
    engine.provider.release_times(500);
    let question = engine.say("Go on for ever").await;
    let reply = engine.end(&question).await;
    assert_eq!(reply.state, ReplyState::Succeeded);
    assert_eq!(engine.texts().await[1].len(), MessageText::MAX);
    assert_eq!(engine.shown(&question).await.len(), MessageText::MAX);
    let last = engine.events(&question).await.pop().unwrap().what;
    assert!(
        matches!(last, Happening::ReplySucceeded { truncated: true, .. }),
        "{last:?}"
    );
    engine.stop().await;
}

#[tokio::test]
async fn white_space_is_no_answer() {
    let engine = Engine::far([pieces(&[" ", "\n"])]).await;
    engine.provider.release_times(10);
    let question = engine.say("Hello").await;
    let reply = engine.end(&question).await;
    assert!(
        matches!(&reply.state, ReplyState::Failed(failure) if failure.code == "empty_reply"),
        "{reply:?}"
    );
    engine.stop().await;
}

#[tokio::test]
async fn a_retry_lets_the_text_begin_anew_even_without_a_word() {
    let engine = Engine::far([retry(Some(Duration::from_millis(1))), pieces(&["now"])]).await;
    engine.provider.release_times(10);
    let question = engine.say("Hello").await;
    engine.end(&question).await;
    assert_eq!(engine.shown(&question).await, "now");
    engine.stop().await;
}
