//! Replies of one conversation that take turns.

use engagement::model::{BusyPolicy, MessageId, NewReply, Outcome, ReplyState, Role};
use engagement::store::Error;

use super::{Database, LEASE, at, story::LANE};

pub(super) async fn one_reply_at_a_time_is_due(db: Database) {
    let (here, there) = (db.conversation().await.id, db.conversation().await.id);
    let first = db.ask(here, "one", 2_000).await;
    let second = db.ask(here, "two", 2_001).await;
    let third = db.ask(here, "three", 2_002).await;
    let other = db.ask(there, "elsewhere", 2_003).await;

    let claimed = db.claim(3_000).await;
    let messages: Vec<_> = claimed.iter().map(|claimed| claimed.lease.message).collect();
    assert_eq!(messages, [first.id, other.id]);
    assert_eq!(db.due().await, None, "the others wait for their turn");

    db.answer(claimed[0].lease, 1, "one", None, 4_000).await;
    let next = db.claim(4_000).await;
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].lease.message, second.id);

    db.finish(
        next[0].lease,
        Outcome::Failed(engagement::model::Failure::new("x", "y")),
        5_000,
    )
    .await;
    assert_eq!(db.claim(5_000).await[0].lease.message, third.id);
}

pub(super) async fn a_reply_that_is_tried_again_keeps_its_turn(db: Database) {
    let conversation = db.conversation().await.id;
    let first = db.ask(conversation, "one", 2_000).await;
    db.ask(conversation, "two", 2_001).await;
    let lease = db.claim(2_001).await[0].lease;
    let after = std::time::Duration::from_micros(500);
    db.finish(lease, Outcome::Retry { after }, 3_000).await;

    assert!(db.claim(3_499).await.is_empty());
    let claimed = db.claim(3_500).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].lease.message, first.id);
}

pub(super) async fn those_without_history_take_no_turns(db: Database) {
    let conversation = db.conversation().await.id;
    db.ask(conversation, "one", 2_000).await;
    db.append(conversation, Role::User, "two", 2_001).await;
    db.append(conversation, Role::User, "three", 2_002).await;
    assert_eq!(db.claim(3_000).await.len(), 3);
}

pub(super) async fn a_deleted_message_gives_its_turn_away(db: Database) {
    let conversation = db.conversation().await.id;
    let first = db.ask(conversation, "one", 2_000).await;
    let second = db.ask(conversation, "two", 2_001).await;
    db.claim(2_001).await;
    assert!(
        db.store
            .delete_message(conversation, first.id, at(3_000))
            .await
            .unwrap()
    );
    assert_eq!(db.claim(3_000).await[0].lease.message, second.id);
}

