//! What the store's traits ask for, and where it is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    SqliteStore, context, control, conversations, events, keys, messages, once, pages, replies, sweep,
};
use crate::{
    model::{
        ApiKey, Attempt, AuditEntry, ClaimedReply, Context, Conversation, ConversationChange, ConversationId,
        Finished, KeyId, Lease, Message, MessageId, MessageQuery, NewConversation, NewMessage, NewReply,
        Outcome, Owner, Progress, Reply, ReplyOptions, Retried, Rotated, Successor, Swept, Timestamp, Told,
    },
    store::{
        ConversationStore, EventStore, KeyChanges, KeyStore, News, Once, OnceStore, PageAnswer, Portion,
        Remembered, ReplyStore, Result, Store,
    },
};

#[async_trait]
impl ConversationStore for SqliteStore {
    async fn create_conversation(
        &self,
        new: NewConversation,
        once: Option<Once<Conversation>>,
    ) -> Result<Conversation> {
        conversations::create(self, new, once).await
    }

    async fn owner(&self, id: ConversationId) -> Result<Option<Owner>> {
        self.readers.read(|db| keys::owner_of(db, id))
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
        conversations::options(self, id)
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>> {
        conversations::read(self, id)
    }

    async fn delete_conversation(&self, id: ConversationId) -> Result<bool> {
        conversations::delete(self, id).await
    }

    async fn append_message(&self, new: NewMessage, once: Option<Once<Message>>) -> Result<Option<Message>> {
        messages::append(self, new, once).await
    }

    async fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>> {
        messages::read(self, conversation, id)
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
impl ReplyStore for SqliteStore {
    async fn reply(&self, conversation: ConversationId, message: MessageId) -> Result<Option<Reply>> {
        replies::read(self, conversation, message)
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
        context::read(self, conversation, message, bytes)
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
        replies::finish(self, lease, outcome, told, now).await
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
        control::attempts(self, conversation, message)
    }

    async fn reply_options(
        &self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<ReplyOptions>> {
        replies::options(self, conversation, message)
    }

    async fn sweep_replies(&self, now: Timestamp, most_lost: u32, longest_pause: Duration) -> Result<Swept> {
        sweep::sweep(self, now, most_lost, longest_pause).await
    }

    async fn reclaim_replies(&self, now: Timestamp, most_lost: u32) -> Result<Swept> {
        sweep::reclaim(self, now, most_lost).await
    }

    async fn until_due(&self, full: Vec<String>, now: Timestamp) -> Result<Option<Duration>> {
        replies::until_due(self, &full, now)
    }

    async fn pending_replies(&self) -> Result<Vec<(Owner, u64)>> {
        self.readers.scan(replies::pending).await
    }

    fn wakeups(&self) -> Arc<Notify> {
        Arc::clone(&self.wakeups)
    }

    fn call_offs(&self) -> Arc<Notify> {
        // Nobody else works on the replies of this database.
        Arc::clone(&self.call_offs)
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn events(
        &self,
        conversation: ConversationId,
        reply: Option<MessageId>,
        after: u64,
    ) -> Result<Option<Portion>> {
        events::read(self, conversation, reply, after)
    }

    async fn last_event(&self, conversation: ConversationId) -> Result<Option<u64>> {
        events::last(self, conversation)
    }

    async fn prune_deltas(&self, before: Timestamp) -> Result<u32> {
        events::prune(self, before).await
    }

    fn news(&self) -> &News {
        &self.news
    }
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn create_key(&self, key: ApiKey, entry: AuditEntry, once: Option<Once<ApiKey>>) -> Result<ApiKey> {
        self.writer
            .write(move |tx| keys::create(tx, key, &entry, once))
            .await
    }

    async fn revoke_key(&self, id: KeyId, now: Timestamp, entry: AuditEntry) -> Result<Option<ApiKey>> {
        self.writer
            .write(move |tx| keys::revoke(tx, id, now, &entry))
            .await
    }

    async fn rotate_key(
        &self,
        id: KeyId,
        successor: Successor,
        entry: AuditEntry,
        once: Option<Once<ApiKey>>,
    ) -> Result<Rotated> {
        self.writer
            .write(move |tx| keys::rotate(tx, id, &successor, &entry, once))
            .await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>> {
        self.readers.read(keys::all)
    }

    async fn keys_changed(&self, after: u64) -> Result<KeyChanges> {
        self.readers.read(|db| keys::changed(db, after))
    }

    async fn touch_keys(&self, used: Vec<(KeyId, Timestamp)>) -> Result<()> {
        self.writer.write(move |tx| keys::touch(tx, &used)).await
    }

    async fn note(&self, entries: Vec<AuditEntry>, forgotten: Timestamp) -> Result<()> {
        self.writer
            .write(move |tx| keys::note(tx, &entries, forgotten))
            .await
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        self.readers.read(|db| keys::audit(db, limit))
    }

    async fn spend(&self, spent: Vec<(Owner, u64)>, day: i64) -> Result<()> {
        self.writer.write(move |tx| keys::spend(tx, &spent, day)).await
    }

    async fn spent(&self, day: i64) -> Result<Vec<(Owner, u64)>> {
        self.readers.read(|db| keys::spent_on(db, day))
    }
}

#[async_trait]
impl OnceStore for SqliteStore {
    async fn remembered(&self, id: Uuid, forgotten: Timestamp) -> Result<Option<Remembered>> {
        once::read(self, id, forgotten)
    }

    async fn forget_requests(&self, before: Timestamp) -> Result<u32> {
        once::forget(self, before).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn check(&self) -> Result<()> {
        self.writer.check()?;
        // ping: a read that touches the file.
        self.readers
            .read(|db| Ok(db.query_row("SELECT count(*) FROM schema_migrations", (), |_| Ok(()))?))
    }

    async fn broken(&self) -> String {
        self.writer.broken().await
    }

    async fn close(&self) {
        // The last connection to close moves the log into the database: that has to be the writer's.
        self.readers.close();
        self.writer.close().await;
    }
}
