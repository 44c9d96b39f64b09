use std::{collections::HashSet, time::Duration};

use engagement::model::{
    Answer, ClaimedReply, ConversationId, Failure, Finished, Lease, Message, MessageId, MessageText, Outcome,
    Reply, ReplyState, Role, Swept, Timestamp, Told,
};

use super::{Database, LEASE, at};

impl Database {
    pub(super) async fn asked(&self, now: i64) -> (ConversationId, Message) {
        let conversation = self.conversation().await.id;
        (
            conversation,
            self.append(conversation, Role::User, "question", now).await,
        )
    }

    pub(super) async fn claim(&self, now: i64) -> Vec<ClaimedReply> {
        self.store
            .claim_replies(10, Vec::new(), at(now), LEASE)
            .await
            .unwrap()
    }

    pub(super) async fn claim_one(&self, now: i64) -> Lease {
        let claimed = self.claim(now).await;
        assert_eq!(claimed.len(), 1);
        claimed[0].lease
    }

    pub(super) async fn reply_to(&self, conversation: ConversationId, message: &Message) -> Reply {
        self.store.reply(conversation, message.id).await.unwrap().unwrap()
    }

    pub(super) async fn finish(&self, lease: Lease, outcome: Outcome, now: i64) -> Finished {
        self.store
            .finish_reply(lease, outcome, Told::default(), at(now))
            .await
            .unwrap()
    }
}

pub(super) fn answer(id: u8) -> Outcome {
    Outcome::Answered(Answer::new(
        MessageId::from([id; 16]),
        MessageText::parse("answer").unwrap(),
    ))
}

pub(super) async fn a_user_message_is_stored_with_its_queued_reply(db: Database) {
    let (conversation, question) = db.asked(2_000).await;
    let told = db
        .append(conversation, Role::Assistant, "no question", 2_000)
        .await;

    let expected = Reply {
        message: question.id,
        state: ReplyState::Queued,
        answer: None,
        queued: 1 << 24,
        attempts: 0,
        created: at(2_000),
        started: None,
        finished: None,
    };
    assert_eq!(db.reply_to(conversation, &question).await, expected);
    assert_eq!(
        db.store.reply(conversation, told.id).await.unwrap(),
        None,
        "nobody replies to the assistant"
    );
    assert_eq!(db.due().await, Some(at(2_000)));
}

pub(super) async fn claims_give_the_longest_due_first(db: Database) {
    let conversation = db.conversation().await.id;
    let mut asked = Vec::new();
    for now in [2_000, 2_001, 2_001, 2_002] {
        asked.push(
            db.append(conversation, Role::User, &format!("at {now}"), now)
                .await
                .id,
        );
    }

    let first = db
        .store
        .claim_replies(2, Vec::new(), at(2_001), LEASE)
        .await
        .unwrap();
    let second = db
        .store
        .claim_replies(2, Vec::new(), at(2_001), LEASE)
        .await
        .unwrap();

    let messages: HashSet<MessageId> = first.iter().map(|claimed| claimed.lease.message).collect();
    assert_eq!(messages, HashSet::from([asked[0], asked[1]]));
    assert_eq!(second.len(), 1, "the fourth is not due yet");
    assert_eq!(second[0].lease.message, asked[2]);
    assert_eq!(
        (second[0].attempts, second[0].retries, second[0].lease.token),
        (1, 0, 1)
    );
    assert_eq!(second[0].prompt.as_str(), "at 2001");
    let running = db.store.reply(conversation, asked[0]).await.unwrap().unwrap();
    assert_eq!(
        (running.state, running.attempts, running.started),
        (ReplyState::Running, 1, Some(at(2_001)))
    );
}

pub(super) async fn two_claims_never_give_the_same_reply(db: Database) {
    let conversation = db.conversation().await.id;
    for number in 0..60 {
        db.append(conversation, Role::User, &format!("{number}"), 2_000)
            .await;
    }

    let claims = (0..20).map(|_| {
        let store = db.store.clone();
        tokio::spawn(async move {
            store
                .claim_replies(4, Vec::new(), at(3_000), LEASE)
                .await
                .unwrap()
        })
    });
    let mut seen = HashSet::new();
    for claim in claims.collect::<Vec<_>>() {
        for claimed in claim.await.unwrap() {
            assert!(
                seen.insert(claimed.lease.message),
                "claimed twice: {}",
                claimed.lease.message
            );
        }
    }
    assert_eq!(seen.len(), 60);
}

pub(super) async fn an_answer_is_stored_with_the_replys_end(db: Database) {
    let (conversation, question) = db.asked(2_000).await;
    let lease = db.claim_one(2_010).await;

    assert_eq!(db.finish(lease, answer(9), 2_020).await, Finished::Stored);

    let reply = db.reply_to(conversation, &question).await;
    assert_eq!(reply.state, ReplyState::Succeeded);
    assert_eq!(reply.answer, Some(MessageId::from([9; 16])));
    assert_eq!(
        (reply.started, reply.finished),
        (Some(at(2_010)), Some(at(2_020)))
    );
    let messages = db.all(conversation).await;
    assert_eq!(messages.len(), 2);
    assert_eq!(
        (messages[1].role, messages[1].text.as_str()),
        (Role::Assistant, "answer")
    );
    assert_eq!(
        db.store
            .conversation(conversation)
            .await
            .unwrap()
            .unwrap()
            .updated,
        at(2_020)
    );
    assert_eq!(
        db.finish(lease, answer(8), 2_030).await,
        Finished::LeaseLost,
        "a second answer finds no lease"
    );
    assert_eq!(db.all(conversation).await, messages);
}

