//! Schema changes: numbered SQL files, each with an optional step in Rust, applied in one transaction.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::OpenError;
use crate::{
    clock::Clock,
    model::{Timestamp, fold},
    store::schema::{self, LATEST, MIGRATIONS, Migration, MigrationState},
};

/// What SQL cannot do.
type Step = fn(&Transaction<'_>) -> rusqlite::Result<()>;

macro_rules! script {
    ($name:literal, $step:expr) => {
        (
            $name,
            include_str!(concat!("../../../migrations/sqlite/", $name, ".sql")),
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

pub(super) fn status(db: &Connection) -> Result<Vec<MigrationState>, OpenError> {
    if !has_history(db)? {
        return Ok(schema::history(Vec::new()));
    }
    let mut rows = db.prepare("SELECT version, name, applied_at FROM schema_migrations ORDER BY version")?;
    let applied = rows.query_map((), |row| {
        Ok(MigrationState {
            version: row.get(0)?,
            name: row.get(1)?,
            applied: Some(Timestamp::from_micros(row.get(2)?)),
        })
    })?;
    Ok(schema::history(applied.collect::<rusqlite::Result<_>>()?))
}

/// Applies what is missing. Two that try at once take turns: each looks again inside its transaction.
pub(super) fn apply(db: &mut Connection) -> Result<Vec<MigrationState>, OpenError> {
    let failed = |version| move |cause| OpenError::Migration { version, cause };
    // Tables are rebuilt here, which foreign keys would take for deletions; they are checked before each commit.
    db.pragma_update(None, "foreign_keys", false)?;
    let mut applied = Vec::new();
    refuse_too_new(db)?;
    for (migration, (_, sql, step)) in MIGRATIONS.iter().zip(SCRIPTS) {
        let tx = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed(migration.version))?;
        refuse_too_new(&tx)?;
        if current(&tx)? >= migration.version {
            continue;
        }
        let now = Clock::system().now();
        run(&tx, migration, sql, step, now).map_err(failed(migration.version))?;
        tx.commit().map_err(failed(migration.version))?;
        tracing::info!(migration = migration.name, "the schema was changed");
        applied.push(migration.state(Some(now)));
    }
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(applied)
}

fn run(
    tx: &Transaction<'_>,
    migration: &Migration,
    sql: &str,
    step: Option<Step>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version    INTEGER NOT NULL PRIMARY KEY,
             name       TEXT    NOT NULL,
             applied_at INTEGER NOT NULL,
             -- The oldest program, by the last migration it knows, that can work with this schema.
             needs      INTEGER NOT NULL
         ) STRICT",
    )?;
    tx.execute_batch(sql)?;
    if let Some(step) = step {
        step(tx)?;
    }
    let orphan: Option<String> = tx
        .query_row("PRAGMA foreign_key_check", (), |row| row.get(0))
        .optional()?;
    if let Some(table) = orphan {
        let problem = format!("a row of {table} refers to one that does not exist");
        return Err(rusqlite::Error::ToSqlConversionFailure(problem.into()));
    }
    tx.execute(
        "INSERT INTO schema_migrations (version, name, applied_at, needs) VALUES (?, ?, ?, ?)",
        (
            migration.version,
            migration.name,
            now.as_micros(),
            migration.needs,
        ),
    )?;
    Ok(())
}

fn has_history(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'",
        (),
        |row| row.get(0),
    )
}

/// The last migration that was applied, 0 if there is none.
pub(super) fn current(db: &Connection) -> rusqlite::Result<u32> {
    if !has_history(db)? {
        return Ok(0);
    }
    db.query_row(
        "SELECT coalesce(max(version), 0) FROM schema_migrations",
        (),
        |row| row.get(0),
    )
}

/// Refuses a schema that this program cannot work with.
pub(super) fn refuse_too_new(db: &Connection) -> Result<(), OpenError> {
    if !has_history(db)? {
        return Ok(());
    }
    let needs: u32 = db.query_row(
        "SELECT coalesce(max(needs), 0) FROM schema_migrations",
        (),
        |row| row.get(0),
    )?;
    if needs > LATEST {
        Err(OpenError::TooNew { needs })
    } else {
        Ok(())
    }
}

/// Fills the folded text of messages that were stored before there was one.
fn fold_texts(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut update = tx.prepare("UPDATE messages SET folded = ? WHERE rowid = ?")?;
    let mut texts = tx.prepare("SELECT rowid, text FROM messages")?;
    let mut rows = texts.query(())?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(1)?;
        let folded = fold(&text);
        if folded != text {
            update.execute((folded, row.get::<_, i64>(0)?))?;
        }
    }
    Ok(())
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
