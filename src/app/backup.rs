//! Backups of the database that is a file, and putting them back. PostgreSQL has tools of its own for that.

use std::{fmt, path::Path};

use crate::{
    config::Database,
    store::sqlite::{self, BackupError, BackupProgress, Restored, Saved},
};

/// Why there is no backup, or nothing was restored.
#[derive(Debug)]
pub enum Failure {
    /// SQLite's reason.
    Sqlite(BackupError),
    /// This is not how it is done with a PostgreSQL database; this is.
    Postgres(&'static str),
}

impl Failure {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Sqlite(cause) => cause.hint(),
            Self::Postgres(how) => how,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(cause) => cause.fmt(f),
            Self::Postgres(_) => {
                f.write_str("the database is PostgreSQL's, which has tools of its own for this")
            }
        }
    }
}

impl std::error::Error for Failure {}

impl From<BackupError> for Failure {
    fn from(cause: BackupError) -> Self {
        Self::Sqlite(cause)
    }
}

/// Writes all that the database holds into a file, also while a server uses it.
pub fn back_up(
    database: &Database,
    file: &Path,
    replace: bool,
    watch: &mut dyn FnMut(BackupProgress),
) -> Result<Saved, Failure> {
    match database {
        Database::Sqlite(path) => Ok(sqlite::back_up(path, file, replace, watch)?),
        Database::Postgres(_) => Err(Failure::Postgres(
            "pg_dump --format=custom --file=FILE --dbname=URL saves it, also while it is used",
        )),
    }
}

/// Puts what a backup holds in the place of the database, which no server may use meanwhile.
pub fn restore(
    database: &Database,
    file: &Path,
    replace: bool,
    watch: &mut dyn FnMut(BackupProgress),
) -> Result<Restored, Failure> {
    match database {
        Database::Sqlite(path) => Ok(sqlite::restore(path, file, replace, watch)?),
        Database::Postgres(_) => Err(Failure::Postgres(
            "pg_restore --exit-on-error --single-transaction --dbname=URL FILE fills a new, empty database",
        )),
    }
}
