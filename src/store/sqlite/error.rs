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
            ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Self::Broken(error.to_string())
            }
            _ => Self::Other(error.into()),
        }
    }
}

/// Reads a column into a value that has rules, naming the column when they are broken.
pub(super) fn stored<T>(value: Option<T>, table: &'static str, column: &'static str) -> Result<T, Error> {
    value.ok_or_else(|| Error::corrupt(table, column, "holds a value that does not exist"))
}
