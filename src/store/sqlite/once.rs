//! Requests that were carried out: remembered in the transaction of what they did.

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::{SqliteStore, writer::Tx};
use crate::{
    model::Timestamp,
    store::{Error, Once, Remembered, Result, once::Record},
};

/// How many are forgotten in one transaction.
const PORTION: u32 = 500;

/// Remembers what came of a request, unless it was carried out before: then nothing of it may stay.
pub(super) fn remember<T>(tx: &Connection, once: Option<Once<T>>, outcome: &T) -> Result<()> {
    let Some(once) = once else { return Ok(()) };
    let Record {
        mark,
        created,
        forgotten,
        answer,
    } = once.record(outcome);
    // create_conversation, append_message, cancel_reply, retry_reply, create_key, rotate_key
    let written = tx
        .prepare_cached(
            "INSERT INTO idempotency (id, fingerprint, created_at, answer) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE
             SET number = (SELECT max(number) + 1 FROM idempotency), fingerprint = ?2, created_at = ?3, answer = ?4
             WHERE created_at < ?5",
        )?
        .execute((
            mark.id.as_bytes(),
            mark.fingerprint.as_bytes(),
            created.as_micros(),
            answer,
            forgotten.as_micros(),
        ))?;
    if written == 0 {
        Err(Error::Repeated)
    } else {
        Ok(())
    }
}

/// Refuses what was carried out before, where it could be refused for what it did itself.
pub(super) fn refuse_repeated<T>(tx: &Connection, once: Option<&Once<T>>) -> Result<()> {
    let Some(once) = once else { return Ok(()) };
    // append_message, retry_reply, rotate_key
    let is_repeated = tx
        .prepare_cached("SELECT 1 FROM idempotency WHERE id = ?1 AND created_at >= ?2")?
        .exists((once.mark().id.as_bytes(), once.forgotten().as_micros()))?;
    if is_repeated { Err(Error::Repeated) } else { Ok(()) }
}

pub(super) fn read(store: &SqliteStore, id: Uuid, forgotten: Timestamp) -> Result<Option<Remembered>> {
    store.readers.read(|db| {
        // remembered
        let mut select = db.prepare_cached(
            "SELECT fingerprint, answer FROM idempotency WHERE id = ?1 AND created_at >= ?2",
        )?;
        let found = select.query_row((id.as_bytes(), forgotten.as_micros()), |row| {
            Ok(Remembered {
                fingerprint: Uuid::from_bytes(row.get(0)?),
                answer: row.get(1)?,
            })
        });
        Ok(found.optional()?)
    })
}

pub(super) async fn forget(store: &SqliteStore, before: Timestamp) -> Result<u32> {
    store.writer.write(move |tx| forget_in(tx, before)).await
}

fn forget_in(tx: &Tx<'_>, before: Timestamp) -> Result<u32> {
    // forget_requests: the oldest have the lowest numbers, so the rest of the table is not looked at.
    let forgotten = tx
        .prepare_cached(
            "DELETE FROM idempotency
             WHERE number IN (SELECT number FROM idempotency ORDER BY number LIMIT ?2) AND created_at < ?1",
        )?
        .execute((before.as_micros(), PORTION))?;
    Ok(u32::try_from(forgotten).unwrap_or(u32::MAX))
}
