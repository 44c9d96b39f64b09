//! Opening a database file, and saying what is wrong when that fails.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::{
    connection, copy,
    files::{self, LOCK, beside, private},
    migrations, purge,
};
use crate::store::{
    copy::CopyRecord,
    schema::{self, LATEST, MigrationState, OtherSchema},
};

/// "Engm": marks the file as one of ours.
const APPLICATION_ID: i32 = 0x456e_676d;

/// Older versions can damage the log when one connection resets it while another writes
/// (<https://sqlite.org/wal.html#walresetbug>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// Why a database cannot be opened. Each says what is wrong and, in [`OpenError::hint`], what to do.
#[derive(Debug)]
pub enum OpenError {
    /// Another server holds it.
    InUse(PathBuf),
    /// The directory or file cannot be read or written.
    Io(PathBuf, io::Error),
    /// The file is no SQLite database.
    NoDatabase(PathBuf),
    /// The file is the database of another program.
    Foreign(PathBuf),
    /// The file is damaged.
    Damaged(rusqlite::Error),
    /// There is no file.
    Missing(PathBuf),
    /// The schema was made by a newer program that older ones cannot work with.
    TooNew {
        /// The oldest program, by the last migration it knows, that can work with this schema.
        needs: u32,
    },
    /// The linked SQLite is older than is safe.
    OldSqlite(&'static str),
    /// A migration failed; the database is as it was before it.
    Migration {
        /// Its number.
        version: u32,
        /// Why.
        cause: rusqlite::Error,
    },
    /// It cannot be copied as it is.
    OtherSchema(OtherSchema),
    /// It holds a part of what was to be copied from another database.
    Unfinished {
        /// Which one.
        source: String,
    },
    /// The writing thread could not be started.
    Thread(io::Error),
    /// Anything else that SQLite reports.
    Sqlite(rusqlite::Error),
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse(_) => "stop the other server, or give this one its own --database-url sqlite:PATH",
            Self::Io(..) => "give a path in a directory that this user may write: --database-url sqlite:PATH",
            Self::NoDatabase(_) | Self::Foreign(_) => "give another path: --database-url sqlite:PATH",
            Self::Damaged(_) => "restore a backup",
            Self::Missing(_) => "start the server once, or run `engagement migrate apply`, to create it",
            Self::TooNew { .. } => {
                "start the newer version of engagement, or restore a backup made before its upgrade"
            }
            Self::OldSqlite(_) => "build with the bundled SQLite",
            Self::Migration { .. } => {
                "nothing was changed; free space or repair the database, then start again"
            }
            Self::OtherSchema(schema) => schema.hint(),
            Self::Unfinished { .. } => schema::FINISH_COPY,
            Self::Thread(_) => "raise the limit on threads of this user",
            Self::Sqlite(_) => "run `engagement check` to examine the database",
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(f, "another server is using the database {}", path.display()),
            Self::Io(path, cause) => write!(f, "cannot open the database {}: {cause}", path.display()),
            Self::NoDatabase(path) => write!(f, "{} is not a SQLite database", path.display()),
            Self::Foreign(path) => write!(f, "{} is the database of another program", path.display()),
            Self::Damaged(cause) => write!(f, "the database is damaged: {cause}"),
            Self::Missing(path) => write!(f, "there is no database {}", path.display()),
            Self::TooNew { needs } => write!(
                f,
                "the database needs a newer program: one that knows migration {needs}; this one knows up to {LATEST}"
            ),
            Self::OldSqlite(version) => write!(
                f,
                "SQLite {version} is too old to be safe; 3.51.3 is the oldest that is"
            ),
            Self::Migration { version, cause } => write!(f, "migration {version} failed: {cause}"),
            Self::OtherSchema(schema) => schema.fmt(f),
            Self::Unfinished { source } => write!(
                f,
                "the database is not whole: a copy of {source} into it is unfinished"
            ),
            Self::Thread(cause) => write!(f, "cannot start the database's thread: {cause}"),
            Self::Sqlite(cause) => write!(f, "cannot open the database: {cause}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<rusqlite::Error> for OpenError {
    fn from(cause: rusqlite::Error) -> Self {
        match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(cause),
            _ => Self::Sqlite(cause),
        }
    }
}

/// The lock that servers take, and nobody else: command-line tools work beside a running server.
#[derive(Debug)]
pub(super) struct ServerLock {
    _file: File,
}

impl ServerLock {
    pub(super) fn take(database: &Path) -> Result<Self, OpenError> {
        let database = resolve(database)?;
        let path = beside(&database, LOCK);
        let file = private()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|cause| OpenError::Io(path, cause))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(database)),
            Err(fs::TryLockError::Error(cause)) => Err(OpenError::Io(database, cause)),
        }
    }
}

