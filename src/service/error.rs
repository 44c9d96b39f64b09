use std::{fmt, time::Duration};

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
    /// It was carried out before, under the same mark; nothing was changed.
    Repeated,
    /// There are more unfinished replies than the service takes; nothing was changed.
    Backlogged,
    /// There are more unfinished replies of this owner than it may have; nothing was changed.
    TooManyReplies,
    /// The owner has spent its tokens of this day; nothing was changed.
    Spent {
        /// How long until it has others.
        until: Duration,
    },
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
            store::Error::Repeated => Self::Repeated,
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
            Self::Backlogged => f.write_str("too many replies are unfinished"),
            Self::TooManyReplies => f.write_str("too many replies of this owner are unfinished"),
            Self::Spent { .. } => f.write_str("this day's tokens are spent"),
            Self::Repeated => f.write_str("it was carried out before"),
            Self::Unavailable(cause) | Self::Broken(cause) => f.write_str(cause),
            Self::Full => f.write_str("no room is left"),
        }
    }
}

impl std::error::Error for Error {}
