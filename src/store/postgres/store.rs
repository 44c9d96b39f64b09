//! What the store's traits ask for, and where it is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

use super::{
    CLOSING, PostgresStore, audit, context, control, conversations, events, finish, keys, messages, once,
    pages, prune, replies, sweeps,
};
use crate::{
    model::{
        ApiKey, Attempt, AuditEntry, ClaimedReply, Context, Conversation, ConversationChange, ConversationId,
        Finished, KeyId, Lease, Message, MessageId, MessageQuery, NewConversation, NewMessage, NewReply,
        Outcome, Owner, Progress, Reply, ReplyOptions, Retried, Rotated, Successor, Swept, Timestamp, Told,
    },
    store::{
        Claimant, ConversationStore, EventStore, KeyChanges, KeyStore, News, Once, OnceStore, PageAnswer,
        Portion, Remembered, ReplyStore, Result, Store,
    },
};

#[async_trait]
impl ConversationStore for PostgresStore {
    async fn create_conversation(
        &self,
        new: NewConversation,
        once: Option<Once<Conversation>>,
    ) -> Result<Conversation> {
        conversations::create(self, new, once).await
    }

    async fn owner(&self, id: ConversationId) -> Result<Option<Owner>> {
        conversations::owner(self, id).await
    }

    async fn change_conversation(
        &self,
        id: ConversationId,
        change: ConversationChange,
        now: Timestamp,
    ) -> Result<Option<Conversation>> {
        conversations::change(self, id, change, now).await
    }

    async fn options(&self, id: ConversationId) -> Result<Option<ReplyOptions>> {
        conversations::options(self, id).await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>> {
        conversations::read(self, id).await
    }

    async fn delete_conversation(&self, id: ConversationId) -> Result<bool> {
        conversations::delete(self, id).await
    }

    async fn append_message(&self, new: NewMessage, once: Option<Once<Message>>) -> Result<Option<Message>> {
        messages::append(self, new, None, once).await
    }

    async fn append_and_claim(
        &self,
        new: NewMessage,
        claimant: Claimant,
        once: Option<Once<Message>>,
    ) -> Result<Option<Message>> {
        messages::append(self, new, Some(claimant), once).await
    }

    async fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>> {
        messages::read(self, conversation, id).await
    }

    async fn delete_message(
        &self,
        conversation: ConversationId,
        id: MessageId,
        now: Timestamp,
    ) -> Result<bool> {
        messages::delete(self, conversation, id, now).await
    }

    async fn messages(&self, query: MessageQuery) -> Result<PageAnswer> {
        pages::page(self, query).await
    }
}

#[async_trait]
impl ReplyStore for PostgresStore {
    async fn reply(&self, conversation: ConversationId, message: MessageId) -> Result<Option<Reply>> {
        replies::read(self, conversation, message).await
    }

    async fn claim_replies(
        &self,
        limit: usize,
        room: Vec<(String, usize)>,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<ClaimedReply>> {
        replies::claim(self, limit, room, now, lease).await
    }

    async fn context(
        &self,
        conversation: ConversationId,
        message: MessageId,
        bytes: usize,
    ) -> Result<Option<Context>> {
        context::read(self, conversation, message, bytes).await
    }

    async fn tell(&self, lease: Lease, progress: Vec<Progress>, now: Timestamp) -> Result<Finished> {
        replies::tell(self, lease, progress, now).await
    }

    async fn renew_leases(&self, leases: Vec<Lease>, now: Timestamp, lease: Duration) -> Result<Vec<Lease>> {
        replies::renew(self, leases, now, lease).await
    }

    async fn finish_reply(
        &self,
        lease: Lease,
        outcome: Outcome,
        told: Told,
        now: Timestamp,
    ) -> Result<Finished> {
        finish::finish(self, lease, outcome, told, now).await
    }

    async fn cancel_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        partial: MessageId,
        now: Timestamp,
        once: Option<Once<Reply>>,
    ) -> Result<Option<Reply>> {
        control::cancel(self, conversation, message, partial, now, once).await
    }

    async fn retry_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        asked: NewReply,
        now: Timestamp,
        once: Option<Once<Reply>>,
    ) -> Result<Retried> {
        control::retry(self, conversation, message, asked, now, once).await
    }