/// Creates the file if needed and brings the schema up to date. Gives the migrations that were applied.
pub fn migrate(path: &Path) -> Result<Vec<MigrationState>, OpenError> {
    let path = resolve(path)?;
    create(&path)?;
    let mut db = open(&path)?;
    if db.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0))? == 0 {
        db.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    migrations::apply(&mut db)
}

/// What migrations there are, and which were applied when.
pub fn status(path: &Path) -> Result<Vec<MigrationState>, OpenError> {
    let path = existing(path)?;
    migrations::status(&open(&path)?)
}

/// Looks at every page, index and reference. Gives what is wrong, nothing if all is well.
pub fn check_integrity(path: &Path) -> Result<Vec<String>, OpenError> {
    let path = existing(path)?;
    Ok(problems(&open(&path)?)?)
}

/// What is wrong with a database, nothing if all is well.
pub(super) fn problems(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut problems: Vec<String> = db
        .prepare("PRAGMA integrity_check")?
        .query_map((), |row| row.get(0))?
        .filter(|line| !matches!(line, Ok(line) if line == "ok"))
        .collect::<Result<_, _>>()?;
    let orphans: Vec<String> = db
        .prepare("PRAGMA foreign_key_check")?
        .query_map((), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    problems.extend(
        orphans
            .into_iter()
            .map(|table| format!("a row of {table} refers to one that is gone")),
    );
    problems.extend(purge::strays(db)?);
    Ok(problems)
}

/// Refuses a database into which another one is still to be copied.
pub fn refuse_unfinished(path: &Path) -> Result<(), OpenError> {
    let path = existing(path)?;
    refuse_unfinished_in(&open(&path)?)
}

pub(super) fn refuse_unfinished_in(db: &Connection) -> Result<(), OpenError> {
    match copy::last_copy(db)? {
        Some(CopyRecord {
            source,
            finished: None,
        }) => Err(OpenError::Unfinished { source }),
        _ => Ok(()),
    }
}

pub(super) fn existing(path: &Path) -> Result<PathBuf, OpenError> {
    let path = resolve(path)?;
    if path.exists() {
        Ok(path)
    } else {
        Err(OpenError::Missing(path))
    }
}

/// Opens the file and makes sure that it is ours, or empty.
fn open(path: &Path) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite(rusqlite::version()));
    }
    ours(
        path,
        connection::writing(path, std::time::Duration::from_secs(30)),
    )
}

/// Makes sure that a file that is being opened is ours, or empty.
pub(super) fn ours(path: &Path, opened: rusqlite::Result<Connection>) -> Result<Connection, OpenError> {
    let judged = opened.and_then(|db| {
        // The first look into the file, if opening it did not need one.
        let application_id: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let table: Option<String> = db
            .query_row("SELECT name FROM sqlite_schema LIMIT 1", (), |row| row.get(0))
            .optional()?;
        Ok(match (application_id, table) {
            (APPLICATION_ID, _) | (0, None) => Some(db),
            _ => None,
        })
    });
    match judged {
        Ok(Some(db)) => Ok(db),
        Ok(None) => Err(OpenError::Foreign(path.to_owned())),
        Err(cause) => Err(match cause.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::NoDatabase(path.to_owned()),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => OpenError::Io(
                path.to_owned(),
                io::Error::new(io::ErrorKind::PermissionDenied, cause),
            ),
            _ => OpenError::from(cause),
        }),
    }
}

/// Creates an empty file that only its owner can read, and makes its directory entry durable.
fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |cause| OpenError::Io(path.to_owned(), cause);
    match private().create_new(true).open(path) {
        Ok(file) => {
            file.sync_all().map_err(failed)?;
            let directory = path.parent().unwrap_or(Path::new("/"));
            File::open(directory)
                .and_then(|directory| directory.sync_all())
                .map_err(failed)
        }
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(cause) => Err(failed(cause)),
    }
}

/// The absolute path with links followed, so that one database has one name and one lock.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    files::resolve(path).map_err(|cause| OpenError::Io(path.to_owned(), cause))
}
