use std::collections::HashSet;

use engagement::model::{Answer, MessageId, Outcome, ReplyState, Role, Told};

use super::{Database, LEASE, at, nobody, texts};

pub(super) async fn messages_keep_the_order_of_their_appends(db: Database) {
    let conversation = db.conversation().await;
    for (number, text) in ["first", "second", "third"].into_iter().enumerate() {
        let role = if number == 1 { Role::Assistant } else { Role::User };
        // The same moment for all: the order is not the clock's.
        db.append(conversation.id, role, text, 2_000).await;
    }

    let messages = db.all(conversation.id).await;

    assert_eq!(texts(&messages), ["first", "second", "third"]);
    for message in messages {
        assert_eq!(
            db.store.message(conversation.id, message.id).await.unwrap(),
            Some(message)
        );
    }
}

pub(super) async fn dates_never_step_back_within_a_conversation(db: Database) {
    let conversation = db.conversation().await;
    db.append(conversation.id, Role::User, "first", 5_000).await;

    let later = db.append(conversation.id, Role::User, "second", 3_000).await;

    assert_eq!((later.created, later.updated), (at(5_000), at(5_000)));
    assert_eq!(texts(&db.all(conversation.id).await), ["first", "second"]);
}

pub(super) async fn appending_moves_the_conversations_date(db: Database) {
    let conversation = db.conversation().await;
    let updated = async || {
        db.store
            .conversation(conversation.id)
            .await
            .unwrap()
            .unwrap()
            .updated
    };

    let message = db.append(conversation.id, Role::Assistant, "x", 2_000).await;
    assert_eq!(updated().await, at(2_000));

    assert!(
        db.store
            .delete_message(conversation.id, message.id, at(3_000))
            .await
            .unwrap()
    );
    assert_eq!(updated().await, at(3_000));
}

pub(super) async fn nothing_is_appended_to_what_is_not_there(db: Database) {
    assert_eq!(db.try_append(nobody(), Role::User, "x", 1).await, None);

    assert_eq!(db.due().await, None, "and no reply is due for it");
}

pub(super) async fn a_message_belongs_to_one_conversation(db: Database) {
    let (one, other) = (db.conversation().await, db.conversation().await);
    let message = db.append(one.id, Role::User, "x", 2_000).await;

    assert_eq!(db.store.message(other.id, message.id).await.unwrap(), None);
    assert_eq!(db.store.reply(other.id, message.id).await.unwrap(), None);
    assert!(
        !db.store
            .delete_message(other.id, message.id, at(3_000))
            .await
            .unwrap()
    );

    assert_eq!(db.all(one.id).await, [message]);
}

pub(super) async fn a_deleted_user_message_takes_its_reply_along(db: Database) {
    let conversation = db.conversation().await;
    let message = db.append(conversation.id, Role::User, "x", 2_000).await;

    assert!(
        db.store
            .delete_message(conversation.id, message.id, at(3_000))
            .await
            .unwrap()
    );

    assert!(
        !db.store
            .delete_message(conversation.id, message.id, at(3_000))
            .await
            .unwrap()
    );
    assert_eq!(db.store.reply(conversation.id, message.id).await.unwrap(), None);
    assert_eq!(
        db.store
            .claim_replies(1, Vec::new(), at(9_000), LEASE)
            .await
            .unwrap(),
        []
    );
}

pub(super) async fn a_deleted_answer_leaves_the_reply(db: Database) {
    let conversation = db.conversation().await;
    let question = db.append(conversation.id, Role::User, "x", 2_000).await;
    let lease = db
        .store
        .claim_replies(1, Vec::new(), at(2_000), LEASE)
        .await
        .unwrap()[0]
        .lease;
    let answer = MessageId::from([9; 16]);
    let outcome = Outcome::Answered(Answer::new(answer, question.text.clone()));
    db.store
        .finish_reply(lease, outcome, Told::default(), at(2_010))
        .await
        .unwrap();

    assert!(
        db.store
            .delete_message(conversation.id, answer, at(3_000))
            .await
            .unwrap()
    );

    let reply = db
        .store
        .reply(conversation.id, question.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((reply.state, reply.answer), (ReplyState::Succeeded, None));
    assert_eq!(db.all(conversation.id).await, [question]);
}

pub(super) async fn concurrent_appends_all_get_a_place(db: Database) {
    let conversation = db.conversation().await;
    let db = std::sync::Arc::new(db);

    let appends = (0..100).map(|number| {
        let db = db.clone();
        tokio::spawn(async move {
            db.append(conversation.id, Role::Assistant, &format!("{number}"), 2_000)
                .await
                .id
        })
    });
    let mut appended = HashSet::new();
    for append in appends.collect::<Vec<_>>() {
        appended.insert(append.await.unwrap());
    }

    let listed: HashSet<MessageId> = db
        .all(conversation.id)
        .await
        .iter()
        .map(|message| message.id)
        .collect();
    assert_eq!(listed.len(), 100);
    assert_eq!(listed, appended);
}
