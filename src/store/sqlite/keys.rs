//! API keys, for the service and for the command line beside it.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use uuid::Uuid;

use super::{
    connection, once,
    open::{self, OpenError},
};
use crate::{
    model::{ApiKey, AuditEntry, ConversationId, KeyId, Owner, Rotated, Successor, Timestamp},
    store::{
        KeyChanges, KeyStore, Once, Result,
        keys::{self, KeyRow},
    },
};

/// How long a command waits for the service's lock.
const BUSY: Duration = Duration::from_secs(10);

/// The keys of a database that a service may be using.
#[derive(Debug)]
pub struct SqliteKeys(Mutex<Connection>);

impl SqliteKeys {
    /// Opens the database for one command, and creates it if it is missing.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        open::migrate(path)?;
        let db = connection::writing(&open::resolve(path)?, BUSY)?;
        open::refuse_unfinished_in(&db)?;
        Ok(Self(Mutex::new(db)))
    }

    fn transact<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut db = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&tx)?;
        tx.commit()?;
        Ok(done)
    }
}

#[async_trait]
impl KeyStore for SqliteKeys {
    async fn create_key(&self, key: ApiKey, entry: AuditEntry, once: Option<Once<ApiKey>>) -> Result<ApiKey> {
        self.transact(|db| create(db, key, &entry, once))
    }

    async fn revoke_key(&self, id: KeyId, now: Timestamp, entry: AuditEntry) -> Result<Option<ApiKey>> {
        self.transact(|db| revoke(db, id, now, &entry))
    }

    async fn rotate_key(
        &self,
        id: KeyId,
        successor: Successor,
        entry: AuditEntry,
        once: Option<Once<ApiKey>>,
    ) -> Result<Rotated> {
        self.transact(|db| rotate(db, id, &successor, &entry, once))
    }

    async fn keys(&self) -> Result<Vec<ApiKey>> {
        self.transact(all)
    }

    async fn keys_changed(&self, after: u64) -> Result<KeyChanges> {
        self.transact(|db| changed(db, after))
    }

    async fn touch_keys(&self, used: Vec<(KeyId, Timestamp)>) -> Result<()> {
        self.transact(|db| touch(db, &used))
    }

    async fn note(&self, entries: Vec<AuditEntry>, forgotten: Timestamp) -> Result<()> {
        self.transact(|db| note(db, &entries, forgotten))
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        self.transact(|db| audit(db, limit))
    }

    async fn spend(&self, spent: Vec<(Owner, u64)>, day: i64) -> Result<()> {
        self.transact(|db| spend(db, &spent, day))
    }

    async fn spent(&self, day: i64) -> Result<Vec<(Owner, u64)>> {
        self.transact(|db| spent_on(db, day))
    }
}

const COLUMNS: &str = "id, owner_id, environment, name, digest, scopes, requests_per_s, messages_per_min,
                       pending_replies, tokens_per_day, created_at, expires_at, revoked_at, last_used_at";

pub(super) fn create(
    db: &Connection,
    key: ApiKey,
    entry: &AuditEntry,
    once: Option<Once<ApiKey>>,
) -> Result<ApiKey> {
    insert(db, &key)?;
    insert_entry(db, entry)?;
    once::remember(db, once, &key)?;
    Ok(key)
}

fn insert(db: &Connection, key: &ApiKey) -> Result<()> {
    let row = KeyRow::from(key);
    // create_key, rotate_key
    db.prepare_cached(&format!(
        "INSERT INTO api_keys ({COLUMNS}, changed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                 (SELECT coalesce(max(changed), 0) + 1 FROM api_keys))"
    ))?
    .execute(rusqlite::params![
        row.id.as_bytes(),
        row.owner.as_bytes(),
        row.environment,
        row.name,
        row.digest,
        row.scopes,
        row.requests_per_s,
        row.messages_per_min,
        row.pending_replies,
        row.tokens_per_day,
        row.created,
        row.expires,
        row.revoked,
        row.last_used,
    ])?;
    Ok(())
}

pub(super) fn revoke(
    db: &Connection,
    id: KeyId,
    now: Timestamp,
    entry: &AuditEntry,
) -> Result<Option<ApiKey>> {
    // revoke_key
    let revoked = db
        .prepare_cached(
            "UPDATE api_keys SET revoked_at = ?2, changed = (SELECT max(changed) + 1 FROM api_keys)
             WHERE id = ?1 AND revoked_at IS NULL",
        )?
        .execute((id.as_uuid().as_bytes(), now.as_micros()))?;
    if revoked == 1 {
        insert_entry(db, entry)?;
    }
    find(db, id)
}

pub(super) fn rotate(
    db: &Connection,
    id: KeyId,
    successor: &Successor,
    entry: &AuditEntry,
    once: Option<Once<ApiKey>>,
) -> Result<Rotated> {
    // What it would take over may have been taken over by itself.
    once::refuse_repeated(db, once.as_ref())?;
    let Some(key) = find(db, id)? else {
        return Ok(Rotated::NoKey);
    };
    let Some(new) = successor.of(&key) else {
        return Ok(Rotated::NotActive);
    };
    // rotate_key: the old one
    db.prepare_cached(
        "UPDATE api_keys SET expires_at = min(coalesce(expires_at, ?2), ?2),
                             changed = (SELECT max(changed) + 1 FROM api_keys)
         WHERE id = ?1",
    )?
    .execute((
        id.as_uuid().as_bytes(),
        successor.now.after(successor.overlap).as_micros(),
    ))?;
    insert(db, &new)?;
    insert_entry(db, entry)?;
    once::remember(db, once, &new)?;
    Ok(Rotated::Made(new))
}

