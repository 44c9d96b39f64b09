//! The pieces in which replies were told are forgotten in time, those of every attempt, and what is told then is whole.

use engagement::model::{ConversationId, Failure, Message, Outcome};

use super::{Database, at, story::ASKED};

/// After everything that happens here.
const LATE: i64 = 9_000;

/// Somebody asks, and an attempt at the reply is told and goes to nothing.
async fn ask_in_vain(db: &Database) -> (ConversationId, Message) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim(2_000).await[0].lease;
    db.tell(lease, &["in", " vain"], 2_010).await;
    db.finish(lease, Outcome::Released, 2_020).await;
    (conversation, question)
}

pub(super) async fn pieces_are_forgotten_in_time_and_the_text_is_told_whole(db: Database) {
    let conversation = db.conversation().await.id;
    db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim(2_000).await[0].lease;
    db.tell(lease, &["Good", " morning"], 2_010).await;
    let middle = db.all_events(conversation, None, 0).await[3].number;
    db.answer(lease, 9, "Good morning", Some(12), 2_030).await;

    assert_eq!(
        db.store.prune_deltas(at(2_030)).await.unwrap(),
        0,
        "it is too early"
    );
    assert_eq!(db.store.prune_deltas(at(2_031)).await.unwrap(), 1);
    assert_eq!(
        db.store.prune_deltas(at(9_000)).await.unwrap(),
        0,
        "nothing is left to forget"
    );

    let whole = [
        "started 1",
        "+ Good morning",
        "assistant says Good morning",
        "succeeded",
    ];
    assert_eq!(db.story(conversation, ASKED).await, whole);
    assert_eq!(
        db.story(conversation, middle).await,
        whole,
        "who saw a part begins anew"
    );
}

pub(super) async fn an_answer_that_later_tries_have_left_is_told_whole_too(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let lease = db.claim(2_000).await[0].lease;
    db.tell(lease, &["Good", " morning"], 2_010).await;
    db.answer(lease, 9, "Good morning", Some(12), 2_030).await;
    db.retry(&question, 3_000).await;
    let lease = db.claim(3_000).await[0].lease;
    db.tell(lease, &["Good"], 3_010).await;
    db.finish(
        lease,
        Outcome::Failed(Failure::new("overloaded", "Too much.")),
        3_020,
    )
    .await;

    assert_eq!(db.store.prune_deltas(at(9_000)).await.unwrap(), 1);
    assert_eq!(
        db.story(conversation, ASKED).await,
        [
            "started 1",
            "+ Good morning",
            "assistant says Good morning",
            "succeeded",
            "queued",
            "failed overloaded",
        ]
    );
}

pub(super) async fn pieces_of_an_attempt_in_front_of_a_short_answer_are_forgotten(db: Database) {
    let (conversation, _) = ask_in_vain(&db).await;
    let lease = db.claim(2_030).await[0].lease;
    db.answer(lease, 9, "Hi!", None, 2_040).await;

    assert_eq!(db.store.prune_deltas(at(LATE)).await.unwrap(), 1);
    assert_eq!(
        db.story(conversation, ASKED).await,
        ["started 2", "+ Hi!", "assistant says Hi!", "succeeded"]
    );
}

pub(super) async fn pieces_of_an_attempt_in_front_of_a_failure_are_forgotten(db: Database) {
    let (conversation, _) = ask_in_vain(&db).await;
    let lease = db.claim(2_030).await[0].lease;
    db.finish(
        lease,
        Outcome::Failed(Failure::new("overloaded", "Too much.")),
        2_040,
    )
    .await;

    assert_eq!(db.store.prune_deltas(at(LATE)).await.unwrap(), 1);
    assert_eq!(db.story(conversation, ASKED).await, ["failed overloaded"]);
}

pub(super) async fn pieces_in_front_of_a_try_that_was_called_off_are_forgotten(db: Database) {
    let (conversation, question) = ask_in_vain(&db).await;
    db.cancel(&question, 9, 2_040).await;
    db.retry(&question, 3_000).await;
    // Nothing was written of it.
    db.cancel(&question, 8, 3_010).await;

    assert_eq!(db.store.prune_deltas(at(LATE)).await.unwrap(), 1);
    assert_eq!(
        db.story(conversation, ASKED).await,
        [
            "started 1",
            "+ in vain",
            "assistant says in vain",
            "cancelled",
            "queued",
            "cancelled without",
        ]
    );
}
