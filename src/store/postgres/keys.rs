//! API keys, for the service and for the command line beside it.

use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::Mutex;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    OpenError, Options, audit,
    connection::Session,
    error::Problem,
    once,
    open::{self, prepare},
};
use crate::{
    model::{ApiKey, AuditEntry, KeyId, Owner, Rotated, Successor, Timestamp},
    store::{
        KeyChanges, KeyStore, Once, Result,
        keys::{self, KeyRow},
    },
};

/// "Engk": the advisory lock of those who change keys. Changes are read by their numbers, so they become visible in the
/// order of their numbers.
const LOCK: i64 = 0x456e_676b;

/// How long a command waits, for locks and for answers.
const PATIENCE: &str = "SET statement_timeout = '10s'; SET lock_timeout = '8s'";

/// The keys of a database that nodes may be using.
pub struct PostgresKeys(Mutex<open::Once>);

impl PostgresKeys {
    /// Opens the database for one command, and brings its schema up to date.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let once = prepare(options).await?;
        match once.session.batch(PATIENCE).await {
            Ok(()) => Ok(Self(Mutex::new(once))),
            Err(problem) => {
                once.close().await;
                Err(problem.into())
            }
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.0.into_inner().close().await;
    }

    async fn transact<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'a> FnOnce(&'a Session) -> BoxFuture<'a, Result<T, Problem>>,
    {
        let once = self.0.lock().await;
        Ok(once.session.transaction(work(&once.session)).await?)
    }
}

#[async_trait]
impl KeyStore for PostgresKeys {
    async fn create_key(&self, key: ApiKey, entry: AuditEntry, once: Option<Once<ApiKey>>) -> Result<ApiKey> {
        self.transact(|db| create(db, key, entry, once).boxed()).await
    }

    async fn revoke_key(&self, id: KeyId, now: Timestamp, entry: AuditEntry) -> Result<Option<ApiKey>> {
        self.transact(|db| revoke(db, id, now, entry).boxed()).await
    }

