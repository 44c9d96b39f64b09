//! What the server's error codes, and the end of a connection, mean for us.

use std::fmt;

use tokio_postgres::error::{Severity, SqlState};

use crate::store::Error;

/// Why a statement did not do what it should, told apart by what may be done about it.
#[derive(Debug)]
pub(super) enum Problem {
    /// The connection ended before the answer came: whether the statement was carried out is unknown.
    Lost(String),
    /// Two transactions stood in each other's way, and this one was rolled back: it may be tried again.
    Clash(String),
    /// Nothing was changed, for this reason.
    Refused(Error),
}

impl Problem {
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Refused(Error::Unavailable(reason.into()))
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Lost(reason) | Problem::Clash(reason) => Self::Unavailable(reason),
            Problem::Refused(error) => error,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            return Self::Lost(shown(&error));
        };
        let code = database.code();
        // Never the details: they quote values.
        let said = || database.message().to_owned();
        if matches!(
            database.parsed_severity(),
            Some(Severity::Fatal | Severity::Panic)
        ) {
            // The server's process is gone with it, and a commit may have been under way.
            return Self::Lost(said());
        }
        if *code == SqlState::UNIQUE_VIOLATION {
            return Self::Refused(Error::Conflict);
        }
        if *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE {
            return Self::Clash(said());
        }
        if *code == SqlState::DISK_FULL {
            return Self::Refused(Error::Full);
        }
        if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE {
            return Self::unavailable(said());
        }
        match code.code().get(..2) {
            // Connections that end, a server that stops or starts.
            Some("08" | "57") => Self::Lost(said()),
            // No room, no connections, no memory; a server that turned into a standby.
            Some("25" | "53" | "58") => Self::unavailable(said()),
            _ => Self::Refused(Error::Other(
                Failed {
                    code: code.code().to_owned(),
                    message: said(),
                }
                .into(),
            )),
        }
    }
}

/// What the server said, without the values that it says it about.
#[derive(Debug)]
struct Failed {
    code: String,
    message: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)
    }
}

impl std::error::Error for Failed {}

/// The driver's error with its causes; a server's error by its message alone.
pub(super) fn shown(error: &tokio_postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        return database.message().to_owned();
    }
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Reads a column into a value that has rules, naming the column when they are broken.
pub(super) fn stored<T>(value: Option<T>, table: &'static str, column: &'static str) -> Result<T, Error> {
    value.ok_or_else(|| Error::corrupt(table, column, "holds a value that does not exist"))
}
