//! Writes under marks that come together: each is carried out once, and none is spoiled by another.

use std::collections::HashSet;

use engagement::{
    model::{Owner, Role},
    store::{Claimant, Error},
};
use futures_util::future::join_all;

use super::{
    Database, LEASE, at,
    once::{called, once, said},
};

pub(super) async fn of_many_at_once_one_is_carried_out(db: Database) {
    const MARKS: u128 = 8;
    const TRIES: usize = 24;
    let conversation = db.conversation().await.id;
    let tries = (0..TRIES).flat_map(|_| 0..MARKS).map(|number| {
        let (new, db) = (db.saying(conversation, &format!("{number}"), 2_000), &db);
        async move {
            (
                number,
                db.store
                    .append_message(new, Some(once(number, 2_000, said)))
                    .await,
            )
        }
    });
    let (mut done, mut repeated) = (HashSet::new(), 0);
    for (number, outcome) in join_all(tries).await {
        match outcome {
            Ok(Some(message)) => {
                assert!(done.insert(number), "{number} was done twice");
                assert_eq!(db.answered(number).await, Some(said(&message)));
            }
            Err(Error::Repeated) => repeated += 1,
            other => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(
        (done.len(), repeated),
        (MARKS as usize, MARKS as usize * (TRIES - 1))
    );
    assert_eq!(db.all(conversation).await.len(), MARKS as usize);
}

pub(super) async fn of_many_conversations_at_once_one_is_created(db: Database) {
    let tries = (0..64_u128).map(|at| {
        // Those with a mark of their own are not spoiled by the others.
        let number = if at % 2 == 0 { 1_000 } else { at };
        let (new, db) = (db.new_conversation(Owner::OPERATOR), &db);
        async move {
            (
                number,
                db.store
                    .create_conversation(new, Some(once(number, 1_000, called)))
                    .await,
            )
        }
    });
    let mut created = 0;
    for (number, outcome) in join_all(tries).await {
        match outcome {
            Ok(conversation) => {
                created += 1;
                assert_eq!(db.answered(number).await, Some(called(&conversation)));
            }
            Err(Error::Repeated) => assert_eq!(number, 1_000),
            other => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(created, 33);
}

/// The date of a message is found while it is written: what is remembered tells that one.
pub(super) async fn the_date_that_is_remembered_is_the_messages(db: Database) {
    let conversation = db.conversation().await.id;
    db.append(conversation, Role::Assistant, "from a clock that is ahead", 5_000)
        .await;
    let late = db.saying(conversation, "late", 2_000);
    let late = db
        .store
        .append_message(late, Some(once(100, 2_000, said)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(late.created, at(5_000));
    assert_eq!(db.answered(100).await, Some(said(&late)));

    // All at once, in no order, into two conversations, with others in between that are not remembered.
    let other = db.conversation().await.id;
    let say = (0..60_u128).map(|number| {
        let of = if number % 4 == 0 { other } else { conversation };
        let now = 5_000 + i64::try_from(number * 37 % 60).unwrap();
        let new = db.saying(of, &format!("{number}"), now);
        let once = if number % 5 == 0 {
            None
        } else {
            Some(once(number, now, said))
        };
        let (claimant, db) = (Claimant::new(LEASE, drop), &db);
        async move {
            (
                number,
                db.store
                    .append_and_claim(new, claimant, once)
                    .await
                    .unwrap()
                    .unwrap(),
            )
        }
    });
    for (number, message) in join_all(say).await {
        let expected = (number % 5 != 0).then(|| said(&message));
        assert_eq!(db.answered(number).await, expected);
        let stored = db.store.message(message.conversation, message.id).await.unwrap();
        assert_eq!(stored, Some(message));
    }
    for of in [conversation, other] {
        let dates: Vec<_> = db.all(of).await.iter().map(|message| message.created).collect();
        assert!(dates.is_sorted(), "{dates:?}");
    }
    assert_eq!(db.all(conversation).await.len() + db.all(other).await.len(), 62);
}
