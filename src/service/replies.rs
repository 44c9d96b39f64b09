use super::{Error, Result, Service};
use crate::model::{ConversationId, MessageId, Reply};

impl Service {
    /// Reads the reply to a user message.
    pub async fn reply(&self, conversation: ConversationId, message: MessageId) -> Result<Reply> {
        self.store
            .reply(conversation, message)
            .await?
            .ok_or(Error::NotFound)
    }
}
