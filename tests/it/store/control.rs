//! Calling replies off, and asking for them again.

use engagement::model::{
    ConversationId, Event, Failure, Finished, Happening, Lease, Message, MessageId, MessageText, Outcome,
    ReplyState, Retried, Role,
};

use super::{
    Database, at, nobody,
    story::{ASKED, asked, told},
    texts,
};

fn id(byte: u8) -> MessageId {
    MessageId::from([byte; 16])
}

impl Database {
    pub(super) async fn cancel(&self, message: &Message, partial: u8, now: i64) -> engagement::model::Reply {
        self.store
            .cancel_reply(message.conversation, message.id, id(partial), at(now), None)
            .await
            .unwrap()
            .unwrap()
    }

    pub(super) async fn retry(&self, message: &Message, now: i64) -> Retried {
        self.store
            .retry_reply(message.conversation, message.id, asked(), at(now), None)
            .await
            .unwrap()
    }

    async fn claim_it(&self, now: i64) -> Lease {
        self.claim(now).await[0].lease
    }

    /// Has a reply written again, with this answer.
    async fn answer_anew(&self, message: &Message, answer: u8, now: i64) {
        assert!(matches!(self.retry(message, now).await, Retried::Queued(_)));
        let lease = self.claim_it(now).await;
        self.answer(lease, answer, "anew", None, now).await;
    }

    /// The messages of which is told after an event that they are gone.
    async fn gone(&self, of: ConversationId, after: u64) -> Vec<MessageId> {
        let events = self.all_events(of, None, after).await;
        let gone = events.iter().filter_map(|event| match &event.what {
            Happening::MessageDeleted(message) => Some(*message),
            _ => None,
        });
        gone.collect()
    }
}

pub(super) async fn a_queued_reply_is_called_off(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let reply = db.cancel(&question, 9, 3_000).await;
    assert_eq!(reply.state, ReplyState::Cancelled);
    assert_eq!((reply.answer, reply.finished), (None, Some(at(3_000))));
    assert!(db.claim(4_000).await.is_empty());
    assert_eq!(db.story(conversation, ASKED).await, ["cancelled without"]);
}

pub(super) async fn what_was_written_is_kept(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim_it(2_000).await;
    db.tell(lease, &["Once upon", " a time"], 2_010).await;
    let reply = db.cancel(&question, 9, 3_000).await;

    assert_eq!((reply.state, reply.answer), (ReplyState::Cancelled, Some(id(9))));
    assert_eq!(texts(&db.all(conversation).await), ["Hello", "Once upon a time"]);
    assert_eq!(
        db.story(conversation, ASKED).await,
        [
            "started 1",
            "+ Once upon",
            "+  a time",
            "assistant says Once upon a time",
            "cancelled"
        ]
    );
    assert_eq!(
        db.answer(lease, 8, "too late", None, 3_100).await,
        Finished::LeaseLost
    );
    assert_eq!(db.tell(lease, &["too late"], 3_100).await, Finished::LeaseLost);
}

pub(super) async fn only_what_the_last_beginning_wrote_is_kept(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim_it(2_000).await;
    db.tell(lease, &["a first try"], 2_010).await;
    db.tell(lease, &["  "], 2_020).await;
    let reply = db.cancel(&question, 9, 3_000).await;
    assert_eq!(
        (reply.state, reply.answer),
        (ReplyState::Cancelled, None),
        "white space is nothing"
    );
}

pub(super) async fn calling_off_again_changes_nothing(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let first = db.cancel(&question, 9, 3_000).await;
    let last = db.store.last_event(conversation).await.unwrap();
    assert_eq!(db.cancel(&question, 8, 4_000).await, first);
    assert_eq!(db.store.last_event(conversation).await.unwrap(), last);

    let done = db.append(conversation, Role::User, "and this", 5_000).await;
    let lease = db.claim_it(5_000).await;
    db.answer(lease, 7, "done", None, 5_000).await;
    assert_eq!(db.cancel(&done, 6, 6_000).await.state, ReplyState::Succeeded);

    let nothing = db
        .store
        .cancel_reply(nobody(), question.id, id(5), at(7_000), None)
        .await;
    assert_eq!(nothing.unwrap(), None);
}

