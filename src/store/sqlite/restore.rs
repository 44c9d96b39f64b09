//! Puts a backup in the place of the database, so that a crash leaves one or the other.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    backup::{BUSY, BackupError, BackupProgress, Pace, Saved, Watch, copy_pages, is_busy, settle},
    connection,
    files::{BESIDE, FileError, Part, belongs_to, beside, sync_directory},
    migrations,
    open::{self, OpenError, ServerLock},
};

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The database.
    pub database: PathBuf,
    /// What it holds now.
    pub saved: Saved,
    /// How many keys in it were not taken back.
    pub keys: u64,
    /// Where that is kept which it replaced.
    pub kept: Option<PathBuf>,
}

/// Puts what a backup holds in the place of a database that no server uses. What is there is kept under another name.
pub fn restore(
    database: &Path,
    file: &Path,
    replace: bool,
    watch: Watch<'_>,
) -> Result<Restored, BackupError> {
    let file = open::existing(file).map_err(BackupError::NoBackup)?;
    let database = open::resolve(database).map_err(BackupError::Open)?;
    if belongs_to(&database, &file) {
        return Err(FileError::Same(file).into());
    }
    let _lock = ServerLock::take(&database).map_err(BackupError::Open)?;
    let is_taken = database.exists() || BESIDE.iter().any(|ending| beside(&database, ending).exists());
    if is_taken && !replace {
        return Err(FileError::Exists(database).into());
    }
    let backup = examine(&file).map_err(BackupError::NoBackup)?;
    let keys = open_keys(&backup)?;
    let part = Part::of_database(&database)?;
    copy_pages(&backup, &part, Pace::Flat, watch)?;
    drop(backup);
    watch(BackupProgress::Verifying);
    let saved = settle(&part)?;
    part.hand_over();
    let kept = is_taken.then(|| set_aside(&database)).transpose()?;
    part.become_file()?;
    Ok(Restored {
        database,
        saved,
        keys,
        kept,
    })
}

/// How many keys there are that nobody took back; older programs had none.
fn open_keys(db: &Connection) -> rusqlite::Result<u64> {
    if !db.table_exists(None, "api_keys")? {
        return Ok(0);
    }
    let count = "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL";
    db.query_row(count, (), |row| row.get(0))
}

/// Opens a backup that this program can work with, in a transaction.
fn examine(file: &Path) -> Result<Connection, OpenError> {
    let db = open::ours(file, connection::reading(file, BUSY))?;
    db.execute_batch("BEGIN")?;
    migrations::refuse_too_new(&db)?;
    if migrations::current(&db)? == 0 {
        return Err(OpenError::Foreign(file.to_owned()));
    }
    open::refuse_unfinished_in(&db)?;
    Ok(db)
}

/// Keeps the database under another name beside its own. It has its own as well, until another file takes that: at no
/// moment there is none, which a server would take for the first start of all.
fn set_aside(database: &Path) -> Result<PathBuf, BackupError> {
    let failed = |cause| BackupError::File(FileError::Io(database.to_owned(), cause));
    match make_single(database) {
        Err(cause) if is_busy(&cause) => return Err(FileError::InUse(database.to_owned()).into()),
        // It is damaged, which is a reason to restore. What is left of its log goes with it.
        Ok(()) | Err(_) => {}
    }
    let kept = free_name(database);
    if database.exists() && !is_same(database, &kept) {
        keep(database, &kept).map_err(failed)?;
    }
    for ending in BESIDE {
        match fs::rename(beside(database, ending), beside(&kept, ending)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed(cause)),
            Ok(()) | Err(_) => {}
        }
    }
    sync_directory(database)?;
    Ok(kept)
}

/// Moves the log into the database, and goes on without one: nothing is beside it then.
fn make_single(database: &Path) -> rusqlite::Result<()> {
    let db = connection::writing(database, BUSY)?;
    db.query_row("PRAGMA journal_mode = DELETE", (), |_| Ok(()))
}

/// A second name for the same file; where there is no such thing, a copy.
fn keep(database: &Path, kept: &Path) -> io::Result<()> {
    fs::hard_link(database, kept).or_else(|_| {
        let unfinished = beside(kept, ".part");
        fs::copy(database, &unfinished)?;
        fs::File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, kept)
    })
}

/// A name that nothing has, or that a run which was killed has just given to this very file.
fn free_name(database: &Path) -> PathBuf {
    let first = beside(database, ".before-restore");
    let others = (2..).map(|number| beside(database, &format!(".before-restore-{number}")));
    let is_free = |name: &PathBuf| {
        is_same(database, name)
            || !name.exists() && BESIDE.iter().all(|ending| !beside(name, ending).exists())
    };
    std::iter::once(first.clone())
        .chain(others)
        .find(is_free)
        .unwrap_or(first)
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
