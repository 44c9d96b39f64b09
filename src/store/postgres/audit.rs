//! What happened around keys.

use tokio_postgres::Row;
use uuid::Uuid;

use super::{connection::Session, error::Problem};
use crate::{
    model::{AuditEntry, KeyId, Timestamp},
    store::{Error, Result, keys},
};

pub(super) const NEWEST: &str = "-- audit
             SELECT id, at, event, key_id, actor, address, count FROM key_audit ORDER BY at DESC, id DESC LIMIT $1";

pub(super) async fn note(
    db: &Session,
    entries: Vec<AuditEntry>,
    forgotten: Timestamp,
) -> Result<(), Problem> {
    insert(db, &entries, Some(forgotten)).await
}

/// Adds entries, and forgets those from before this time.
pub(super) async fn insert(
    db: &Session,
    entries: &[AuditEntry],
    forgotten: Option<Timestamp>,
) -> Result<(), Problem> {
    fn each<'a, T>(entries: &'a [AuditEntry], value: impl Fn(&'a AuditEntry) -> T) -> Vec<T> {
        entries.iter().map(value).collect()
    }
    db.execute(
        "-- create_key, revoke_key, rotate_key, note
         WITH old AS (DELETE FROM key_audit WHERE at < $8)
         INSERT INTO key_audit (id, at, event, key_id, actor, address, count)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[])
                       AS new (id, at, event, key_id, actor, address, count)
         WHERE (at < $8) IS NOT TRUE",
        &[
            &each(entries, |entry| entry.id),
            &each(entries, |entry| entry.at.as_micros()),
            &each(entries, |entry| entry.what.as_str()),
            &each(entries, |entry| entry.key.map(KeyId::as_uuid)),
            &each(entries, |entry| entry.by.to_string()),
            &each(entries, |entry| entry.address.as_deref()),
            &each(entries, |entry| i64::from(entry.count)),
            &forgotten.map(Timestamp::as_micros),
        ],
    )
    .await?;
    Ok(())
}

pub(super) fn entries(rows: &[Row]) -> Result<Vec<AuditEntry>> {
    rows.iter().map(|row| Ok(entry(row)?)).collect()
}

fn entry(row: &Row) -> Result<AuditEntry, Problem> {
    Ok(AuditEntry {
        id: row.try_get(0)?,
        at: Timestamp::from_micros(row.try_get(1)?),
        what: keys::audited(row.try_get(2)?)?,
        key: row.try_get::<_, Option<Uuid>>(3)?.and_then(KeyId::from_uuid),
        by: keys::actor(row.try_get(4)?)?,
        address: row.try_get(5)?,
        count: u32::try_from(row.try_get::<_, i64>(6)?)
            .map_err(|_| Error::corrupt("key_audit", "count", "is no count"))?,
    })
}
