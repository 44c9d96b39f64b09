//! A store around another one, in which each question is a span below whatever asks it. It is put there only where traces
//! are on.
//!
//! What only listens is not traced; nor are the pieces of a reply (`tell`), of which there are up to twenty a second.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    Claimant, ConversationStore, Error, EventStore, KeyChanges, KeyStore, News, Once, OnceStore, PageAnswer,
    Portion, Remembered, ReplyStore, Result, Store,
};
use crate::{
    model::{
        ApiKey, Attempt, AuditEntry, ClaimedReply, Context, Conversation, ConversationChange, ConversationId,
        Finished, KeyId, Lease, Message, MessageId, MessageQuery, NewConversation, NewMessage, NewReply,
        Outcome, Owner, Progress, Reply, ReplyOptions, Retried, Rotated, Successor, Swept, Timestamp, Told,
    },
    telemetry::traces::{Database, Traces},
};

/// A store that tells what it is asked.
pub struct Traced {
    store: Arc<dyn Store>,
    database: Database,
    traces: Traces,
}

impl Traced {
    /// Tells of what this store is asked, which is in such a database.
    pub fn around(store: Arc<dyn Store>, database: Database, traces: Traces) -> Self {
        Self {
            store,
            database,
            traces,
        }
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let span = self.traces.store_call(self.database, operation);
        let answer = answer.await;
        if let (Some(span), Err(error)) = (&span, &answer)
            && let Some(kind) = failure(error)
        {
            span.failed(kind);
        }
        answer
    }
}

/// The kind of a failure; `None` for answers that only say no.
fn failure(error: &Error) -> Option<&'static str> {
    match error {
        Error::Conflict | Error::Busy | Error::Repeated => None,
        Error::Unavailable(_) => Some("unavailable"),
        Error::Full => Some("full"),
        Error::Broken(_) => Some("broken"),
        Error::Corrupt { .. } => Some("corrupt"),
        Error::Other(_) => Some("other"),
    }
}

/// The methods of a trait that are traced, and behind them those that are not.
macro_rules! traced {
    ($of:ident: $(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)* { $($others:tt)* }) => {
        #[async_trait]
        impl $of for Traced {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer> {
                self.call(stringify!($name), self.store.$name($($argument),*)).await
            })*

            $($others)*
        }
    };
}

traced! { ConversationStore:
    fn create_conversation(new: NewConversation, once: Option<Once<Conversation>>) -> Conversation;
    fn owner(id: ConversationId) -> Option<Owner>;
    fn change_conversation(id: ConversationId, change: ConversationChange, now: Timestamp) -> Option<Conversation>;
    fn options(id: ConversationId) -> Option<ReplyOptions>;
    fn conversation(id: ConversationId) -> Option<Conversation>;
    fn delete_conversation(id: ConversationId) -> bool;
    fn append_message(new: NewMessage, once: Option<Once<Message>>) -> Option<Message>;
    fn append_and_claim(new: NewMessage, claimant: Claimant, once: Option<Once<Message>>) -> Option<Message>;
    fn message(conversation: ConversationId, id: MessageId) -> Option<Message>;
    fn delete_message(conversation: ConversationId, id: MessageId, now: Timestamp) -> bool;
    fn messages(query: MessageQuery) -> PageAnswer;
    {}
}

traced! { ReplyStore:
    fn reply(conversation: ConversationId, message: MessageId) -> Option<Reply>;
    fn claim_replies(
        limit: usize, room: Vec<(String, usize)>, now: Timestamp, lease: Duration
    ) -> Vec<ClaimedReply>;
    fn context(conversation: ConversationId, message: MessageId, bytes: usize) -> Option<Context>;
    fn renew_leases(leases: Vec<Lease>, now: Timestamp, lease: Duration) -> Vec<Lease>;
    fn finish_reply(lease: Lease, outcome: Outcome, told: Told, now: Timestamp) -> Finished;
    fn cancel_reply(
        conversation: ConversationId, message: MessageId, partial: MessageId, now: Timestamp, once: Option<Once<Reply>>
    ) -> Option<Reply>;
    fn retry_reply(
        conversation: ConversationId, message: MessageId, asked: NewReply, now: Timestamp, once: Option<Once<Reply>>
    ) -> Retried;
    fn attempts(conversation: ConversationId, message: MessageId) -> Option<Vec<Attempt>>;
    fn reply_options(conversation: ConversationId, message: MessageId) -> Option<ReplyOptions>;
    fn sweep_replies(now: Timestamp, most_lost: u32, longest_pause: Duration) -> Swept;
    fn reclaim_replies(now: Timestamp, most_lost: u32) -> Swept;
    fn until_due(full: Vec<String>, now: Timestamp) -> Option<Duration>;
    fn pending_replies() -> Vec<(Owner, u64)>;
    {
        async fn tell(&self, lease: Lease, progress: Vec<Progress>, now: Timestamp) -> Result<Finished> {
            self.store.tell(lease, progress, now).await
        }

        fn wakeups(&self) -> Arc<Notify> {
            self.store.wakeups()
        }

        fn call_offs(&self) -> Arc<Notify> {
            self.store.call_offs()
        }
    }
}

traced! { EventStore:
    fn events(conversation: ConversationId, reply: Option<MessageId>, after: u64) -> Option<Portion>;
    fn last_event(conversation: ConversationId) -> Option<u64>;
    fn prune_deltas(before: Timestamp) -> u32;
    {
        fn news(&self) -> &News {
            self.store.news()
        }
    }
}

traced! { KeyStore:
    fn create_key(key: ApiKey, entry: AuditEntry, once: Option<Once<ApiKey>>) -> ApiKey;
    fn revoke_key(id: KeyId, now: Timestamp, entry: AuditEntry) -> Option<ApiKey>;
    fn rotate_key(id: KeyId, successor: Successor, entry: AuditEntry, once: Option<Once<ApiKey>>) -> Rotated;
    fn keys() -> Vec<ApiKey>;
    fn keys_changed(after: u64) -> KeyChanges;
    fn touch_keys(used: Vec<(KeyId, Timestamp)>) -> ();
    fn note(entries: Vec<AuditEntry>, forgotten: Timestamp) -> ();
    fn audit(limit: usize) -> Vec<AuditEntry>;
    fn spend(spent: Vec<(Owner, u64)>, day: i64) -> ();
    fn spent(day: i64) -> Vec<(Owner, u64)>;
    {}
}

traced! { OnceStore:
    fn remembered(id: Uuid, forgotten: Timestamp) -> Option<Remembered>;
    fn forget_requests(before: Timestamp) -> u32;
    {}
}

#[async_trait]
impl Store for Traced {
    async fn check(&self) -> Result<()> {
        self.store.check().await
    }

    async fn broken(&self) -> String {
        self.store.broken().await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
