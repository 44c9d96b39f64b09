//! Everything that a store can be asked for, and a database in which that could take long.

use std::time::Duration;

use engagement::{
    model::{
        Actor, Answer, ApiKey, AuditEntry, Audited, BusyPolicy, Change, ConversationChange, ConversationId,
        Environment, Failure, Finished, KeyDigest, KeyLimits, KeyName, Lease, MessageFilter, MessageId,
        MessageText, Needle, NewReply, OptionsChange, Outcome, Owner, PageNumber, Progress, Retried, Role,
        RoleFilter, Rotated, Scopes, Successor, Timestamp, Told, TopP,
    },
    store::{ConversationStore, EventStore, KeyStore, Mark, Once, OnceStore, ReplyStore, vitals::Gauged},
};
use tokio_postgres::Client;

use super::Node;

pub(super) const LEASE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_mins(5);

/// 100,000 messages: half of them in one conversation, whose id this gives; and a queue.
pub(super) async fn fill(client: &Client) -> ConversationId {
    client
        .batch_execute(
            "INSERT INTO conversations (id, description, created_at, updated_at, last_seq, user_count, assistant_count)
             SELECT gen_random_uuid(), 'filled', at, 0, messages, messages / 2, messages / 2
             FROM generate_series(0, 500) AS at, LATERAL (SELECT CASE at WHEN 0 THEN 50000 ELSE 100 END) AS size (messages);
             INSERT INTO messages (id, conversation_id, seq, role, text, created_at, updated_at)
             SELECT gen_random_uuid(), id, seq, CASE seq % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, 'filled ' || seq, 0, 0
             FROM conversations, generate_series(1, last_seq) AS seq WHERE description = 'filled';
             INSERT INTO replies (message_id, conversation_id, status, run_after, created_at, started_at, lease_until, finished_at)
             SELECT id, conversation_id, status, 0, 0, 0, CASE status WHEN 'running' THEN 9e15 END,
                    CASE status WHEN 'succeeded' THEN 0 END
             FROM messages, LATERAL (SELECT CASE WHEN seq > 49000 THEN 'queued' WHEN seq > 48000 THEN 'running'
                                                 ELSE 'succeeded' END) AS state (status)
             WHERE role = 'user' AND text LIKE 'filled %';
             INSERT INTO events (conversation_id, number, kind, at, reply_id, text)
             SELECT conversation_id, seq * 16777216 + 10 + piece, 'delta', 0, id, 'a piece'
             FROM messages, generate_series(1, 50) AS piece WHERE role = 'user' AND seq % 100 = 1;
             UPDATE conversations SET last_event = last_seq * 16777216 + 100 WHERE description = 'filled'",
        )
        .await
        .unwrap();
    let longest = "SELECT id FROM conversations ORDER BY last_seq DESC LIMIT 1";
    ConversationId::new(client.query_one(longest, &[]).await.unwrap().get(0))
}

pub(super) async fn finish(node: &Node, lease: Lease, outcome: Outcome) {
    node.store
        .finish_reply(lease, outcome, Told::default(), node.clock.now())
        .await
        .unwrap();
}