pub(super) async fn a_failed_reply_runs_again(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    assert_eq!(db.retry(&question, 2_000).await, Retried::Unfinished);
    let lease = db.claim_it(2_000).await;
    assert_eq!(db.retry(&question, 2_000).await, Retried::Unfinished);
    db.finish(
        lease,
        Outcome::Failed(Failure::new("overloaded", "Too much.")),
        2_100,
    )
    .await;

    let Retried::Queued(reply) = db.retry(&question, 3_000).await else {
        panic!("it was final");
    };
    assert_eq!(reply.state, ReplyState::Queued);
    assert_eq!((reply.started, reply.finished), (None, None));
    let lease = db.claim_it(3_000).await;
    db.answer(lease, 9, "Hi!", None, 3_100).await;

    let reply = db.reply_to(conversation, &question).await;
    assert_eq!(
        (reply.state, reply.answer, reply.attempts),
        (ReplyState::Succeeded, Some(id(9)), 2)
    );
    assert_eq!(
        db.story(conversation, ASKED).await,
        [
            "failed overloaded",
            "queued",
            "started 2",
            "+ Hi!",
            "assistant says Hi!",
            "succeeded"
        ]
    );
    let attempts = db
        .store
        .attempts(conversation, question.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].number, 1);
    assert_eq!(
        attempts[0].state,
        ReplyState::Failed(Failure::new("overloaded", "Too much."))
    );
    assert_eq!(attempts[0].finished, at(2_100));
}

pub(super) async fn a_new_answer_takes_the_place_of_the_old_one(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim_it(2_000).await;
    db.answer(lease, 1, "First", None, 2_100).await;
    db.append(conversation, Role::Assistant, "afterwards", 2_200)
        .await;
    let before = db.store.last_event(conversation).await.unwrap().unwrap();

    assert!(matches!(db.retry(&question, 3_000).await, Retried::Queued(_)));
    assert_eq!(
        texts(&db.all(conversation).await),
        ["Hello", "First", "afterwards"],
        "until there is a new one, the old one stays"
    );
    let lease = db.claim_it(3_000).await;
    db.tell(lease, &["Sec"], 3_010).await;
    db.answer(lease, 2, "Second", Some(3), 3_100).await;

    let messages = db.all(conversation).await;
    assert_eq!(texts(&messages), ["Hello", "Second", "afterwards"]);
    assert_eq!(messages[1].id, id(2));
    assert!(messages.windows(2).all(|pair| pair[0].created <= pair[1].created));
    assert_eq!((messages[1].created, messages[1].updated), (at(2_100), at(3_100)));
    assert_eq!(
        db.story(conversation, before).await,
        [
            "queued",
            "started 1",
            "+ Sec",
            "+ ond",
            "deleted",
            "assistant says Second instead",
            "succeeded"
        ]
    );
    let attempts = db
        .store
        .attempts(conversation, question.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].answer, Some(id(1)));
    assert_eq!(attempts[0].text.as_ref().map(MessageText::as_str), Some("First"));

    db.append(conversation, Role::Assistant, "last", 4_000).await;
    assert_eq!(
        texts(&db.all(conversation).await),
        ["Hello", "Second", "afterwards", "last"],
        "pages count on"
    );
}

pub(super) async fn whoever_was_away_hears_of_every_answer_that_is_gone(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim_it(2_000).await;
    db.answer(lease, 1, "First", None, 2_100).await;
    let away = db.store.last_event(conversation).await.unwrap().unwrap();

    db.answer_anew(&question, 2, 3_000).await;
    assert_eq!(db.gone(conversation, away).await, [id(1)]);
    db.answer_anew(&question, 3, 4_000).await;
    assert_eq!(db.gone(conversation, away).await, [id(1), id(2)]);
    let deleted = db.store.delete_message(conversation, id(3), at(5_000)).await;
    assert!(deleted.unwrap());
    assert_eq!(db.gone(conversation, away).await, [id(1), id(2), id(3)]);
}