fn find(db: &Connection, id: KeyId) -> Result<Option<ApiKey>> {
    // revoke_key, rotate_key
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE id = ?"))?;
    let mut rows = select.query([id.as_uuid().as_bytes()])?;
    rows.next()?.map(from_row).transpose()
}

pub(super) fn all(db: &Connection) -> Result<Vec<ApiKey>> {
    // keys
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys ORDER BY created_at, id"))?;
    collect(select.query(())?)
}

pub(super) fn changed(db: &Connection, after: u64) -> Result<KeyChanges> {
    // keys_changed
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, changed FROM api_keys WHERE changed > ? ORDER BY changed"
    ))?;
    let mut rows = select.query([after])?;
    let mut changes = KeyChanges {
        keys: Vec::new(),
        last: after,
    };
    while let Some(row) = rows.next()? {
        changes.keys.push(from_row(row)?);
        changes.last = row.get(14)?;
    }
    Ok(changes)
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Result<Vec<ApiKey>> {
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(from_row(row)?);
    }
    Ok(keys)
}

fn from_row(row: &Row<'_>) -> Result<ApiKey> {
    let row = KeyRow {
        id: Uuid::from_bytes(row.get(0)?),
        owner: Uuid::from_bytes(row.get(1)?),
        environment: row.get(2)?,
        name: row.get(3)?,
        digest: row.get(4)?,
        scopes: row.get(5)?,
        requests_per_s: row.get(6)?,
        messages_per_min: row.get(7)?,
        pending_replies: row.get(8)?,
        tokens_per_day: row.get(9)?,
        created: row.get(10)?,
        expires: row.get(11)?,
        revoked: row.get(12)?,
        last_used: row.get(13)?,
    };
    row.try_into()
}

pub(super) fn touch(db: &Connection, used: &[(KeyId, Timestamp)]) -> Result<()> {
    // touch_keys
    let mut update = db.prepare_cached(
        "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, ?2), ?2) WHERE id = ?1",
    )?;
    for (id, at) in used {
        update.execute((id.as_uuid().as_bytes(), at.as_micros()))?;
    }
    Ok(())
}

pub(super) fn note(db: &Connection, entries: &[AuditEntry], forgotten: Timestamp) -> Result<()> {
    for entry in entries {
        insert_entry(db, entry)?;
    }
    // note
    db.prepare_cached("DELETE FROM key_audit WHERE at < ?")?
        .execute([forgotten.as_micros()])?;
    Ok(())
}

fn insert_entry(db: &Connection, entry: &AuditEntry) -> Result<()> {
    // create_key, revoke_key, rotate_key, note
    db.prepare_cached(
        "INSERT INTO key_audit (id, at, event, key_id, actor, address, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        entry.id.as_bytes(),
        entry.at.as_micros(),
        entry.what.as_str(),
        entry.key.map(|key| *key.as_uuid().as_bytes()),
        entry.by.to_string(),
        entry.address.as_deref(),
        entry.count,
    ))?;
    Ok(())
}

pub(super) fn audit(db: &Connection, limit: usize) -> Result<Vec<AuditEntry>> {
    // audit
    let mut select = db.prepare_cached(
        "SELECT id, at, event, key_id, actor, address, count FROM key_audit ORDER BY at DESC, id DESC LIMIT ?",
    )?;
    let mut rows = select.query([limit])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(AuditEntry {
            id: Uuid::from_bytes(row.get(0)?),
            at: Timestamp::from_micros(row.get(1)?),
            what: keys::audited(&row.get::<_, String>(2)?)?,
            key: row
                .get::<_, Option<[u8; 16]>>(3)?
                .and_then(|id| KeyId::from_uuid(Uuid::from_bytes(id))),
            by: keys::actor(&row.get::<_, String>(4)?)?,
            address: row.get(5)?,
            count: row.get(6)?,
        });
    }
    Ok(entries)
}

pub(super) fn spend(db: &Connection, spent: &[(Owner, u64)], day: i64) -> Result<()> {
    // spend: the operator's is kept under zeros
    let mut add = db.prepare_cached(
        "INSERT INTO key_usage (owner_id, day, tokens)
         VALUES (coalesce(?1, zeroblob(16)), ?2, ?3)
         ON CONFLICT (owner_id, day) DO UPDATE SET tokens = tokens + excluded.tokens",
    )?;
    for (owner, tokens) in spent {
        add.execute((owner_column(*owner), day, tokens))?;
    }
    Ok(())
}

pub(super) fn spent_on(db: &Connection, day: i64) -> Result<Vec<(Owner, u64)>> {
    // spent
    let mut select = db.prepare_cached("SELECT owner_id, tokens FROM key_usage WHERE day = ?")?;
    let spent = select.query_map([day], |row| {
        Ok((keys::owner(Some(Uuid::from_bytes(row.get(0)?))), row.get(1)?))
    })?;
    Ok(spent.collect::<rusqlite::Result<_>>()?)
}

/// Whose something is, by a column that says so.
pub(super) fn owner(row: &Row<'_>, column: usize) -> Result<Owner> {
    let id = row.get::<_, Option<[u8; 16]>>(column)?;
    Ok(keys::owner(id.map(Uuid::from_bytes)))
}

/// As a column keeps whose something is.
pub(super) fn owner_column(owner: Owner) -> Option<[u8; 16]> {
    owner.first_key().map(|key| *key.as_uuid().as_bytes())
}

/// Whose a conversation is; `None` when there is none.
pub(super) fn owner_of(db: &Connection, id: ConversationId) -> Result<Option<Owner>> {
    // owner
    let mut select = db.prepare_cached("SELECT owner_id FROM conversations WHERE id = ?")?;
    let found: Option<Option<[u8; 16]>> = select.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    Ok(found.map(|id| keys::owner(id.map(Uuid::from_bytes))))
}
