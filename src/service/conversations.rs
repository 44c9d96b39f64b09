use super::{Error, Result, Service};
use crate::{
    model::{
        Change, Conversation, ConversationChange, ConversationId, Description, Needle, NewConversation,
        Owner, ReplyOptions, Title,
    },
    store::Once,
    telemetry::ids::Logged,
};

impl Service {
    /// Creates a conversation, which belongs to this owner.
    pub async fn create_conversation(
        &self,
        title: Option<Title>,
        description: Description,
        options: ReplyOptions,
        owner: Owner,
        once: Option<Once<Conversation>>,
    ) -> Result<Conversation> {
        self.check_offered(options.model.as_ref())?;
        let id = self.ids.conversation();
        let new = NewConversation {
            id,
            title,
            description,
            options,
            owner,
            now: self.clock.now(),
        };
        let conversation = self.store.create_conversation(new, once).await?;
        tracing::info!(conversation = %Logged(id), "conversation created");
        Ok(conversation)
    }

    /// Reads a conversation; one that does not hold the needle in title or description is not found.
    pub async fn conversation(&self, id: ConversationId, needle: Option<&Needle>) -> Result<Conversation> {
        let conversation = self.store.conversation(id).await?.ok_or(Error::NotFound)?;
        let matches = needle.is_none_or(|needle| {
            let in_title = conversation
                .title
                .as_ref()
                .is_some_and(|title| needle.found_in(title.as_str()));
            in_title || needle.found_in(conversation.description.as_str())
        });
        if matches {
            Ok(conversation)
        } else {
            Err(Error::NotFound)
        }
    }

    /// Changes what a conversation is called, what it is about, and what it wants of its replies: those that are asked
    /// for from now on.
    pub async fn change_conversation(
        &self,
        id: ConversationId,
        change: ConversationChange,
    ) -> Result<Conversation> {
        if let Change::Set(model) = &change.options.model {
            self.check_model(id, Some(model)).await?;
        }
        if change.is_empty() {
            return self.conversation(id, None).await;
        }
        let changed = self
            .store
            .change_conversation(id, change, self.clock.now())
            .await?;
        let conversation = changed.ok_or(Error::NotFound)?;
        tracing::info!(conversation = %Logged(id), "conversation changed");
        Ok(conversation)
    }

    /// What a conversation wants of its replies.
    pub async fn options(&self, id: ConversationId) -> Result<ReplyOptions> {
        self.store.options(id).await?.ok_or(Error::NotFound)
    }

    /// Deletes a conversation with all that belongs to it.
    pub async fn delete_conversation(&self, id: ConversationId) -> Result<()> {
        if !self.store.delete_conversation(id).await? {
            return Err(Error::NotFound);
        }
        self.replies.call_off_conversation(id);
        tracing::info!(conversation = %Logged(id), "conversation deleted");
        Ok(())
    }
}
