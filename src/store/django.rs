//! What the Django service kept, as it kept it: everything is text.

use super::Result;

/// A conversation of the Django service.
#[derive(Debug, Clone, Default)]
pub struct DjangoConversation {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What it is called, if anything.
    pub title: Option<String>,
    /// What it is about.
    pub description: String,
    /// A date without an offset, which is in UTC.
    pub created: String,
    /// The same.
    pub updated: String,
}

/// A message of the Django service.
#[derive(Debug, Clone, Default)]
pub struct DjangoMessage {
    /// 32 hexadecimal digits.
    pub id: String,
    /// `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub text: String,
    /// As a conversation's.
    pub created: String,
    /// The same.
    pub updated: String,
}

/// A database of the Django service.
pub trait DjangoSource: Send {
    /// How many messages there are.
    fn count(&self) -> Result<u64>;

    /// Gives every conversation in the order of their ids, until told to stop.
    fn conversations(&self, each: &mut dyn FnMut(DjangoConversation) -> bool) -> Result<()>;

    /// Gives the messages of a conversation, by the id as it is kept, in the order in which they were said, until told to
    /// stop.
    fn messages(&self, conversation: &str, each: &mut dyn FnMut(DjangoMessage) -> bool) -> Result<()>;
}
