//! What the server's error codes, and the end of a connection, mean for us.

use std::{error::Error as _, fmt, io};

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

impl Problem {
    /// What this user may not do, if that is what is wrong.
    pub(super) fn forbidden(&self) -> Option<&str> {
        let Self::Refused(Error::Other(cause)) = self else {
            return None;
        };
        let failed = cause.downcast_ref::<Failed>()?;
        (failed.code == SqlState::INSUFFICIENT_PRIVILEGE.code()).then_some(failed.message.as_str())
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
        if *code == SqlState::NOT_NULL_VIOLATION && database.table() == Some("idempotency") {
            // See `once`.
            return Self::Refused(Error::Repeated);
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

/// The driver's error with its causes; a server's error, and why it cannot be connected to, by that alone.
pub(super) fn shown(error: &tokio_postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        return database.message().to_owned();
    }
    match (error.to_string().as_str(), error.source()) {
        ("error connecting to server", Some(cause)) => cause.to_string(),
        ("error performing TLS handshake", Some(cause)) => format!("TLS: {cause}"),
        (said, Some(cause)) => format!("{said}: {cause}"),
        (said, None) => said.to_owned(),
    }
}

/// Why there is no connection, told apart by who can do something about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unconnected {
    /// The server is away, starting, stopping or full.
    Away,
    /// The server, or what we know of it, does not do for the `sslmode` that was asked for.
    Insecure,
    /// The server does not let us in, or needs something that we were not given.
    Refused,
}

impl From<&tokio_postgres::Error> for Unconnected {
    fn from(error: &tokio_postgres::Error) -> Self {
        if let Some(code) = error.code() {
            return Self::from(code);
        }
        // The driver tells the kinds of its own errors by their texts only.
        match error.to_string().as_str() {
            "error performing TLS handshake" => match error.source().and_then(|cause| cause.downcast_ref()) {
                // What rustls objects to is "invalid data"; anything else befell the connection.
                Some(cause) if io::Error::kind(cause) != io::ErrorKind::InvalidData => Self::Away,
                _ => Self::Insecure,
            },
            "invalid configuration" | "authentication error" => Self::Refused,
            _ => Self::Away,
        }
    }
}

impl From<&SqlState> for Unconnected {
    fn from(code: &SqlState) -> Self {
        match code.code().get(..2) {
            Some("57" | "53" | "08") => Self::Away,
            _ => Self::Refused,
        }
    }
}

/// Reads a column into a value that has rules, naming the column when they are broken.
pub(super) fn stored<T>(value: Option<T>, table: &'static str, column: &'static str) -> Result<T, Error> {
    value.ok_or_else(|| Error::corrupt(table, column, "holds a value that does not exist"))
}
