//! Writes that are asked for again are carried out once.

use engagement::{
    model::{
        Audited, BusyPolicy, Conversation, ConversationId, Message, NewMessage, NewReply, Owner, Reply,
        ReplyState, Retried, Rotated,
    },
    store::{Claimant, Error, Mark, Once, Remembered},
};
use futures_util::future::join_all;
use uuid::Uuid;

use super::{
    Database, LEASE, at,
    keys::{entry, key, key_id, successor},
    nobody, nothing,
    story::asked,
    texts,
};

pub(super) fn mark(number: u128) -> Mark {
    Mark {
        id: Uuid::from_u128(number),
        fingerprint: Uuid::from_u128(number + 1_000),
    }
}

/// Under this mark at this time, where nothing is ever forgotten.
pub(super) fn once<T>(
    number: u128,
    now: i64,
    answer: impl Fn(&T) -> String + Send + Sync + 'static,
) -> Once<T> {
    Once::new(mark(number), at(now), at(0), answer)
}

pub(super) fn said(message: &Message) -> String {
    format!("{} {}", message.id.as_uuid(), message.created.as_micros())
}

pub(super) fn called(conversation: &Conversation) -> String {
    conversation.id.as_uuid().to_string()
}

fn state(reply: &Reply) -> String {
    format!("{:?}", reply.state)
}

#[track_caller]
fn assert_repeated<T: std::fmt::Debug>(outcome: &Result<T, Error>) {
    assert!(matches!(outcome, Err(Error::Repeated)), "{outcome:?}");
}

impl Database {
    pub(super) fn saying(&self, of: ConversationId, text: &str, now: i64) -> NewMessage {
        NewMessage {
            reply: NewReply::default(),
            ..self.asking(of, text, now)
        }
    }

    pub(super) async fn answered(&self, number: u128) -> Option<String> {
        let remembered = self.store.remembered(mark(number).id, at(0)).await.unwrap()?;
        assert_eq!(remembered.fingerprint, mark(number).fingerprint);
        Some(remembered.answer)
    }
}

