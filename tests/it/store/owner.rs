//! Whose conversations are, and how many replies owners wait for.

use engagement::model::{
    Conversation, ConversationId, Message, NewConversation, NewReply, Owner, ReplyOptions, Retried, Role,
};

use super::{Database, at, keys::key_id, nobody};

impl Database {
    pub(super) fn new_conversation(&self, owner: Owner) -> NewConversation {
        NewConversation {
            id: self.ids.conversation(),
            title: None,
            description: engagement::model::Description::parse("A description").unwrap(),
            now: at(1_000),
            options: ReplyOptions::default(),
            owner,
        }
    }

    pub(super) async fn conversation_of(&self, owner: Owner) -> Conversation {
        let new = self.new_conversation(owner);
        self.store.create_conversation(new, None).await.unwrap()
    }

    async fn owner(&self, of: ConversationId) -> Option<Owner> {
        self.store.owner(of).await.unwrap()
    }

    async fn pending(&self) -> Vec<(Owner, u64)> {
        let mut pending = self.store.pending_replies().await.unwrap();
        pending.sort_unstable();
        pending
    }
}

pub(super) fn owner(number: u128) -> Owner {
    Owner::of(key_id(number))
}

pub(super) async fn a_conversation_is_whose_made_it(db: Database) {
    let (mine, yours) = (owner(1), owner(2));
    let of_me = db.conversation_of(mine).await.id;
    let of_you = db.conversation_of(yours).await.id;
    let of_nobody = db.conversation().await.id;
    assert_eq!(db.owner(of_me).await, Some(mine));
    assert_eq!(db.owner(of_you).await, Some(yours));
    assert_eq!(db.owner(of_nobody).await, Some(Owner::OPERATOR));
    assert_eq!(db.owner(nobody()).await, None);

    let change = engagement::model::ConversationChange::default();
    db.store
        .change_conversation(of_me, change, at(2_000))
        .await
        .unwrap();
    assert_eq!(db.owner(of_me).await, Some(mine), "that never changes");
    db.store.delete_conversation(of_me).await.unwrap();
    assert_eq!(db.owner(of_me).await, None);
}

pub(super) async fn unfinished_replies_count_for_who_asked(db: Database) {
    assert_eq!(db.pending().await, []);
    let conversation = db.conversation_of(owner(2)).await.id;
    let ask = async |by: Owner, lane: bool| {
        let mut new = db.asking(conversation, "question", 2_000);
        new.reply.owner = by;
        if !lane {
            new.reply.lane = None;
        }
        db.store.append_message(new, None).await.unwrap().unwrap()
    };
    let waits = ask(owner(1), true).await;
    ask(owner(1), true).await;
    ask(owner(1), false).await;
    let operators = ask(Owner::OPERATOR, false).await;
    db.append(conversation, Role::Assistant, "no question", 2_000)
        .await;
    assert_eq!(db.pending().await, [(Owner::OPERATOR, 1), (owner(1), 3)]);

    let claimed = db.claim(3_000).await;
    assert_eq!(
        db.pending().await,
        [(Owner::OPERATOR, 1), (owner(1), 3)],
        "who is at work is not done"
    );
    let of = |message: &Message| claimed.iter().find(|claimed| claimed.lease.message == message.id);
    assert_eq!(of(&waits).map(|claimed| claimed.owner), Some(owner(1)));
    let of_operator = of(&operators).unwrap();
    assert_eq!(of_operator.owner, Owner::OPERATOR);
    db.finish(of_operator.lease, super::replies::answer(9), 3_000)
        .await;
    assert_eq!(db.pending().await, [(owner(1), 3)]);

    let cancelled = db
        .store
        .cancel_reply(conversation, waits.id, super::nothing(), at(4_000), None)
        .await;
    assert!(cancelled.unwrap().is_some());
    assert_eq!(db.pending().await, [(owner(1), 2)]);
    let asked = NewReply {
        owner: owner(3),
        ..NewReply::default()
    };
    let retried = db
        .store
        .retry_reply(conversation, waits.id, asked, at(4_000), None)
        .await;
    assert!(matches!(retried, Ok(Retried::Queued(_))), "{retried:?}");
    assert_eq!(db.pending().await, [(owner(1), 2), (owner(3), 1)]);
    db.store.delete_conversation(conversation).await.unwrap();
    assert_eq!(db.pending().await, []);
}