    async fn rotate_key(
        &self,
        id: KeyId,
        successor: Successor,
        entry: AuditEntry,
        once: Option<Once<ApiKey>>,
    ) -> Result<Rotated> {
        self.transact(|db| rotate(db, id, successor, entry, once).boxed())
            .await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>> {
        let rows = self.transact(|db| db.rows(ALL, &[]).boxed()).await?;
        all(&rows)
    }

    async fn keys_changed(&self, after: u64) -> Result<KeyChanges> {
        let number = number(after);
        let rows = self
            .transact(|db| async move { db.rows(CHANGED, &[&number]).await }.boxed())
            .await?;
        changes(&rows, after)
    }

    async fn touch_keys(&self, used: Vec<(KeyId, Timestamp)>) -> Result<()> {
        self.transact(|db| touch(db, used).boxed()).await
    }

    async fn note(&self, entries: Vec<AuditEntry>, forgotten: Timestamp) -> Result<()> {
        self.transact(|db| audit::note(db, entries, forgotten).boxed())
            .await
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        let limit = most(limit);
        let rows = self
            .transact(|db| async move { db.rows(audit::NEWEST, &[&limit]).await }.boxed())
            .await?;
        audit::entries(&rows)
    }

    async fn spend(&self, spent: Vec<(Owner, u64)>, day: i64) -> Result<()> {
        self.transact(|db| spend(db, spent, day).boxed()).await
    }

    async fn spent(&self, day: i64) -> Result<Vec<(Owner, u64)>> {
        let rows = self
            .transact(|db| async move { db.rows(SPENT, &[&day]).await }.boxed())
            .await?;
        usage(&rows)
    }
}

macro_rules! columns {
    () => {
        "id, owner_id, environment, name, digest, scopes, requests_per_s, messages_per_min, pending_replies,
                    tokens_per_day, created_at, expires_at, revoked_at, last_used_at"
    };
}

/// By the index of changes, which every key is in.
pub(super) const ALL: &str = concat!(
    "-- keys
             SELECT ",
    columns!(),
    " FROM api_keys WHERE changed > 0 ORDER BY created_at, id"
);

pub(super) const CHANGED: &str = concat!(
    "-- keys_changed
             SELECT ",
    columns!(),
    ", changed FROM api_keys WHERE changed > $1 ORDER BY changed"
);

pub(super) const SPENT: &str = "-- spent
             SELECT owner_id, tokens FROM key_usage WHERE day = $1";

/// Keeps everybody else from changing keys until the transaction ends.
async fn lock(db: &Session) -> Result<(), Problem> {
    db.row(
        "-- create_key, revoke_key, rotate_key: one after the other
         SELECT pg_advisory_xact_lock($1)",
        &[&LOCK],
    )
    .await?;
    Ok(())
}

pub(super) async fn create(
    db: &Session,
    key: ApiKey,
    entry: AuditEntry,
    once: Option<Once<ApiKey>>,
) -> Result<ApiKey, Problem> {
    lock(db).await?;
    insert(db, &key).await?;
    audit::insert(db, &[entry], None).await?;
    once::remember(db, once, &key).await?;
    Ok(key)
}

async fn insert(db: &Session, key: &ApiKey) -> Result<(), Problem> {
    let row = KeyRow::from(key);
    db.execute(
        concat!(
            "-- create_key, rotate_key
             INSERT INTO api_keys (",
            columns!(),
            ", changed)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
                    (SELECT coalesce(max(changed), 0) + 1 FROM api_keys)"
        ),
        &[
            &row.id,
            &row.owner,
            &row.environment,
            &row.name,
            &row.digest,
            &row.scopes,
            &row.requests_per_s,
            &row.messages_per_min,
            &row.pending_replies,
            &row.tokens_per_day,
            &row.created,
            &row.expires,
            &row.revoked,
            &row.last_used,
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn revoke(
    db: &Session,
    id: KeyId,
    now: Timestamp,
    entry: AuditEntry,
) -> Result<Option<ApiKey>, Problem> {
    lock(db).await?;
    let revoked = db
        .execute(
            "-- revoke_key
             UPDATE api_keys SET revoked_at = $2, changed = (SELECT max(changed) + 1 FROM api_keys)
             WHERE id = $1 AND revoked_at IS NULL",
            &[&id.as_uuid(), &now.as_micros()],
        )
        .await?;
    if revoked == 1 {
        audit::insert(db, &[entry], None).await?;
    }
    find(db, id).await
}

pub(super) async fn rotate(
    db: &Session,
    id: KeyId,
    successor: Successor,
    entry: AuditEntry,
    once: Option<Once<ApiKey>>,
) -> Result<Rotated, Problem> {
    lock(db).await?;
    // What it would take over may have been taken over by itself.
    once::refuse_repeated(db, once.as_ref()).await?;
    let Some(key) = find(db, id).await? else {
        return Ok(Rotated::NoKey);
    };
    let Some(new) = successor.of(&key) else {
        return Ok(Rotated::NotActive);
    };
    db.execute(
        "-- rotate_key: the old one
         UPDATE api_keys SET expires_at = least(expires_at, $2), changed = (SELECT max(changed) + 1 FROM api_keys)
         WHERE id = $1",
        &[&id.as_uuid(), &successor.now.after(successor.overlap).as_micros()],
    )
    .await?;
    insert(db, &new).await?;
    audit::insert(db, &[entry], None).await?;
    once::remember(db, once, &new).await?;
    Ok(Rotated::Made(new))
}

async fn find(db: &Session, id: KeyId) -> Result<Option<ApiKey>, Problem> {
    let row = db
        .row(
            concat!(
                "-- revoke_key, rotate_key: the key
             SELECT ",
                columns!(),
                " FROM api_keys WHERE id = $1"
            ),
            &[&id.as_uuid()],
        )
        .await?;
    row.as_ref().map(from_row).transpose()
}

pub(super) fn all(rows: &[Row]) -> Result<Vec<ApiKey>> {
    rows.iter().map(|row| Ok(from_row(row)?)).collect()
}

pub(super) fn changes(rows: &[Row], after: u64) -> Result<KeyChanges> {
    let last = match rows.last() {
        Some(row) => unsigned(row, 14)?,
        None => after,
    };
    Ok(KeyChanges {
        keys: all(rows)?,
        last,
    })
}

fn from_row(row: &Row) -> Result<ApiKey, Problem> {
    let row = KeyRow {
        id: row.try_get(0)?,
        owner: row.try_get(1)?,
        environment: row.try_get(2)?,
        name: row.try_get(3)?,
        digest: row.try_get(4)?,
        scopes: row.try_get(5)?,
        requests_per_s: row.try_get(6)?,
        messages_per_min: row.try_get(7)?,
        pending_replies: row.try_get(8)?,
        tokens_per_day: row.try_get(9)?,
        created: row.try_get(10)?,
        expires: row.try_get(11)?,
        revoked: row.try_get(12)?,
        last_used: row.try_get(13)?,
    };
    Ok(row.try_into()?)
}

pub(super) async fn touch(db: &Session, used: Vec<(KeyId, Timestamp)>) -> Result<(), Problem> {
    let ids: Vec<_> = used.iter().map(|(id, _)| id.as_uuid()).collect();
    let dates: Vec<_> = used.iter().map(|(_, at)| at.as_micros()).collect();
    db.execute(
        "-- touch_keys: in the order of their ids, so that no two nodes wait for each other
         WITH used AS MATERIALIZED (
             SELECT id, max(at) AS at FROM unnest($1::uuid[], $2::bigint[]) AS used (id, at) GROUP BY id ORDER BY id
         ), known AS MATERIALIZED (
             SELECT id, at FROM used JOIN api_keys USING (id) ORDER BY id FOR UPDATE OF api_keys
         )
         UPDATE api_keys SET last_used_at = at FROM known
         WHERE api_keys.id = known.id AND (last_used_at >= at) IS NOT TRUE",
        &[&ids, &dates],
    )
    .await?;
    Ok(())
}

pub(super) async fn spend(db: &Session, spent: Vec<(Owner, u64)>, day: i64) -> Result<(), Problem> {
    let owners: Vec<_> = spent.iter().map(|(owner, _)| owner_column(*owner)).collect();
    let tokens: Vec<_> = spent.iter().map(|(_, tokens)| number(*tokens)).collect();
    db.execute(
        "-- spend: the operator's is kept under zeros. In the order of the owners, so that no two nodes wait for each other
         INSERT INTO key_usage (owner_id, day, tokens)
         SELECT coalesce(owner_id, '00000000-0000-0000-0000-000000000000') AS owner, $3, sum(tokens)::bigint
         FROM unnest($1::uuid[], $2::bigint[]) AS spent (owner_id, tokens)
         GROUP BY owner ORDER BY owner
         ON CONFLICT (owner_id, day) DO UPDATE SET tokens = key_usage.tokens + excluded.tokens",
        &[&owners, &tokens, &day],
    )
    .await?;
    Ok(())
}

pub(super) fn usage(rows: &[Row]) -> Result<Vec<(Owner, u64)>> {
    let spent = rows.iter().map(|row| {
        let owner = row.try_get(0).map_err(Problem::from)?;
        Ok((keys::owner(Some(owner)), unsigned(row, 1)?))
    });
    spent.collect()
}

/// As a column keeps whose something is.
pub(super) fn owner_column(owner: Owner) -> Option<Uuid> {
    owner.first_key().map(KeyId::as_uuid)
}

/// Reads a number that is never below zero.
pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64> {
    let number: i64 = row.try_get(column).map_err(Problem::from)?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// As a column keeps a number.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As many rows as a statement may be asked for.
pub(super) fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
