//! A copy of the database in one file, while others write into it.
//!
//! SQLite's online backup copies page by page. It begins anew whenever somebody else writes, unless the reading side is
//! in a transaction: so there is one, from the first page to the last, and the copy is the database as it was when that
//! began. Meanwhile the log cannot be moved into the database beyond that moment, and grows.

use std::{fmt, path::Path, time::Duration};

use rusqlite::{
    Connection, ErrorCode, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{
    connection,
    files::{FileError, Part},
    open::{self, OpenError},
};
use crate::clock::Stopwatch;

/// Pages (of 4 KiB) that are copied between two rests.
const AT_ONCE: i32 = 256;

/// Steps between two flushes: a disk that gets all of it at the end keeps everybody's commits waiting.
const FLUSH_AFTER: usize = 8;

/// How long others may hold what is needed.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// What a database in one file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Its conversations.
    pub conversations: u64,
    /// Its messages.
    pub messages: u64,
    /// The file's length.
    pub bytes: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub enum BackupProgress {
    /// So many of so many pages are copied.
    Copying(u64, u64),
    /// Every page, index and reference of the copy is looked at.
    Verifying,
}

/// Told how far it is.
pub(super) type Watch<'a> = &'a mut dyn FnMut(BackupProgress);

/// Why there is no backup, or nothing was restored.
#[derive(Debug)]
pub enum BackupError {
    /// The database cannot be opened.
    Open(OpenError),
    /// What is to be restored cannot be opened, or is none of ours.
    NoBackup(OpenError),
    /// A file is not written.
    File(FileError),
    /// Copying failed.
    Copying(rusqlite::Error),
    /// The copy is not sound.
    Damaged(Vec<String>),
}

impl BackupError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open(cause) => cause.hint(),
            Self::NoBackup(OpenError::Missing(_)) => "give the file that `engagement backup` wrote",
            Self::NoBackup(OpenError::TooNew { .. }) => "restore it with the newer version of engagement",
            Self::NoBackup(_) => "give another backup",
            Self::File(cause) => cause.hint(),
            Self::Copying(_) => "see that there is room; run `engagement check` to examine the database",
            Self::Damaged(_) => {
                "nothing was replaced: give another backup, or run `engagement check` on the database"
            }
        }
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(cause) => cause.fmt(f),
            Self::NoBackup(cause) => write!(f, "the backup: {cause}"),
            Self::File(cause) => cause.fmt(f),
            Self::Copying(cause) => write!(f, "copying failed: {cause}"),
            Self::Damaged(problems) => {
                let first = problems.first().map_or("", String::as_str);
                write!(
                    f,
                    "the copy is damaged, {} problems; the first: {first}",
                    problems.len()
                )
            }
        }
    }
}

impl std::error::Error for BackupError {}

impl From<FileError> for BackupError {
    fn from(cause: FileError) -> Self {
        Self::File(cause)
    }
}

impl From<rusqlite::Error> for BackupError {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Copying(cause)
    }
}

/// Writes all that the database holds now into a file, and verifies that.
pub fn back_up(database: &Path, file: &Path, replace: bool, watch: Watch<'_>) -> Result<Saved, BackupError> {
    let database = open::existing(database).map_err(BackupError::Open)?;
    let part = Part::of(file, Some(&database), replace)?;
    let snapshot = snapshot(&database).map_err(BackupError::Open)?;
    let copied = copy_pages(&snapshot, &part, Pace::Gentle, watch);
    drop(snapshot);
    fold(&database);
    copied?;
    watch(BackupProgress::Verifying);
    let saved = settle(&part)?;
    part.become_file()?;
    Ok(saved)
}