/// Makes the store say everything that it can say, on this conversation.
pub(super) async fn exercise(node: &Node, conversation: ConversationId) {
    let now = node.clock.now();
    for text in ["first", "second", "third", "fourth"] {
        node.say(conversation, Role::User, text).await;
    }
    let message = node.say(conversation, Role::Assistant, "a needle").await;
    let deleted = node.say(conversation, Role::User, "deleted soon").await;
    node.store.conversation(conversation).await.unwrap();
    node.store.message(conversation, message).await.unwrap();
    node.store.reply(conversation, deleted).await.unwrap();

    node.store.until_due(Vec::new(), now).await.unwrap();
    let claimed = node
        .store
        .claim_replies(4, Vec::new(), node.clock.now(), LEASE)
        .await
        .unwrap();
    let leases: Vec<_> = claimed.iter().map(|claimed| claimed.lease).collect();
    assert_eq!(leases.len(), 4);
    node.store.renew_leases(leases.clone(), now, LEASE).await.unwrap();
    let answer = || {
        Outcome::Answered(Answer::new(
            node.ids.message(now),
            MessageText::parse("answer").unwrap(),
        ))
    };
    finish(node, leases[0], answer()).await;
    finish(node, leases[0], answer()).await; // too late: its lease is gone
    finish(node, leases[1], Outcome::Failed(Failure::new("code", "sentence"))).await;
    finish(node, leases[2], Outcome::Retry { after: LEASE }).await;
    finish(node, leases[3], Outcome::Released).await;
    node.store.sweep_replies(now, 3, PAUSE).await.unwrap();

    let any = MessageFilter::default;
    let role = || MessageFilter {
        role: RoleFilter::Only(Role::User),
        needle: None,
    };
    let second = PageNumber::Nth(std::num::NonZeroU64::new(2).unwrap());
    let first = PageNumber::Nth(std::num::NonZeroU64::MIN);
    node.page(conversation, any(), first).await.unwrap();
    assert!(
        node.store
            .delete_message(conversation, deleted, now)
            .await
            .unwrap()
    );
    for (filter, number) in [
        (any(), first),
        (any(), second),
        (any(), PageNumber::Last),
        (role(), first),
        (role(), PageNumber::Last),
    ] {
        node.page(conversation, filter, number).await.unwrap();
    }
    let needle = MessageFilter {
        role: RoleFilter::Any,
        needle: Needle::new("needle"),
    };
    node.page(conversation, needle, first).await.unwrap();
}

/// Makes the store say what it says of replies that take turns and are watched, on this conversation.
pub(super) async fn exercise_turns(node: &Node, conversation: ConversationId) {
    let store = &node.store;
    let now = node.clock.now();
    let change = ConversationChange {
        options: OptionsChange {
            top_p: Change::Set(TopP::new(0.5).unwrap()),
            ..OptionsChange::default()
        },
        ..ConversationChange::default()
    };
    store
        .change_conversation(conversation, change, now)
        .await
        .unwrap();
    store.options(conversation).await.unwrap();

    let first = node.ask(conversation, "one").await;
    let second = node.ask(conversation, "two").await;
    // The fixture's queue goes first.
    let mine = async |message: MessageId| loop {
        for claimed in node.claim(100).await {
            if claimed.lease.message == message {
                return claimed.lease;
            }
            finish(node, claimed.lease, Outcome::Retry { after: PAUSE }).await;
        }
    };
    let lease = mine(first).await;
    store.context(conversation, first, 1_000).await.unwrap();
    store.reply_options(conversation, first).await.unwrap();
    let pieces = |text: &str| vec![Progress::Delta(text.to_owned())];
    store.tell(lease, pieces("an "), now).await.unwrap();
    let answer = Answer::new(node.ids.message(now), MessageText::parse("an answer").unwrap());
    let (answer_id, told) = (answer.id, Told { bytes: Some(3) });
    let finished = store
        .finish_reply(lease, Outcome::Answered(answer), told, now)
        .await;
    assert_eq!(finished.unwrap(), Finished::Stored);
    store.events(conversation, None, 0).await.unwrap();
    store.events(conversation, Some(first), 0).await.unwrap();
    store.last_event(conversation).await.unwrap();
    assert_eq!(store.prune_deltas(node.clock.now()).await.unwrap(), 1);

    let lease = mine(second).await;
    store.tell(lease, pieces("a part"), now).await.unwrap();
    let mut new = node.asking(conversation, "three");
    new.reply.busy = BusyPolicy::Interrupt;
    let third = store.append_message(new, None).await.unwrap().unwrap().id;
    let retried = store
        .retry_reply(
            conversation,
            first,
            NewReply {
                lane: Some("far".to_owned()),
                ..NewReply::default()
            },
            now,
            None,
        )
        .await;
    assert!(matches!(retried.unwrap(), Retried::Queued(_)));
    store.attempts(conversation, first).await.unwrap();
    let partial = node.ids.message(now);
    store
        .cancel_reply(conversation, third, partial, now, None)
        .await
        .unwrap();
    let lease = mine(first).await;
    let answer = Answer::new(
        node.ids.message(now),
        MessageText::parse("a better answer").unwrap(),
    );
    let finished = store
        .finish_reply(lease, Outcome::Answered(answer.clone()), Told::default(), now)
        .await;
    assert_eq!(finished.unwrap(), Finished::Stored);
    assert!(!store.delete_message(conversation, answer_id, now).await.unwrap());
    assert!(store.delete_message(conversation, answer.id, now).await.unwrap());

    // A lease that has run out once too often.
    let given_up = node.ask(conversation, "four").await;
    let next = node.ask(conversation, "five").await;
    let lease = mine(given_up).await;
    store
        .renew_leases(vec![lease], now, Duration::ZERO)
        .await
        .unwrap();
    let swept = store.sweep_replies(node.clock.now(), 1, PAUSE).await.unwrap();
    assert_eq!(swept.failed, 1);
    let lease = mine(next).await;
    finish(node, lease, Outcome::Failed(Failure::new("code", "sentence"))).await;
}

