use std::fmt;

use crate::{model::ModelName, store};

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// There is no such conversation, message or reply.
    NotFound,
    /// Nobody offers this model.
    UnknownModel(ModelName),
    /// The list ends before the page.
    NoSuchPage,
    /// The conversation has not come to this event.
    NoSuchEvent,
    /// A reply of the conversation is unfinished, and nobody was to wait for it or touch it; nothing was changed.
    Busy,
    /// It cannot be done now, for this reason; a change may have happened all the same.
    Unavailable(String),
    /// There is no room for it; nothing was changed.
    Full,
    /// Something is broken, for the operator to see.
    Broken(String),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match &error {
            store::Error::Unavailable(_) => Self::Unavailable(error.to_string()),
            store::Error::Full => Self::Full,
            store::Error::Busy => Self::Busy,
            // Ids are ours to make, so one that is taken is no client's mistake.
            store::Error::Conflict
            | store::Error::Broken(_)
            | store::Error::Corrupt { .. }
            | store::Error::Other(_) => Self::Broken(error.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::UnknownModel(_) => f.write_str("no such model"),
            Self::NoSuchPage => f.write_str("no such page"),
            Self::NoSuchEvent => f.write_str("no such event"),
            Self::Busy => f.write_str("a reply is unfinished"),
            Self::Unavailable(cause) | Self::Broken(cause) => f.write_str(cause),
            Self::Full => f.write_str("no room is left"),
        }
    }
}

impl std::error::Error for Error {}
