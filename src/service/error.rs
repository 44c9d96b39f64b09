use std::fmt;

use crate::store;

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// There is no such conversation, message or reply.
    NotFound,
    /// The list ends before the page.
    NoSuchPage,
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
            Self::NoSuchPage => f.write_str("no such page"),
            Self::Unavailable(cause) | Self::Broken(cause) => f.write_str(cause),
            Self::Full => f.write_str("no room is left"),
        }
    }
}

impl std::error::Error for Error {}
