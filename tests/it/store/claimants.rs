//! Replies that are claimed together with the message that they answer.

use engagement::{
    model::{Finished, MessageText, NewMessage, NewReply, ReplyState, Role},
    store::Claimant,
};

use super::{Database, LEASE, at, nobody, replies::answer};

pub(super) async fn a_claimant_begins_once_the_message_is_stored_or_leaves_the_reply_to_the_queue(
    db: Database,
) {
    let conversation = db.conversation().await.id;
    let (report, began) = tokio::sync::oneshot::channel();
    let claimant = Claimant::new(LEASE, move |claimed| report.send(claimed).unwrap());
    let new = NewMessage {
        id: [9; 16].into(),
        conversation,
        role: Role::User,
        text: MessageText::parse("Hello").unwrap(),
        now: at(2_000),
        reply: NewReply::default(),
    };

    let message = db
        .store
        .append_and_claim(new, claimant, None)
        .await
        .unwrap()
        .unwrap();

    // A claimant who is not needed is dropped before the answer comes.
    let claimed = match began.await {
        Ok(claimed) => claimed,
        Err(_) => db.claim(2_000).await.remove(0),
    };
    assert_eq!(db.claim(2_000).await, [], "there is one claim");
    assert_eq!((claimed.attempts, claimed.retries), (1, 0));
    assert_eq!((claimed.lease.message, claimed.lease.token), (message.id, 1));
    assert_eq!(claimed.prompt.as_str(), "Hello");
    let reply = db.reply_to(conversation, &message).await;
    assert_eq!(
        (reply.state, reply.started),
        (ReplyState::Running, Some(at(2_000)))
    );
    assert_eq!(db.finish(claimed.lease, answer(7), 2_050).await, Finished::Stored);
    assert_eq!(db.all(conversation).await.len(), 2);
}

pub(super) async fn a_claimant_is_not_needed_where_there_is_no_conversation(db: Database) {
    let (report, began) = tokio::sync::oneshot::channel();
    let claimant = Claimant::new(LEASE, move |claimed| report.send(claimed).unwrap());
    let new = NewMessage {
        id: [9; 16].into(),
        conversation: nobody(),
        role: Role::User,
        text: MessageText::parse("Hello").unwrap(),
        now: at(2_000),
        reply: NewReply::default(),
    };

    assert_eq!(
        db.store.append_and_claim(new, claimant, None).await.unwrap(),
        None
    );

    assert!(began.await.is_err(), "nothing began");
    assert_eq!(db.claim(9_000).await, []);
}
