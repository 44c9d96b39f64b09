//! What happened can be read, from any point on, and is what happened.

use engagement::model::{
    Failure, Finished, Happening, Message, MessageId, NewReply, Outcome, Progress, Role,
};

use engagement::store::Portion;

use super::{
    Database, at, nobody,
    story::{ASKED, told},
};

pub(super) async fn an_answer_that_was_not_told_before_is_told_whole(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.append(conversation, Role::User, "Hello", 2_000).await;
    assert_eq!(db.story(conversation, 0).await, ["user says Hello", "queued"]);

    let lease = db.claim(2_000).await[0].lease;
    db.answer(lease, 9, "Hi!", None, 2_100).await;
    db.append(conversation, Role::Assistant, "By the way", 2_200)
        .await;

    assert_eq!(
        db.story(conversation, 0).await,
        [
            "user says Hello",
            "queued",
            "started 1",
            "+ Hi!",
            "assistant says Hi!",
            "succeeded",
            "assistant says By the way",
        ]
    );
    let events = db.all_events(conversation, None, 0).await;
    assert_eq!(events[0].at, at(2_000));
    assert_eq!(events[5].at, at(2_100));
    assert!(matches!(&events[1].what, Happening::ReplyQueued(reply) if *reply == question.id));
    let last = db.store.last_event(conversation).await.unwrap().unwrap();
    assert!(events[6].number <= last);
    assert!(db.all_events(conversation, None, last).await.is_empty());
}

pub(super) async fn pieces_are_told_as_they_came_and_the_rest_at_the_end(db: Database) {
    let conversation = db.conversation().await.id;
    db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim(2_000).await[0].lease;
    assert_eq!(db.tell(lease, &["Good", " mor"], 2_010).await, Finished::Stored);
    let more = vec![Progress::Delta("ning".to_owned())];
    db.store.tell(lease, more, at(2_020)).await.unwrap();
    db.answer(lease, 9, "Good morning to you", Some(12), 2_030).await;

    assert_eq!(
        db.story(conversation, ASKED).await,
        [
            "started 1",
            "+ Good",
            "+  mor",
            "+ ning",
            "+  to you",
            "assistant says Good morning to you",
            "succeeded",
        ]
    );
}

pub(super) async fn reading_goes_on_after_any_event(db: Database) {
    let conversation = db.conversation().await.id;
    for (id, question) in [(1, "one"), (2, "two"), (3, "three")] {
        db.ask(conversation, question, 2_000).await;
        let lease = db.claim(2_000).await[0].lease;
        db.tell(lease, &["pie", "ces"], 2_000).await;
        db.answer(lease, id, "pieces", Some(6), 2_000).await;
    }
    let all = db.all_events(conversation, None, 0).await;
    assert!(
        all.windows(2).all(|pair| pair[0].number < pair[1].number),
        "{all:?}"
    );
    for (at, event) in all.iter().enumerate() {
        let rest = db.all_events(conversation, None, event.number).await;
        assert_eq!(rest, all[at + 1..], "after {event:?}");
    }
}

pub(super) async fn a_replys_events_can_be_read_alone(db: Database) {
    let conversation = db.conversation().await.id;
    let first = db.ask(conversation, "one", 2_000).await;
    let second = db.append(conversation, Role::User, "two", 2_000).await;
    let claimed = db.claim(2_000).await;
    db.tell(claimed[0].lease, &["a"], 2_000).await;
    db.answer(claimed[1].lease, 8, "B", None, 2_000).await;
    db.answer(claimed[0].lease, 9, "a", Some(1), 2_000).await;

    let alone = async |reply: &Message| -> Vec<String> {
        let events = db.all_events(conversation, Some(reply.id), 0).await;
        events.iter().map(|event| told(&event.what)).collect()
    };
    assert_eq!(
        alone(&first).await,
        [
            "user says one",
            "queued",
            "started 1",
            "+ a",
            "assistant says a",
            "succeeded"
        ]
    );
    assert_eq!(
        alone(&second).await,
        [
            "user says two",
            "queued",
            "started 1",
            "+ B",
            "assistant says B",
            "succeeded"
        ]
    );
}

pub(super) async fn who_lost_the_lease_tells_nothing(db: Database) {
    let conversation = db.conversation().await.id;
    db.ask(conversation, "Hello", 2_000).await;
    let old = db.claim(2_000).await[0].lease;
    db.store
        .sweep_replies(at(9_000), 10, std::time::Duration::from_secs(1))
        .await
        .unwrap();
    let new = db.claim(9_000).await[0].lease;

    assert_eq!(db.tell(old, &["late"], 9_000).await, Finished::LeaseLost);
    assert_eq!(db.tell(new, &["fresh"], 9_000).await, Finished::Stored);
    assert_eq!(db.story(conversation, ASKED).await, ["started 1", "+ fresh"]);
}