fn once<T>(mark: Mark, now: Timestamp) -> Once<T> {
    Once::new(mark, now, now, |_| "{}".to_owned())
}

/// Makes the store say what it says of keys, owners, and requests that happen once, on this conversation.
pub(super) async fn exercise_once(node: &Node, conversation: ConversationId) {
    let store = &node.store;
    let now = node.clock.now();
    let mark = || Mark {
        id: node.ids.entry(now),
        fingerprint: node.ids.entry(now),
    };
    let entry = |what| AuditEntry {
        id: node.ids.entry(now),
        at: now,
        what,
        key: None,
        by: Actor::CommandLine,
        address: None,
        count: 1,
    };
    store.owner(conversation).await.unwrap();
    store.pending_replies().await.unwrap();
    assert!(store.vitals(now).await.unwrap().bytes > 0);

    let id = node.ids.key();
    let key = ApiKey {
        id,
        owner: Owner::of(id),
        environment: Environment::Live,
        name: KeyName::parse("web").unwrap(),
        digest: KeyDigest::new([0; 32]),
        scopes: Scopes::USUAL,
        limits: KeyLimits::default(),
        created: now,
        expires: None,
        revoked: None,
        last_used: None,
    };
    store
        .create_key(key, entry(Audited::Created), Some(once(mark(), now)))
        .await
        .unwrap();
    let successor = Successor {
        id: node.ids.key(),
        digest: KeyDigest::new([1; 32]),
        overlap: LEASE,
        expires: None,
        now,
    };
    let rotated = store
        .rotate_key(id, successor, entry(Audited::Rotated), Some(once(mark(), now)))
        .await
        .unwrap();
    assert!(matches!(rotated, Rotated::Made(_)));
    store.revoke_key(id, now, entry(Audited::Revoked)).await.unwrap();
    store.touch_keys(vec![(id, now)]).await.unwrap();
    store.keys().await.unwrap();
    store.keys_changed(0).await.unwrap();
    store.note(vec![entry(Audited::Refused)], now).await.unwrap();
    store.audit(10).await.unwrap();
    store.spend(vec![(Owner::OPERATOR, 1)], 1).await.unwrap();
    store.spent(1).await.unwrap();

    let new = node.new_conversation();
    store
        .create_conversation(new, Some(once(mark(), now)))
        .await
        .unwrap();
    let marked = mark();
    let question = node.message(conversation, Role::User, "once");
    store
        .append_message(question, Some(once(marked, now)))
        .await
        .unwrap()
        .unwrap();
    store.remembered(marked.id, now).await.unwrap().unwrap();
    let forgotten = store.forget_requests(node.clock.now()).await.unwrap();
    assert!(forgotten > 0);
}
