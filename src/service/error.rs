use std::fmt;

use crate::store;

/// Why an operation was not done.
#[derive(Debug)]
pub enum Error {
    /// There is no such conversation, message, reply or page of them.
    NotFound,
    /// The list ends before the page.
    NoSuchPage,
    /// The store could not.
    Store(store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::NoSuchPage => f.write_str("no such page"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
