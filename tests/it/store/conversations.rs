use engagement::{
    model::{Description, NewConversation, Owner, ReplyOptions, Role, Timestamp},
    store::Error,
};

use super::{Database, LEASE, at, nobody, nothing};

pub(super) async fn what_is_created_can_be_read(db: Database) {
    let created = db.conversation().await;

    assert_eq!(
        db.store.conversation(created.id).await.unwrap(),
        Some(created.clone())
    );
    assert_eq!((created.created, created.updated), (at(1_000), at(1_000)));
}

pub(super) async fn a_taken_id_is_a_conflict(db: Database) {
    let taken = db.conversation().await;

    let again = NewConversation {
        id: taken.id,
        title: None,
        description: Description::parse("another").unwrap(),
        now: at(2_000),
        options: ReplyOptions::default(),
        owner: Owner::OPERATOR,
    };
    assert!(matches!(
        db.store.create_conversation(again, None).await,
        Err(Error::Conflict)
    ));

    assert_eq!(db.store.conversation(taken.id).await.unwrap(), Some(taken));
}

pub(super) async fn what_is_not_there_is_none(db: Database) {
    assert_eq!(db.store.conversation(nobody()).await.unwrap(), None);
    assert_eq!(db.store.message(nobody(), nothing()).await.unwrap(), None);
    assert_eq!(db.store.reply(nobody(), nothing()).await.unwrap(), None);
    assert!(!db.store.delete_conversation(nobody()).await.unwrap());
    assert!(!db.store.delete_message(nobody(), nothing(), at(1)).await.unwrap());
}

pub(super) async fn a_deleted_conversation_takes_everything_along(db: Database) {
    let (kept, gone) = (db.conversation().await, db.conversation().await);
    let message = db.append(gone.id, Role::User, "hi", 2_000).await;
    db.append(kept.id, Role::Assistant, "stays", 2_000).await;

    assert!(db.store.delete_conversation(gone.id).await.unwrap());

    assert!(
        !db.store.delete_conversation(gone.id).await.unwrap(),
        "a second time there is nothing"
    );
    assert_eq!(db.store.conversation(gone.id).await.unwrap(), None);
    assert_eq!(db.store.message(gone.id, message.id).await.unwrap(), None);
    assert_eq!(db.store.reply(gone.id, message.id).await.unwrap(), None);
    assert_eq!(db.due().await, None::<Timestamp>);
    assert_eq!(
        db.store
            .claim_replies(10, Vec::new(), at(9_000), LEASE)
            .await
            .unwrap(),
        []
    );
    assert_eq!(db.all(kept.id).await.len(), 1);
}

pub(super) async fn one_failing_write_takes_no_neighbour_along(db: Database) {
    let taken = db.conversation().await;
    let new = |id| NewConversation {
        id,
        title: None,
        description: Description::parse("x").unwrap(),
        now: at(1),
        options: ReplyOptions::default(),
        owner: Owner::OPERATOR,
    };

    // All at once, so that they share commits: every other one fails.
    let writes = (0..64_u8).map(|number| {
        let id = if number % 2 == 0 {
            taken.id
        } else {
            [number; 16].into()
        };
        let (store, new) = (db.store.clone(), new(id));
        tokio::spawn(async move { (number, store.create_conversation(new, None).await) })
    });
    for write in writes.collect::<Vec<_>>() {
        let (number, answer) = write.await.unwrap();
        match number % 2 {
            0 => assert!(matches!(answer, Err(Error::Conflict)), "{number}: {answer:?}"),
            _ => assert_eq!(
                db.store.conversation([number; 16].into()).await.unwrap(),
                answer.ok()
            ),
        }
    }
}