pub(super) async fn an_older_holder_changes_nothing(db: Database) {
    let (conversation, question) = db.asked(2_000).await;
    let zombie = db.claim_one(2_000).await;
    assert_eq!(
        db.sweep(2_101).await,
        Swept {
            requeued: 1,
            failed: 0
        }
    );
    let holder = db.claim_one(2_102).await;
    assert_eq!(holder.token, zombie.token + 1);

    for outcome in [
        answer(7),
        Outcome::Failed(Failure::new("code", "text")),
        Outcome::Retry {
            after: Duration::from_millis(7),
        },
        Outcome::Released,
    ] {
        assert_eq!(db.finish(zombie, outcome, 2_103).await, Finished::LeaseLost);
        assert_eq!(
            db.reply_to(conversation, &question).await.state,
            ReplyState::Running
        );
    }
    assert_eq!(
        db.store
            .renew_leases(vec![zombie], at(2_103), LEASE)
            .await
            .unwrap(),
        [zombie]
    );

    assert_eq!(db.finish(holder, answer(8), 2_104).await, Finished::Stored);
    assert_eq!(db.all(conversation).await.len(), 2);
    assert_eq!(db.reply_to(conversation, &question).await.attempts, 2);
}

pub(super) async fn a_deleted_message_takes_the_lease_along(db: Database) {
    let (conversation, question) = db.asked(2_000).await;
    let lease = db.claim_one(2_000).await;
    let (other, _) = db.asked(2_000).await;
    let other_lease = db.claim_one(2_000).await;

    assert!(
        db.store
            .delete_message(conversation, question.id, at(2_001))
            .await
            .unwrap()
    );
    assert!(db.store.delete_conversation(other).await.unwrap());

    assert_eq!(db.finish(lease, answer(7), 2_002).await, Finished::LeaseLost);
    assert_eq!(
        db.finish(other_lease, answer(8), 2_002).await,
        Finished::LeaseLost
    );
    assert_eq!(db.all(conversation).await, []);
}

pub(super) async fn a_retry_waits_for_its_time(db: Database) {
    let (conversation, question) = db.asked(2_000).await;
    let lease = db.claim_one(2_000).await;

    assert_eq!(
        db.finish(
            lease,
            Outcome::Retry {
                after: Duration::from_micros(2_990)
            },
            2_010
        )
        .await,
        Finished::Stored
    );

    assert_eq!(
        db.reply_to(conversation, &question).await.state,
        ReplyState::Queued
    );
    assert_eq!(db.due().await, Some(at(5_000)));
    assert_eq!(db.claim(4_999).await, []);
    let again = db.claim(5_000).await;
    assert_eq!((again[0].attempts, again[0].retries), (2, 1));
    let failure = Failure::new("provider_error", "It did not work.");
    assert_eq!(
        db.finish(again[0].lease, Outcome::Failed(failure.clone()), 5_010)
            .await,
        Finished::Stored
    );
    let reply = db.reply_to(conversation, &question).await;
    assert_eq!(
        (reply.state, reply.finished),
        (ReplyState::Failed(failure), Some(at(5_010)))
    );
    assert_eq!(db.due().await, None);
}

pub(super) async fn a_postponed_reply_was_not_begun(db: Database) {
    let (conversation, question) = db.asked(2_000).await;
    let lease = db.claim_one(2_000).await;
    let after = Duration::from_micros(500);

    assert_eq!(
        db.finish(lease, Outcome::Postponed { after }, 2_010).await,
        Finished::Stored
    );

    let reply = db.reply_to(conversation, &question).await;
    assert_eq!(
        (reply.state, reply.attempts, reply.started),
        (ReplyState::Queued, 0, None)
    );
    assert_eq!(db.due().await, Some(at(2_510)));
    let claimed = db.claim(2_510).await;
    assert_eq!((claimed[0].attempts, claimed[0].retries), (1, 0));
    assert_eq!(claimed[0].lease.token, lease.token + 1, "another lease");
}

pub(super) async fn a_postponed_retry_was_begun_before(db: Database) {
    let (conversation, question) = db.asked(2_000).await;
    let after = Duration::ZERO;
    let lease = db.claim_one(2_000).await;
    db.finish(lease, Outcome::Retry { after }, 2_010).await;
    let lease = db.claim_one(2_020).await;
    db.finish(lease, Outcome::Postponed { after }, 2_030).await;

    let reply = db.reply_to(conversation, &question).await;
    assert_eq!((reply.attempts, reply.started), (1, Some(at(2_000))));
    let claimed = db.claim(2_040).await;
    assert_eq!((claimed[0].attempts, claimed[0].retries), (2, 1));
}

pub(super) async fn a_released_reply_is_due_at_once(db: Database) {
    db.asked(2_000).await;
    let lease = db.claim_one(2_000).await;

    assert_eq!(db.finish(lease, Outcome::Released, 2_010).await, Finished::Stored);

    assert_eq!(db.claim(2_010).await[0].retries, 0, "nobody asked for a retry");
}

pub(super) async fn an_append_wakes_the_workers(db: Database) {
    let wakeups = db.store.wakeups();
    // Nobody listens yet: the wake-up waits for the listener.
    db.asked(2_000).await;

    tokio::time::timeout(Duration::from_secs(10), wakeups.notified())
        .await
        .expect("a wake-up");

    assert_eq!(db.due().await, Some::<Timestamp>(at(2_000)));
}
