//! What the store's traits ask for, and where it is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Notify, time::timeout};

use super::{
    CLOSING, PostgresStore, context, control, conversations, events, finish, messages, pages, prune, replies,
    sweeps,
};
use crate::{
    model::{
        Attempt, ClaimedReply, Context, Conversation, ConversationChange, ConversationId, Finished, Lease,
        Message, MessageId, MessageQuery, NewConversation, NewMessage, Outcome, Progress, Reply,
        ReplyOptions, Retried, Swept, Timestamp, Told,
    },
    store::{Claimant, ConversationStore, EventStore, News, PageAnswer, Portion, ReplyStore, Result, Store},
};

#[async_trait]
impl ConversationStore for PostgresStore {
    async fn create_conversation(&self, new: NewConversation) -> Result<Conversation> {
        conversations::create(self, new).await
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

    async fn append_message(&self, new: NewMessage) -> Result<Option<Message>> {
        messages::append(self, new, None).await
    }

    async fn append_and_claim(&self, new: NewMessage, claimant: Claimant) -> Result<Option<Message>> {
        messages::append(self, new, Some(claimant)).await
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
        full: Vec<String>,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<ClaimedReply>> {
        replies::claim(self, limit, full, now, lease).await
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
    ) -> Result<Option<Reply>> {
        control::cancel(self, conversation, message, partial, now).await
    }

    async fn retry_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        lane: Option<String>,
        now: Timestamp,
    ) -> Result<Retried> {
        control::retry(self, conversation, message, lane, now).await
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