    async fn attempts(
        &self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<Vec<Attempt>>> {
        control::attempts(self, conversation, message).await
    }

    async fn reply_options(
        &self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<ReplyOptions>> {
        replies::options(self, conversation, message).await
    }

    async fn sweep_replies(&self, now: Timestamp, most_lost: u32, longest_pause: Duration) -> Result<Swept> {
        sweeps::sweep(self, now, most_lost, longest_pause).await
    }

    async fn reclaim_replies(&self, now: Timestamp, most_lost: u32) -> Result<Swept> {
        sweeps::reclaim(self, now, most_lost).await
    }

    async fn until_due(&self, full: Vec<String>, now: Timestamp) -> Result<Option<Duration>> {
        replies::until_due(self, full, now).await
    }

    async fn pending_replies(&self) -> Result<Vec<(Owner, u64)>> {
        replies::pending(self).await
    }

    fn wakeups(&self) -> Arc<Notify> {
        self.notices.here()
    }

    fn call_offs(&self) -> Arc<Notify> {
        self.notices.call_offs()
    }
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn events(
        &self,
        conversation: ConversationId,
        reply: Option<MessageId>,
        after: u64,
    ) -> Result<Option<Portion>> {
        events::read(self, conversation, reply, after).await
    }

    async fn last_event(&self, conversation: ConversationId) -> Result<Option<u64>> {
        events::last(self, conversation).await
    }

    async fn prune_deltas(&self, before: Timestamp) -> Result<u32> {
        prune::run(self, before).await
    }

    fn news(&self) -> &News {
        self.notices.news()
    }
}

#[async_trait]
impl KeyStore for PostgresStore {
    async fn create_key(&self, key: ApiKey, entry: AuditEntry, once: Option<Once<ApiKey>>) -> Result<ApiKey> {
        self.transact(move |tx| keys::create(tx, key, entry, once).boxed())
            .await
    }

    async fn revoke_key(&self, id: KeyId, now: Timestamp, entry: AuditEntry) -> Result<Option<ApiKey>> {
        self.transact(move |tx| keys::revoke(tx, id, now, entry).boxed())
            .await
    }

    async fn rotate_key(
        &self,
        id: KeyId,
        successor: Successor,
        entry: AuditEntry,
        once: Option<Once<ApiKey>>,
    ) -> Result<Rotated> {
        self.transact(move |tx| keys::rotate(tx, id, successor, entry, once).boxed())
            .await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>> {
        keys::all(&self.readers.rows(keys::ALL, &[]).await?)
    }

    async fn keys_changed(&self, after: u64) -> Result<KeyChanges> {
        let rows = self.readers.rows(keys::CHANGED, &[&keys::number(after)]).await?;
        keys::changes(&rows, after)
    }

    async fn touch_keys(&self, used: Vec<(KeyId, Timestamp)>) -> Result<()> {
        self.writer.write(move |db| keys::touch(db, used).boxed()).await
    }

    async fn note(&self, entries: Vec<AuditEntry>, forgotten: Timestamp) -> Result<()> {
        self.writer
            .write(move |db| audit::note(db, entries, forgotten).boxed())
            .await
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        audit::entries(&self.readers.rows(audit::NEWEST, &[&keys::most(limit)]).await?)
    }

    async fn spend(&self, spent: Vec<(Owner, u64)>, day: i64) -> Result<()> {
        self.writer
            .write(move |db| keys::spend(db, spent, day).boxed())
            .await
    }

    async fn spent(&self, day: i64) -> Result<Vec<(Owner, u64)>> {
        keys::usage(&self.readers.rows(keys::SPENT, &[&day]).await?)
    }
}

#[async_trait]
impl OnceStore for PostgresStore {
    async fn remembered(&self, id: Uuid, forgotten: Timestamp) -> Result<Option<Remembered>> {
        once::read(self, id, forgotten).await
    }

    async fn forget_requests(&self, before: Timestamp) -> Result<u32> {
        once::forget(self, before).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn check(&self) -> Result<()> {
        self.writer.check().await?;
        Ok(self.readers.ping().await?)
    }

    async fn broken(&self) -> String {
        // What is acknowledged is the server's to keep; connections come back by themselves.
        std::future::pending().await
    }

    async fn close(&self) {
        self.workers.begin();
        // A server that is away keeps nobody from ending.
        let _ = timeout(CLOSING, self.workers.finished()).await;
        self.links.force();
        let _ = timeout(CLOSING, self.links.finished()).await;
    }
}
