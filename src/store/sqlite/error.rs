//! What SQLite's result codes mean for us.

use rusqlite::{ErrorCode, ffi};

use crate::store::Error;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return Self::Other(error.into());
        };
        match failure.code {
            ErrorCode::DiskFull => Self::Full,
            // Enlarging the shared index of the log failed: there is no room for it.
            _ if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => Self::Full,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Self::Unavailable("another process holds its lock".to_owned())
            }
            ErrorCode::OperationInterrupted => Self::Unavailable("reading took too long".to_owned()),
            ErrorCode::ConstraintViolation => Self::Conflict,
            _ => Self::Other(error.into()),
        }
    }
}

/// Whether what is on disk is unknown after this error, until the database is opened anew.
pub(super) fn breaks_trust(error: &Error) -> bool {
    let Error::Other(cause) = error else {
        return false;
    };
    let Some(rusqlite::Error::SqliteFailure(failure, _)) = cause.downcast_ref() else {
        return false;
    };
    matches!(
        failure.code,
        ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
    )
}

/// Reads a column into a value that has rules, naming the column when they are broken.
pub(super) fn stored<T>(value: Option<T>, table: &'static str, column: &'static str) -> Result<T, Error> {
    value.ok_or_else(|| Error::corrupt(table, column, "holds a value that does not exist"))
}
