//! Connections and their settings.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

/// Page caches of all connections together stay below 32 MiB: 8 for the writer, 2 for each reader.
const WRITER_CACHE_KIB: u32 = 8 * 1024;
const READER_CACHE_KIB: u32 = 2 * 1024;

/// Pages (of 4 KiB) in the write-ahead log before it is copied into the database: large enough that
/// a hot page is copied once for many commits, small enough that a restart is instant.
pub(super) const CHECKPOINT_PAGES: u32 = 4_000;

/// What the write-ahead log is cut back to after a long reader made it grow.
const LOG_LIMIT_BYTES: u32 = 64 * 1024 * 1024;

/// Statements kept prepared; more than there are.
const STATEMENT_CACHE: usize = 64;

/// Opens the database to write into it.
pub(super) fn writing(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(busy_timeout)?;
    // The log outlives a crash, and FULL flushes it on every commit: a commit survives power loss.
    db.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = {LOG_LIMIT_BYTES};
         PRAGMA foreign_keys = ON;"
    ))?;
    settle(db, WRITER_CACHE_KIB)
}

/// Opens the database to read from it.
pub(super) fn reading(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(busy_timeout)?;
    db.pragma_update(None, "query_only", true)?;
    settle(db, READER_CACHE_KIB)
}

fn settle(db: Connection, cache_kib: u32) -> rusqlite::Result<Connection> {
    // No mmap: it turns a damaged page into a damaged process. Nothing temporary touches the disk.
    db.execute_batch(&format!(
        "PRAGMA mmap_size = 0;
         PRAGMA cache_size = -{cache_kib};
         PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;"
    ))?;
    // Plans do not depend on bound values; else every new LIMIT would compile its statement anew.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(db)
}
