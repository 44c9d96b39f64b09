use super::{Change, ConversationId, Description, OptionsChange, Owner, ReplyOptions, Timestamp, Title};

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
    /// What it wants of its replies.
    pub options: ReplyOptions,
    /// Whose key makes it.
    pub owner: Owner,
    /// Now.
    pub now: Timestamp,
}

/// What is to be different about a conversation.
#[derive(Debug, Clone, Default)]
pub struct ConversationChange {
    /// What it is called.
    pub title: Change<Title>,
    /// What it is about, if that changes.
    pub description: Option<Description>,
    /// What it wants of its replies.
    pub options: OptionsChange,
}

impl ConversationChange {
    /// Whether everything stays.
    pub fn is_empty(&self) -> bool {
        self.title == Change::Keep && self.description.is_none() && self.options.is_empty()
    }
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