pub(super) async fn a_message_is_appended_once(db: Database) {
    let conversation = db.conversation().await.id;
    let first = db.saying(conversation, "Hello", 2_000);
    let first = db
        .store
        .append_message(first, Some(once(1, 2_000, said)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(db.answered(1).await, Some(said(&first)));

    let again = db.saying(conversation, "Hello", 3_000);
    assert_repeated(&db.store.append_message(again, Some(once(1, 3_000, said))).await);
    let again = db.saying(conversation, "Hello", 3_000);
    let claimant = Claimant::new(LEASE, |_| panic!("nothing was appended"));
    assert_repeated(
        &db.store
            .append_and_claim(again, claimant, Some(once(1, 3_000, said)))
            .await,
    );

    assert_eq!(texts(&db.all(conversation).await), ["Hello"]);
    assert_eq!(db.claim(4_000).await.len(), 1);
    assert_eq!(db.answered(1).await, Some(said(&first)), "the first answer stays");
    let other = db.saying(conversation, "Hello", 4_000);
    let other = db.store.append_message(other, Some(once(2, 4_000, said))).await;
    assert!(
        other.unwrap().is_some(),
        "control: another mark is another request"
    );
}

pub(super) async fn a_claimed_message_is_remembered(db: Database) {
    let conversation = db.conversation().await.id;
    let new = db.saying(conversation, "Hello", 2_000);
    let claimant = Claimant::new(LEASE, drop);
    let message = db
        .store
        .append_and_claim(new, claimant, Some(once(1, 2_000, said)))
        .await;
    assert_eq!(db.answered(1).await, Some(said(&message.unwrap().unwrap())));
}

pub(super) async fn a_conversation_is_created_once(db: Database) {
    let new = db.new_conversation(Owner::of(key_id(3)));
    let id = new.id;
    let created = db
        .store
        .create_conversation(new, Some(once(1, 1_000, called)))
        .await
        .unwrap();
    assert_eq!(db.answered(1).await, Some(called(&created)));
    assert_eq!(db.store.owner(id).await.unwrap(), Some(Owner::of(key_id(3))));

    let again = db.new_conversation(Owner::OPERATOR);
    let second = again.id;
    assert_repeated(
        &db.store
            .create_conversation(again, Some(once(1, 1_000, called)))
            .await,
    );
    assert_eq!(db.store.conversation(second).await.unwrap(), None);

    // A taken id is no request that was carried out.
    let mut taken = db.new_conversation(Owner::OPERATOR);
    taken.id = id;
    let conflict = db
        .store
        .create_conversation(taken, Some(once(2, 1_000, called)))
        .await;
    assert!(matches!(conflict, Err(Error::Conflict)), "{conflict:?}");
    assert_eq!(db.answered(2).await, None);
}

pub(super) async fn a_reply_is_called_off_and_retried_once(db: Database) {
    let conversation = db.conversation().await.id;
    let question = db.ask(conversation, "Hello", 2_000).await;
    let cancel = async || {
        let cancelled = db.store.cancel_reply(
            conversation,
            question.id,
            nothing(),
            at(3_000),
            Some(once(1, 3_000, state)),
        );
        cancelled.await
    };
    assert_eq!(cancel().await.unwrap().unwrap().state, ReplyState::Cancelled);
    assert_eq!(db.answered(1).await.as_deref(), Some("Cancelled"));
    assert_repeated(&cancel().await);

    let retry = async || {
        db.store
            .retry_reply(
                conversation,
                question.id,
                asked(),
                at(4_000),
                Some(once(2, 4_000, state)),
            )
            .await
    };
    assert!(matches!(retry().await.unwrap(), Retried::Queued(_)));
    assert_eq!(db.answered(2).await.as_deref(), Some("Queued"));
    assert_repeated(&retry().await);
    let attempts = db
        .store
        .attempts(conversation, question.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(attempts.len(), 1);
    assert_repeated(&cancel().await);
    assert_eq!(
        db.reply_to(conversation, &question).await.state,
        ReplyState::Queued,
        "what was called off once is not called off again"
    );
}

pub(super) async fn a_key_is_made_and_rotated_once(db: Database) {
    let name = |key: &engagement::model::ApiKey| key.id.to_string();
    let make = async |number| {
        let entry = entry(number, Audited::Created, 1_000);
        db.store
            .create_key(key(number, 1_000), entry, Some(once(1, 1_000, name)))
            .await
    };
    make(7).await.unwrap();
    assert_eq!(db.answered(1).await, Some(key_id(7).to_string()));
    assert_repeated(&make(8).await);

    // Without overlap, the old one opens nothing any more when it is asked for again.
    let rotate = async |number| {
        let entry = entry(number, Audited::Rotated, 2_000);
        let successor = successor(number, 0, 2_000);
        db.store
            .rotate_key(key_id(7), successor, entry, Some(once(2, 2_000, name)))
            .await
    };
    assert!(matches!(rotate(9).await.unwrap(), Rotated::Made(_)));
    assert_eq!(db.answered(2).await, Some(key_id(9).to_string()));
    assert_repeated(&rotate(10).await);

    assert_eq!(db.store.keys().await.unwrap().len(), 2);
    assert_eq!(db.store.audit(10).await.unwrap().len(), 2, "nothing else is told");
}

pub(super) async fn what_fails_is_not_remembered(db: Database) {
    let conversation = db.conversation().await.id;
    let nowhere = db.saying(nobody(), "Hello", 2_000);
    assert_eq!(
        db.store
            .append_message(nowhere, Some(once(1, 2_000, said)))
            .await
            .unwrap(),
        None
    );
    let question = db.ask(conversation, "one", 2_000).await;
    let mut refused = db.asking(conversation, "two", 2_000);
    refused.reply.busy = BusyPolicy::Reject;
    let busy = db.store.append_message(refused, Some(once(1, 2_000, said))).await;
    assert!(matches!(busy, Err(Error::Busy)), "{busy:?}");
    let retry = async || {
        db.store
            .retry_reply(
                conversation,
                question.id,
                asked(),
                at(3_000),
                Some(once(1, 3_000, state)),
            )
            .await
    };
    assert_eq!(retry().await.unwrap(), Retried::Unfinished);
    let none = db.store.cancel_reply(
        conversation,
        nothing(),
        nothing(),
        at(3_000),
        Some(once(1, 3_000, state)),
    );
    assert_eq!(none.await.unwrap(), None);
    let rotated = entry(1, Audited::Rotated, 3_000);
    let name = |key: &engagement::model::ApiKey| key.id.to_string();
    let none = db.store.rotate_key(
        key_id(1),
        successor(2, 0, 3_000),
        rotated,
        Some(once(1, 3_000, name)),
    );
    assert_eq!(none.await.unwrap(), Rotated::NoKey);
    let mut taken = db.saying(conversation, "taken", 3_000);
    taken.id = question.id;
    let conflict = db.store.append_message(taken, Some(once(1, 3_000, said))).await;
    assert!(matches!(conflict, Err(Error::Conflict)), "{conflict:?}");

    assert_eq!(db.answered(1).await, None);
    let right = db.saying(conversation, "right", 4_000);
    assert!(
        db.store
            .append_message(right, Some(once(1, 4_000, said)))
            .await
            .unwrap()
            .is_some()
    );
}

pub(super) async fn a_repeated_request_is_not_refused_for_what_it_did(db: Database) {
    let conversation = db.conversation().await.id;
    let ask = async |busy| {
        let mut new = db.asking(conversation, "Hello", 2_000);
        new.reply.busy = busy;
        db.store.append_message(new, Some(once(1, 2_000, said))).await
    };
    let first = ask(BusyPolicy::Reject).await.unwrap().unwrap();
    assert_repeated(&ask(BusyPolicy::Reject).await);
    assert_repeated(&ask(BusyPolicy::Interrupt).await);
    assert_eq!(db.reply_to(conversation, &first).await.state, ReplyState::Queued);
    assert_eq!(db.all(conversation).await, [first]);
}

pub(super) async fn an_old_record_makes_room(db: Database) {
    let conversation = db.conversation().await.id;
    let say = async |now, forgotten| {
        let new = db.saying(conversation, "Hello", now);
        let once = Once::new(mark(1), at(now), at(forgotten), said);
        db.store.append_message(new, Some(once)).await
    };
    say(2_000, 0).await.unwrap();
    assert_repeated(&say(3_000, 2_000).await);
    let remembered = async |forgotten| db.store.remembered(mark(1).id, at(forgotten)).await.unwrap();
    assert!(remembered(2_000).await.is_some());
    assert_eq!(remembered(2_001).await, None);

    let second = say(4_000, 2_001).await.unwrap().unwrap();
    let expected = Remembered {
        fingerprint: mark(1).fingerprint,
        answer: said(&second),
    };
    assert_eq!(remembered(4_000).await, Some(expected));
    assert_eq!(db.all(conversation).await.len(), 2);
}

pub(super) async fn old_records_are_forgotten_in_portions(db: Database) {
    let conversation = db.conversation().await.id;
    let say = |number: u128, now| {
        let new = db.saying(conversation, "Hello", now);
        db.store.append_message(new, Some(once(number, now, said)))
    };
    for number in 0..20 {
        for outcome in join_all((0..64).map(|at| say(64 * number + at, 2_000))).await {
            outcome.unwrap();
        }
    }
    // The first of them is remembered anew, and is the youngest.
    let new = db.saying(conversation, "Hello", 9_000);
    let renewed = Once::new(mark(0), at(9_000), at(8_000), said);
    db.store.append_message(new, Some(renewed)).await.unwrap();
    say(5_000, 8_000).await.unwrap();

    assert_eq!(db.store.forget_requests(at(2_000)).await.unwrap(), 0);
    let (mut forgotten, mut portions) = (0, 0);
    loop {
        match db.store.forget_requests(at(8_000)).await.unwrap() {
            0 => break,
            some => forgotten += some,
        }
        portions += 1;
    }
    assert_eq!(forgotten, 20 * 64 - 1);
    assert!(portions > 1, "that does not take long");
    assert!(db.answered(0).await.is_some() && db.answered(5_000).await.is_some());
    assert_eq!(db.answered(1).await, None);
    say(1, 9_000).await.expect("what is forgotten can be done again");
}
