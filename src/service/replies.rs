use std::sync::Arc;

use super::{Error, Result, Service};
use crate::{
    access::Caller,
    events::Watcher,
    model::{Attempt, ConversationId, MessageId, ModelName, NewReply, Reply, ReplyOptions, Retried},
    store::Once,
    telemetry::{ids::Logged, traces},
};

impl Service {
    /// Reads the reply to a user message.
    pub async fn reply(&self, conversation: ConversationId, message: MessageId) -> Result<Reply> {
        self.store
            .reply(conversation, message)
            .await?
            .ok_or(Error::NotFound)
    }

    /// Calls a reply off, wherever it is being written. What was written is kept. A final reply stays as it is.
    pub async fn cancel_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        once: Option<Once<Reply>>,
    ) -> Result<Reply> {
        let now = self.clock.now();
        let partial = self.ids.message(now);
        let cancelled = self
            .store
            .cancel_reply(conversation, message, partial, now, once)
            .await?;
        let reply = cancelled.ok_or(Error::NotFound)?;
        self.replies.call_off_attempt(message, reply.attempts);
        tracing::info!(conversation = %Logged(conversation), "reply cancelled");
        Ok(reply)
    }

    /// Has a final reply written anew. Its answer, if there is one, stays until there is a new one.
    pub async fn retry_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        by: &Caller,
        once: Option<Once<Reply>>,
    ) -> Result<Reply> {
        let options = self.store.reply_options(conversation, message).await?;
        let plan = self
            .plan(conversation, options.ok_or(Error::NotFound)?, by)
            .await?;
        self.admit_reply(by).await?;
        let retried = self
            .store
            .retry_reply(conversation, message, plan, self.clock.now(), once)
            .await?;
        match retried {
            Retried::Queued(reply) => {
                tracing::info!(conversation = %Logged(conversation), "reply asked for again");
                Ok(reply)
            }
            Retried::Unfinished => Err(Error::Busy),
            Retried::NoReply => Err(Error::NotFound),
        }
    }

    /// The earlier tries at a reply.
    pub async fn attempts(&self, conversation: ConversationId, message: MessageId) -> Result<Vec<Attempt>> {
        self.store
            .attempts(conversation, message)
            .await?
            .ok_or(Error::NotFound)
    }

    /// Watches a conversation, from the event after this number on. A number that the conversation has not reached is
    /// not found.
    pub async fn watch(&self, conversation: ConversationId, after: u64) -> Result<Watcher> {
        self.check_cursor(conversation, after).await?;
        Ok(Watcher::new(Arc::clone(&self.store), conversation, None, after))
    }

    /// Watches a reply until it is final: from the beginning of its latest try, or from the event after this number on.
    pub async fn watch_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        after: Option<u64>,
    ) -> Result<Watcher> {
        let reply = self.reply(conversation, message).await?;
        if let Some(after) = after {
            self.check_cursor(conversation, after).await?;
        }
        let from = after.unwrap_or_else(|| reply.queued.saturating_sub(1));
        let watcher = Watcher::new(Arc::clone(&self.store), conversation, Some(message), from);
        if after.is_some() && reply.state.is_final() {
            let rest = self.store.events(conversation, Some(message), from).await?;
            if rest.is_some_and(|rest| rest.events.is_empty()) {
                return Ok(watcher.over());
            }
        }
        Ok(watcher)
    }

    async fn check_cursor(&self, conversation: ConversationId, after: u64) -> Result<()> {
        let last = self
            .store
            .last_event(conversation)
            .await?
            .ok_or(Error::NotFound)?;
        if after > last {
            return Err(Error::NoSuchEvent);
        }
        Ok(())
    }

    /// What a user message's reply is to be like, by its own options and its conversation's.
    pub(super) async fn plan(
        &self,
        conversation: ConversationId,
        options: ReplyOptions,
        by: &Caller,
    ) -> Result<NewReply> {
        self.check_model(conversation, options.model.as_ref()).await?;
        if self.providers.are_rules_only() {
            // Nobody takes turns, and nobody reads options.
            return Ok(NewReply {
                options,
                owner: by.owner,
                trace: traces::current(),
                ..NewReply::default()
            });
        }
        let others = self.store.options(conversation).await?.ok_or(Error::NotFound)?;
        let all = options.clone().or(others);
        let model = all.model.as_ref().map(ModelName::as_str);
        // A model that is gone from the configuration is for the reply to fail with, where everybody can see it.
        let choice = self.providers.choose(model);
        let remote = choice.filter(|choice| choice.backend.remote.is_some());
        Ok(NewReply {
            lane: remote.map(|choice| choice.backend.name.clone()),
            options,
            busy: all.busy.unwrap_or_default(),
            owner: by.owner,
            trace: traces::current(),
        })
    }

    /// Whether somebody offers the model is judged after whether there is such a conversation.
    pub(super) async fn check_model(
        &self,
        conversation: ConversationId,
        model: Option<&ModelName>,
    ) -> Result<()> {
        let offered = self.check_offered(model);
        if offered.is_err() {
            self.conversation(conversation, None).await?;
        }
        offered
    }

    /// Whether anybody offers this model.
    pub fn offers(&self, model: &ModelName) -> bool {
        self.providers.choose(Some(model.as_str())).is_some()
    }

    pub(super) fn check_offered(&self, model: Option<&ModelName>) -> Result<()> {
        match model {
            Some(name) if !self.offers(name) => Err(Error::UnknownModel(name.clone())),
            _ => Ok(()),
        }
    }
}
