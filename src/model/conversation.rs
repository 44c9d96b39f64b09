use super::{ConversationId, Description, Timestamp, Title};

/// A conversation, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its identifier.
    pub id: ConversationId,
    /// What it is called, if anything.
    pub title: Option<Title>,
    /// What it is about.
    pub description: Description,
    /// When it was created.
    pub created: Timestamp,
    /// When it, or its list of messages, last changed; never before `created`.
    pub updated: Timestamp,
}

/// A conversation that is about to exist.
#[derive(Debug, Clone)]
pub struct NewConversation {
    /// Its identifier.
    pub id: ConversationId,
    /// What it is called, if anything.
    pub title: Option<Title>,
    /// What it is about.
    pub description: Description,
    /// Now.
    pub now: Timestamp,
}

impl From<NewConversation> for Conversation {
    fn from(new: NewConversation) -> Self {
        Self {
            id: new.id,
            title: new.title,
            description: new.description,
            created: new.now,
            updated: new.now,
        }
    }
}