pub(super) async fn a_reply_that_is_given_up_gives_its_turn_away(db: Database) {
    let conversation = db.conversation().await.id;
    db.ask(conversation, "one", 2_000).await;
    let second = db.ask(conversation, "two", 2_001).await;
    db.claim(2_001).await;
    let swept = db
        .store
        .sweep_replies(at(9_000), 1, std::time::Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(swept.failed, 1);
    assert_eq!(db.claim(9_000).await[0].lease.message, second.id);
}

pub(super) async fn a_sweep_leaves_those_alone_that_wait_for_their_turn(db: Database) {
    let conversation = db.conversation().await.id;
    db.ask(conversation, "one", 2_000).await;
    db.ask(conversation, "two", 2_001).await;
    db.claim(2_001).await;
    db.store
        .sweep_replies(at(2_002), 10, std::time::Duration::from_micros(1))
        .await
        .unwrap();
    assert_eq!(db.due().await, None);
}

pub(super) async fn a_lane_gives_what_it_has_room_for_the_longest_due_first(db: Database) {
    let mut asked = Vec::new();
    for due in 2_000..2_004 {
        let conversation = db.conversation().await.id;
        asked.push(db.ask(conversation, "far away", due).await.id);
    }
    let there = db.conversation().await.id;
    let local = db.append(there, Role::User, "here", 2_004).await.id;

    let room = vec![(LANE.to_owned(), 2), ("another".to_owned(), 1)];
    let claimed = db.store.claim_replies(10, room, at(3_000), LEASE).await.unwrap();
    let mut claimed: Vec<_> = claimed.iter().map(|claimed| claimed.lease.message).collect();
    claimed.sort();
    let mut expected = vec![asked[0], asked[1], local];
    expected.sort();
    assert_eq!(claimed, expected);

    let control = db
        .store
        .claim_replies(10, Vec::new(), at(3_000), LEASE)
        .await
        .unwrap();
    assert_eq!(control.len(), 2, "the others stay in the queue");
}

pub(super) async fn full_lanes_are_left_alone(db: Database) {
    let (here, there) = (db.conversation().await.id, db.conversation().await.id);
    db.ask(here, "one", 2_000).await;
    let local = db.append(there, Role::User, "two", 2_001).await;
    let full = vec![LANE.to_owned(), "another".to_owned()];

    let until = db.store.until_due(full.clone(), at(2_001)).await.unwrap();
    assert_eq!(until, Some(std::time::Duration::ZERO));
    let claimed = db
        .store
        .claim_replies(10, full.iter().cloned().zip([0, 0]).collect(), at(3_000), LEASE)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].lease.message, local.id);
    assert_eq!(claimed[0].lane, None);
    assert_eq!(db.store.until_due(full, at(3_000)).await.unwrap(), None);

    let claimed = db.claim(3_000).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].lane.as_deref(), Some(LANE));
}

pub(super) async fn a_message_can_refuse_to_wait(db: Database) {
    let conversation = db.conversation().await.id;
    let first = db.ask(conversation, "one", 2_000).await;
    let impatient = |text| {
        let mut new = db.asking(conversation, text, 2_001);
        new.reply.busy = BusyPolicy::Reject;
        new
    };
    let refused = db.store.append_message(impatient("two"), None).await;
    assert!(matches!(refused, Err(Error::Busy)), "{refused:?}");
    assert_eq!(db.all(conversation).await.len(), 1, "nothing was written");

    let lease = db.claim(2_001).await[0].lease;
    assert_eq!(lease.message, first.id);
    db.answer(lease, 1, "one", None, 3_000).await;
    assert!(
        db.store
            .append_message(impatient("three"), None)
            .await
            .unwrap()
            .is_some()
    );
}

pub(super) async fn a_message_can_interrupt(db: Database) {
    let conversation = db.conversation().await.id;
    let first = db.ask(conversation, "one", 2_000).await;
    let waiting = db.ask(conversation, "two", 2_001).await;
    let lease = db.claim(2_001).await[0].lease;
    db.tell(lease, &["half an ans"], 2_002).await;

    let mut new = db.asking(conversation, "stop", 3_000);
    new.reply.busy = BusyPolicy::Interrupt;
    let interrupting = db.store.append_message(new, None).await.unwrap().unwrap();

    let states = [
        db.reply_to(conversation, &first).await.state,
        db.reply_to(conversation, &waiting).await.state,
        db.reply_to(conversation, &interrupting).await.state,
    ];
    assert_eq!(
        states,
        [ReplyState::Cancelled, ReplyState::Cancelled, ReplyState::Queued]
    );
    let texts: Vec<_> = db
        .all(conversation)
        .await
        .iter()
        .map(|message| message.text.as_str().to_owned())
        .collect();
    assert_eq!(texts, ["one", "two", "half an ans", "stop"]);
    assert_eq!(db.claim(3_000).await[0].lease.message, interrupting.id);
}

pub(super) async fn whoever_takes_no_turn_is_never_busy(db: Database) {
    let conversation = db.conversation().await.id;
    db.append(conversation, Role::User, "one", 2_000).await;
    let mut new = db.asking(conversation, "two", 2_001);
    new.reply = NewReply {
        busy: BusyPolicy::Reject,
        ..NewReply::default()
    };
    assert!(db.store.append_message(new, None).await.unwrap().is_some());
    let _: MessageId = db.claim(3_000).await[1].lease.message;
}
