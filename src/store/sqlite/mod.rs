//! The embedded database: SQLite in WAL mode with `synchronous=FULL`.
//!
//! One thread writes (`writer`): it takes all waiting requests, commits them together and answers
//! after the commit, so that full durability costs one flush for many. Bounded reads run in place on
//! one of a few read-only connections (`readers`); what can be long runs on a blocking thread with
//! a deadline. No read transaction is ever held across an await.

mod backup;
mod connection;
mod context;
mod control;
mod conversations;
mod copy;
mod django;
mod error;
mod events;
mod files;
mod keys;
mod messages;
mod migrations;
mod once;
mod open;
mod pages;
mod purge;
mod readers;
mod replies;
mod request;
mod restore;
mod settle;
mod store;
mod sweep;
mod tables;
mod transfer;
mod turns;
mod vitals;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;

pub use backup::{BackupError, BackupProgress, Saved, back_up};
pub use copy::{SqliteArchive, copy_name};
pub use django::DjangoFile;
pub use files::{FileError, Part};
pub use keys::SqliteKeys;
pub use open::{OpenError, check_integrity, migrate, refuse_unfinished, status};
pub use restore::{Restored, restore};
pub use transfer::SqliteTransfer;

use self::{open::ServerLock, readers::Readers, writer::Writer};
use super::News;
use crate::telemetry::metrics::StoreMetrics;

/// How to open the database.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file; created when missing.
    pub path: PathBuf,
    /// How many read-only connections to keep for reads in place; one for each thread that runs requests.
    pub readers: usize,
    /// How long a long read may take.
    pub scan_deadline: Duration,
    /// How long a write waits for another process's lock.
    pub busy_timeout: Duration,
    /// What is measured.
    pub metrics: StoreMetrics,
}

impl Options {
    /// The usual settings for a database at this path.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            readers: 4,
            scan_deadline: Duration::from_secs(15),
            busy_timeout: Duration::from_secs(5),
            metrics: StoreMetrics::default(),
        }
    }
}

/// A store in one SQLite file, which one server at a time may hold.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    path: PathBuf,
    wakeups: Arc<Notify>,
    call_offs: Arc<Notify>,
    news: News,
    _lock: ServerLock,
}

impl SqliteStore {
    /// Opens the database for a server: takes the lock among servers, creates the file when it is
    /// missing, brings the schema up to date, and starts the writer.
    ///
    /// Blocks; call it before serving.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let lock = ServerLock::take(&options.path)?;
        migrate(&options.path)?;
        let wakeups = Arc::new(Notify::new());
        let connection = connection::writing(&options.path, options.busy_timeout)?;
        open::refuse_unfinished_in(&connection)?;
        // Deletions that the last run did not finish.
        let purging = purge::is_due(&connection)?;
        let news = News::default();
        let writer = Writer::start(
            connection,
            Arc::clone(&wakeups),
            news.clone(),
            purging,
            options.metrics.clone(),
        )
        .map_err(OpenError::Thread)?;
        let readers = Readers::open(options)?;
        Ok(Self {
            writer,
            readers,
            path: options.path.clone(),
            wakeups,
            call_offs: Arc::default(),
            news,
            _lock: lock,
        })
    }
}
