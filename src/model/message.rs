use super::{ConversationId, MessageId, MessageText, NewReply, Timestamp};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person; each of their messages gets a reply.
    User,
    /// The assistant.
    Assistant,
}

impl Role {
    /// The name on the wire and in databases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }

    /// Reads the exact, case-sensitive name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::User, Self::Assistant]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// A message, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its identifier.
    pub id: MessageId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Who spoke.
    pub role: Role,
    /// What was said.
    pub text: MessageText,
    /// When it was created; never before the message in front of it.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// A message that is about to be appended to its conversation.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its identifier.
    pub id: MessageId,
    /// The conversation it is appended to.
    pub conversation: ConversationId,
    /// Who speaks; a user's message is stored together with its queued reply.
    pub role: Role,
    /// What is said.
    pub text: MessageText,
    /// The reply that a user's message asks for; without meaning for an assistant's.
    pub reply: NewReply,
    /// Now.
    pub now: Timestamp,
}

impl NewMessage {
    /// The message as it is once it has its place, at the date that this place gives it.
    pub fn placed(self, at: Timestamp) -> Message {
        Message {
            id: self.id,
            conversation: self.conversation,
            role: self.role,
            text: self.text,
            created: at,
            updated: at,
        }
    }
}