pub(super) async fn an_answer_stays_where_it_was_told_when_its_question_goes(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim_it(2_000).await;
    db.tell(lease, &["Fir"], 2_050).await;
    db.answer(lease, 1, "First", Some(3), 2_100).await;
    let away = db.store.last_event(conversation).await.unwrap().unwrap();
    db.answer_anew(&question, 2, 3_000).await;
    db.append(conversation, Role::Assistant, "afterwards", 3_100)
        .await;
    let of_messages = |events: Vec<Event>| -> Vec<_> {
        let of_messages = events.into_iter().filter(|event| event.what.reply().is_none());
        of_messages
            .map(|event| (event.number, told(&event.what)))
            .collect()
    };
    let live = of_messages(db.all_events(conversation, None, away).await);

    let deleted = db
        .store
        .delete_message(conversation, question.id, at(4_000))
        .await;
    assert!(deleted.unwrap());
    let later = db.all_events(conversation, None, away).await;
    assert_eq!(
        db.story(conversation, away).await,
        [
            "deleted",
            "assistant says anew instead",
            "assistant says afterwards",
            "deleted"
        ],
        "nothing else is told of a reply that is gone"
    );
    assert_eq!(of_messages(later.clone())[..3], live, "at the numbers of before");
    assert_eq!(
        db.all_events(conversation, None, 0).await,
        later,
        "nothing is told of the answer that was replaced, and nothing twice"
    );

    let deleted = db.store.delete_message(conversation, id(2), at(5_000)).await;
    assert!(deleted.unwrap());
    assert_eq!(
        db.gone(conversation, away).await,
        [id(1), question.id, id(2)],
        "whoever saw the first answer hears that it is gone"
    );
}

pub(super) async fn a_cancelled_second_try_keeps_what_it_wrote_and_the_first(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim_it(2_000).await;
    db.answer(lease, 1, "First", None, 2_100).await;
    db.retry(&question, 3_000).await;
    db.cancel(&question, 2, 3_001).await;
    assert_eq!(
        texts(&db.all(conversation).await),
        ["Hello", "First"],
        "nothing was written"
    );

    db.retry(&question, 4_000).await;
    let lease = db.claim_it(4_000).await;
    db.tell(lease, &["Thi"], 4_001).await;
    let reply = db.cancel(&question, 3, 4_002).await;
    assert_eq!((reply.state, reply.answer), (ReplyState::Cancelled, Some(id(3))));
    assert_eq!(texts(&db.all(conversation).await), ["Hello", "Thi"]);
    let attempts = db
        .store
        .attempts(conversation, question.id)
        .await
        .unwrap()
        .unwrap();
    let states: Vec<_> = attempts.iter().map(|attempt| &attempt.state).collect();
    assert_eq!(states, [&ReplyState::Succeeded, &ReplyState::Cancelled]);
    assert_eq!(attempts[0].text.as_ref().map(MessageText::as_str), Some("First"));
}

pub(super) async fn a_deleted_earlier_answer_is_not_kept_with_its_try(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim_it(2_000).await;
    db.answer(lease, 1, "Secret", None, 2_100).await;
    db.retry(&question, 3_000).await;
    assert!(
        db.store
            .delete_message(conversation, id(1), at(3_001))
            .await
            .unwrap()
    );
    let lease = db.claim_it(3_001).await;
    db.answer(lease, 2, "Public", None, 3_002).await;

    assert_eq!(texts(&db.all(conversation).await), ["Hello", "Public"]);
    let attempts = db
        .store
        .attempts(conversation, question.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(attempts[0].text, None);
}

pub(super) async fn there_is_nothing_to_retry_where_there_is_no_reply(db: Database) {
    let conversation = db.conversation().await.id;
    let said = db
        .append(conversation, Role::Assistant, "no question", 2_000)
        .await;
    assert_eq!(db.retry(&said, 2_000).await, Retried::NoReply);
    assert_eq!(db.store.attempts(conversation, said.id).await.unwrap(), None);
    assert_eq!(db.store.reply_options(conversation, said.id).await.unwrap(), None);
}
