use super::{Error, Result, Service};
use crate::{
    access::Caller,
    model::{
        BusyPolicy, ConversationId, Message, MessageId, MessagePage, MessageQuery, MessageText, NewMessage,
        NewReply, ReplyOptions, Role,
    },
    store::{Once, PageAnswer},
    telemetry::ids::Logged,
};

impl Service {
    /// Appends a message. A user message is stored together with its queued reply.
    pub async fn create_message(
        &self,
        conversation: ConversationId,
        role: Role,
        text: MessageText,
        options: ReplyOptions,
        by: &Caller,
        once: Option<Once<Message>>,
    ) -> Result<Message> {
        let reply = match role {
            Role::User => {
                let planned = self.plan(conversation, options, by).await?;
                self.admit_reply(by).await?;
                planned
            }
            Role::Assistant => NewReply::default(),
        };
        let now = self.clock.now();
        let new = NewMessage {
            id: self.ids.message(now),
            conversation,
            role,
            text,
            reply,
            now,
        };
        let interrupts = new.reply.busy == BusyPolicy::Interrupt;
        let claimant = match role {
            Role::User => self.replies.claimant(new.reply.lane.as_deref()),
            Role::Assistant => None,
        };
        let appended = match claimant {
            Some(claimant) => self.store.append_and_claim(new, claimant, once).await?,
            None => self.store.append_message(new, once).await?,
        };
        let message = appended.ok_or(Error::NotFound)?;
        if interrupts {
            // Replies that this process writes may be among those.
            self.replies.look_for_call_offs();
        }
        tracing::info!(conversation = %Logged(conversation), role = role.as_str(), "message created");
        Ok(message)
    }

    /// Reads a message.
    pub async fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Message> {
        self.store.message(conversation, id).await?.ok_or(Error::NotFound)
    }

    /// Reads a page of messages.
    pub async fn messages(&self, query: MessageQuery) -> Result<MessagePage> {
        match self.store.messages(query).await? {
            PageAnswer::Page(page) => Ok(page),
            PageAnswer::NoSuchPage => Err(Error::NoSuchPage),
            PageAnswer::NoConversation => Err(Error::NotFound),
        }
    }

    /// Deletes a message; a user message's reply is called off with it.
    pub async fn delete_message(&self, conversation: ConversationId, id: MessageId) -> Result<()> {
        if !self
            .store
            .delete_message(conversation, id, self.clock.now())
            .await?
        {
            return Err(Error::NotFound);
        }
        self.replies.call_off_message(id);
        tracing::info!(conversation = %Logged(conversation), "message deleted");
        Ok(())
    }
}