/// Opens the database in a transaction that sees it as it is now.
///
/// A checkpoint takes whatever is behind the oldest reader, and costs nothing when there is no more of that. Only a
/// reader that needs nothing of the log is another matter: while there is one, every commit of the server would sort the
/// whole log in vain. So there is something in the log first that this one needs, and a reader in front of it keeps
/// others from moving it away.
fn snapshot(database: &Path) -> Result<Connection, OpenError> {
    let reader = || open::ours(database, connection::reading(database, BUSY));
    let begin = |db: &Connection| {
        db.execute_batch("BEGIN")?;
        db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| {
            row.get::<_, u64>(0)
        })
    };
    let keeper = reader()?;
    // A database that was just restored gets its log here, as long as nobody reads it.
    let writer = connection::writing(database, BUSY);
    let db = reader()?;
    begin(&keeper)?;
    // Without it, for instance on a full disk, the copy is the same.
    let _ = writer.and_then(write_nothing);
    begin(&db)?;
    Ok(db)
}

/// A commit that changes nothing. A server that is busy leaves short gaps between its own, and many tries find one.
fn write_nothing(mut db: Connection) -> rusqlite::Result<()> {
    const TRIES: i32 = 500;
    db.busy_handler(Some(|tries| {
        rest(Duration::from_millis(1));
        tries < TRIES
    }))?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    let version: i32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    db.pragma_update(None, "user_version", version)
}

/// Moves what has gathered in the log into the database, so that no commit of the server's has to. If that fails, one
/// does.
fn fold(database: &Path) {
    const ROUNDS: usize = 8;
    let Ok(db) = connection::writing(database, BUSY) else {
        return;
    };
    for _ in 0..ROUNDS {
        let left = db.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| {
            Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)
        });
        if left.is_ok_and(|left| left < i64::from(connection::CHECKPOINT_PAGES)) {
            return;
        }
    }
}

/// How much of the machine is for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Rests as long as it works.
    Gentle,
    /// Nobody else is there.
    Flat,
}

/// Copies every page of a database that is in a transaction.
pub(super) fn copy_pages(
    from: &Connection,
    part: &Part,
    pace: Pace,
    watch: Watch<'_>,
) -> Result<(), BackupError> {
    let mut to = Connection::open_with_flags(part.path(), FLAGS)?;
    // A copy that is cut off is thrown away, so nothing is needed to take it back; flushing is done here.
    to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2048;")?;
    let backup = Backup::new(from, &mut to)?;
    for steps in 1.. {
        let work = Stopwatch::start();
        let step = backup.step(AT_ONCE)?;
        let progress = backup.progress();
        let pages = u64::try_from(progress.pagecount).unwrap_or(0);
        let left = u64::try_from(progress.remaining).unwrap_or(0);
        watch(BackupProgress::Copying(pages.saturating_sub(left), pages));
        if step == StepResult::Done {
            break;
        }
        if steps % FLUSH_AFTER == 0 {
            part.file().sync_data().map_err(|cause| part.failed(cause))?;
        }
        if pace == Pace::Gentle {
            rest(2 * work.elapsed());
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a command that is to end is killed; no shutdown waits for it"
)]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Makes it a single file that needs no other beside it, looks at every page of it, and puts it on the disk.
pub(super) fn settle(part: &Part) -> Result<Saved, BackupError> {
    let db = Connection::open_with_flags(part.path(), FLAGS)?;
    db.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY;",
    )?;
    let is_single = db.query_row("PRAGMA journal_mode = DELETE", (), |row| {
        Ok(row.get_ref(0)?.as_str()? == "delete")
    })?;
    let mut problems = open::problems(&db)?;
    if !is_single {
        problems.push("it cannot be made a single file".to_owned());
    }
    if !problems.is_empty() {
        return Err(BackupError::Damaged(problems));
    }
    let count = |sql| db.query_row(sql, (), |row| row.get(0));
    let (conversations, messages) = (
        count("SELECT count(*) FROM conversations")?,
        count("SELECT count(*) FROM messages")?,
    );
    drop(db);
    let failed = |cause| part.failed(cause);
    // Before anything makes way for it.
    part.file().sync_all().map_err(failed)?;
    let bytes = part.file().metadata().map_err(failed)?.len();
    Ok(Saved {
        conversations,
        messages,
        bytes,
    })
}

/// Whether somebody else holds what was needed.
pub(super) fn is_busy(cause: &rusqlite::Error) -> bool {
    matches!(
        cause.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
