//! How the database is.

use std::{fs, path::Path, time::Duration};

use async_trait::async_trait;
use rusqlite::Connection;

use super::SqliteStore;
use crate::{
    model::Timestamp,
    store::{
        Result,
        vitals::{Gauged, Vitals},
    },
};

#[async_trait]
impl Gauged for SqliteStore {
    async fn vitals(&self, now: Timestamp) -> Result<Vitals> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let vitals = self.readers.read(|db| read(db, now))?;
        Ok(Vitals {
            bytes: size(&self.path),
            log_bytes: Some(size(Path::new(&log))),
            ..vitals
        })
    }
}

/// In place: an index holds the work that is left, and nothing else.
fn read(db: &Connection, now: Timestamp) -> Result<Vitals> {
    let now = now.as_micros();
    // vitals
    let (queued, due, oldest): (u64, u64, Option<i64>) = db
        .prepare_cached(
            "SELECT count(*), count(*) FILTER (WHERE run_after <= ?1), min(run_after) FROM replies WHERE status = 'queued'",
        )?
        .query_row([now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    // vitals
    let running = db
        .prepare_cached("SELECT count(*) FROM replies WHERE status = 'running'")?
        .query_row((), |row| row.get(0))?;
    let late = oldest.map_or(0, |oldest| now.saturating_sub(oldest));
    Ok(Vitals {
        queued,
        due,
        running,
        oldest_due: Duration::from_micros(u64::try_from(late).unwrap_or(0)),
        ..Vitals::default()
    })
}

/// In bytes; nothing where there is no such file.
fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}