pub(super) async fn a_failure_is_told_with_its_reason(db: Database) {
    let conversation = db.conversation().await.id;
    db.append(conversation, Role::User, "Hello", 2_000).await;
    let lease = db.claim(2_000).await[0].lease;
    db.finish(
        lease,
        Outcome::Failed(Failure::new("overloaded", "Too much.")),
        2_100,
    )
    .await;
    assert_eq!(db.story(conversation, ASKED).await, ["failed overloaded"]);
    let failed = db.store.last_event(conversation).await.unwrap().unwrap();

    db.append(conversation, Role::User, "Again", 3_000).await;
    db.claim(3_000).await;
    db.store
        .sweep_replies(at(9_000), 1, std::time::Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(
        db.story(conversation, failed).await,
        ["user says Again", "queued", "failed worker_lost"]
    );
}

pub(super) async fn what_is_deleted_is_not_told_again(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "secret question", 2_000).await;
    let lease = db.claim(2_000).await[0].lease;
    db.tell(lease, &["secret", " answer"], 2_000).await;
    db.answer(lease, 9, "secret answer", Some(13), 2_000).await;
    let seen = db.all_events(conversation, None, 0).await.last().unwrap().number;

    let deleted = db
        .store
        .delete_message(conversation, MessageId::from([9; 16]), at(3_000))
        .await;
    assert!(deleted.unwrap());
    assert_eq!(db.story(conversation, seen).await, ["deleted"]);
    assert_eq!(
        db.story(conversation, 0).await,
        [
            "user says secret question",
            "queued",
            "succeeded without",
            "deleted"
        ]
    );

    let deleted = db
        .store
        .delete_message(conversation, question.id, at(3_000))
        .await;
    assert!(deleted.unwrap());
    let story = db.story(conversation, 0).await.join(", ");
    assert!(!story.contains("secret"), "{story}");
    assert!(story.ends_with("deleted, deleted"), "{story}");
}

pub(super) async fn an_answer_outlives_its_question(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "why?", 2_000).await;
    let lease = db.claim(2_000).await[0].lease;
    db.tell(lease, &["therefore"], 2_000).await;
    db.answer(lease, 9, "therefore", Some(9), 2_000).await;
    let before = db.all_events(conversation, None, 0).await;
    let deleted = db
        .store
        .delete_message(conversation, question.id, at(3_000))
        .await;
    assert!(deleted.unwrap());
    assert_eq!(
        db.story(conversation, 0).await,
        ["assistant says therefore", "deleted"]
    );
    let after = db.all_events(conversation, None, 0).await;
    assert!(
        before.iter().any(|event| event.number == after[0].number),
        "it keeps its number"
    );
}

pub(super) async fn nothing_is_told_where_there_is_no_conversation(db: Database) {
    let conversation = db.conversation().await.id;
    assert_eq!(db.store.events(nobody(), None, 0).await.unwrap(), None);
    assert_eq!(db.store.last_event(nobody()).await.unwrap(), None);
    assert_eq!(
        db.store.events(conversation, None, 0).await.unwrap(),
        Some(Portion {
            events: Vec::new(),
            is_all: true
        })
    );
    assert_eq!(db.store.last_event(conversation).await.unwrap(), Some(0));
    db.append(conversation, Role::User, "Hello", 2_000).await;
    assert!(db.store.delete_conversation(conversation).await.unwrap());
    assert_eq!(db.store.events(conversation, None, 0).await.unwrap(), None);
}

pub(super) async fn whoever_waits_hears_of_everything(db: Database) {
    let conversation = db.conversation().await.id;
    let subscription = db.store.news().subscribe(conversation);
    let soon = std::time::Duration::from_secs(10);
    let hears = async |what: &str, happened: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tokio::time::timeout(soon, happened)
            .await
            .unwrap_or_else(|_| panic!("nobody heard of {what}"));
    };
    let listen = || Box::pin(subscription.happened());

    let happened = listen();
    let question = db.ask(conversation, "Hello", 2_000).await;
    hears("a message", happened).await;
    let lease = db.claim(2_000).await[0].lease;
    let happened = listen();
    db.tell(lease, &["piece"], 2_000).await;
    hears("a piece", happened).await;
    let happened = listen();
    db.answer(lease, 9, "piece", Some(5), 2_000).await;
    hears("an answer", happened).await;
    let happened = listen();
    db.store
        .retry_reply(conversation, question.id, NewReply::default(), at(3_000), None)
        .await
        .unwrap();
    hears("a new try", happened).await;
    let happened = listen();
    db.store
        .cancel_reply(
            conversation,
            question.id,
            MessageId::from([8; 16]),
            at(3_000),
            None,
        )
        .await
        .unwrap();
    hears("a cancellation", happened).await;
    let happened = listen();
    db.store
        .delete_message(conversation, question.id, at(3_000))
        .await
        .unwrap();
    hears("a deleted message", happened).await;
    let happened = listen();
    db.store.delete_conversation(conversation).await.unwrap();
    hears("the deleted conversation", happened).await;
}
