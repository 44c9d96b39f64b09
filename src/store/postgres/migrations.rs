//! Schema changes: numbered SQL files, each with an optional step in Rust, applied in one transaction.
//!
//! Nodes that start at once take turns under an advisory lock. A change waits a moment only for the tables that it
//! changes: whoever comes after it would wait behind it.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::sleep;
use uuid::Uuid;

use super::{OpenError, connection::Session, error::Problem};
use crate::{
    clock::Clock,
    model::{Timestamp, fold},
    store::{
        Error,
        schema::{self, LATEST, MIGRATIONS, Migration, MigrationState},
    },
};

/// "Engm": the advisory lock of those who change the schema.
const LOCK: i64 = 0x456e_676d;

/// How long a change waits for a table, how often it tries, and the pause in between, in which others get theirs.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// What SQL cannot do.
type Step = for<'a> fn(&'a Session) -> BoxFuture<'a, Result<(), Problem>>;

macro_rules! script {
    ($name:literal, $step:expr) => {
        (
            $name,
            include_str!(concat!("../../../migrations/postgres/", $name, ".sql")),
            $step,
        )
    };
}

/// Each migration's name, its SQL, and a step in Rust that follows.
const SCRIPTS: [(&str, &str, Option<Step>); MIGRATIONS.len()] = [
    script!("0001_conversations_and_messages", None),
    script!("0002_role_and_title", None),
    script!("0003_order_counts_and_search", Some(fold_texts)),
    script!("0004_replies", None),
    script!("0005_purges", None),
    script!("0006_copies", None),
    script!("0007_events", None),
    script!("0008_keys", None),
    script!("0009_traces", None),
];

pub(super) async fn status(db: &Session) -> Result<Vec<MigrationState>, OpenError> {
    if !has_history(db).await? {
        return Ok(schema::history(Vec::new()));
    }
    let rows = db
        .rows(
            "SELECT version, name, applied_at FROM schema_migrations ORDER BY version",
            &[],
        )
        .await?;
    let applied = rows.iter().map(|row| {
        Ok(MigrationState {
            version: u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or(u32::MAX),
            name: row.try_get(1)?,
            applied: Some(Timestamp::from_micros(row.try_get(2)?)),
        })
    });
    let applied: Vec<_> = applied.collect::<Result<_, Problem>>()?;
    Ok(schema::history(applied))
}

/// Applies what is missing, alone.
pub(super) async fn apply(db: &Session) -> Result<Vec<MigrationState>, OpenError> {
    refuse_too_new(db).await?;
    db.rows("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let applied = apply_alone(db).await?;
    // After an error the session ends, and its locks with it.
    db.rows("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(applied)
}

async fn apply_alone(db: &Session) -> Result<Vec<MigrationState>, OpenError> {
    refuse_too_new(db).await?;
    let current = current(db).await?;
    let mut applied = Vec::new();
    for (migration, (_, sql, step)) in MIGRATIONS.iter().zip(SCRIPTS) {
        if migration.version <= current {
            continue;
        }
        let now = Clock::system().now();
        let mut tries = 1;
        loop {
            match db.transaction(run(db, migration, sql, step, now)).await {
                Ok(()) => break,
                Err(Problem::Refused(Error::Unavailable(reason)) | Problem::Clash(reason))
                    if tries < TRIES =>
                {
                    tracing::info!(
                        migration = migration.name,
                        reason,
                        "changing the schema has to wait"
                    );
                    tries += 1;
                    sleep(PAUSE).await;
                }
                // Whether it was applied shows when the server is back.
                Err(Problem::Lost(reason)) => return Err(Problem::Lost(reason).into()),
                Err(problem) if problem.forbidden().is_some() => return Err(problem.into()),
                Err(problem) => {
                    return Err(OpenError::Migration {
                        version: migration.version,
                        cause: Error::from(problem).to_string(),
                    });
                }
            }
        }
        tracing::info!(migration = migration.name, "the schema was changed");
        applied.push(migration.state(Some(now)));
    }
    Ok(applied)
}

async fn run(
    db: &Session,
    migration: &Migration,
    sql: &str,
    step: Option<Step>,
    now: Timestamp,
) -> Result<(), Problem> {
    db.batch(LOCK_TIMEOUT).await?;
    db.batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version    bigint NOT NULL PRIMARY KEY,
             name       text   NOT NULL,
             applied_at bigint NOT NULL,
             -- The oldest program, by the last migration it knows, that can work with this schema.
             needs      bigint NOT NULL
         )",
    )
    .await?;
    db.batch(sql).await?;
    if let Some(step) = step {
        step(db).await?;
    }
    db.execute(
        "INSERT INTO schema_migrations (version, name, applied_at, needs) VALUES ($1, $2, $3, $4)",
        &[
            &i64::from(migration.version),
            &migration.name,
            &now.as_micros(),
            &i64::from(migration.needs),
        ],
    )
    .await?;
    Ok(())
}

async fn has_history(db: &Session) -> Result<bool, Problem> {
    let row = db
        .row("SELECT to_regclass('schema_migrations') IS NOT NULL", &[])
        .await?;
    row.map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

async fn current(db: &Session) -> Result<u32, Problem> {
    if !has_history(db).await? {
        return Ok(0);
    }
    newest(db, "SELECT coalesce(max(version), 0) FROM schema_migrations").await
}

async fn newest(db: &Session, sql: &'static str) -> Result<u32, Problem> {
    let row = db.row(sql, &[]).await?;
    let number: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

async fn refuse_too_new(db: &Session) -> Result<(), OpenError> {
    if !has_history(db).await? {
        return Ok(());
    }
    let needs = newest(db, "SELECT coalesce(max(needs), 0) FROM schema_migrations").await?;
    if needs > LATEST {
        Err(OpenError::TooNew { needs })
    } else {
        Ok(())
    }
}

/// Fills the folded text of messages that were stored before there was one.
fn fold_texts(db: &Session) -> BoxFuture<'_, Result<(), Problem>> {
    async move {
        for row in db.rows("SELECT id, text FROM messages", &[]).await? {
            let (id, text): (Uuid, String) = (row.try_get(0)?, row.try_get(1)?);
            let folded = fold(&text);
            if folded != text {
                db.execute("UPDATE messages SET folded = $2 WHERE id = $1", &[&id, &&*folded])
                    .await?;
            }
        }
        Ok(())
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_has_its_own_script() {
        let names = MIGRATIONS.iter().map(|migration| migration.name);
        assert!(names.eq(SCRIPTS.iter().map(|(name, _, _)| *name)));
    }
}
