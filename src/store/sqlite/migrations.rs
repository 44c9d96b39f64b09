//! Schema changes: numbered SQL files, each with an optional step in Rust, applied in one transaction.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::OpenError;
use crate::{
    clock::Clock,
    model::{Timestamp, fold},
};

struct Migration {
    version: u32,
    name: &'static str,
    /// The oldest program, by the last migration it knows, that can still work with this schema.
    needs: u32,
    sql: &'static str,
    /// What SQL cannot do.
    step: Option<fn(&Transaction<'_>) -> rusqlite::Result<()>>,
}

macro_rules! migration {
    ($version:literal, $name:literal, needs $needs:literal, $step:expr) => {
        Migration {
            version: $version,
            name: $name,
            needs: $needs,
            sql: include_str!(concat!("../../../migrations/sqlite/", $name, ".sql")),
            step: $step,
        }
    };
}

const MIGRATIONS: [Migration; 4] = [
    migration!(1, "0001_conversations_and_messages", needs 1, None),
    migration!(2, "0002_role_and_title", needs 1, None),
    migration!(3, "0003_order_counts_and_search", needs 3, Some(fold_texts)),
    migration!(4, "0004_replies", needs 4, None),
];

/// The last migration this program knows.
pub const LATEST: u32 = 4;

const _: () = assert!(
    MIGRATIONS.len() == LATEST as usize,
    "LATEST is the number of the last migration"
);

/// A migration, and when it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationState {
    /// Its number.
    pub version: u32,
    /// Its name, number included.
    pub name: String,
    /// When it was applied; `None` when it is still to be.
    pub applied: Option<Timestamp>,
}

pub(super) fn status(db: &Connection) -> Result<Vec<MigrationState>, OpenError> {
    let known = MIGRATIONS.iter().map(|migration| MigrationState {
        version: migration.version,
        name: migration.name.to_owned(),
        applied: None,
    });
    let mut states: Vec<_> = known.collect();
    if !has_history(db)? {
        return Ok(states);
    }
    let mut rows = db.prepare("SELECT version, name, applied_at FROM schema_migrations ORDER BY version")?;
    let applied = rows.query_map((), |row| {
        Ok(MigrationState {
            version: row.get(0)?,
            name: row.get(1)?,
            applied: Some(Timestamp::from_micros(row.get(2)?)),
        })
    })?;
    for state in applied {
        let state = state?;
        match states.iter_mut().find(|known| known.version == state.version) {
            Some(known) => *known = state,
            None => states.push(state),
        }
    }
    Ok(states)
}

/// Applies what is missing. Two that try at once take turns: each looks again inside its transaction.
pub(super) fn apply(db: &mut Connection) -> Result<Vec<MigrationState>, OpenError> {
    let failed = |version| move |cause| OpenError::Migration { version, cause };
    // Tables are rebuilt here, which foreign keys would take for deletions; they are checked before each commit.
    db.pragma_update(None, "foreign_keys", false)?;
    let mut applied = Vec::new();
    refuse_too_new(db)?;
    for migration in &MIGRATIONS {
        let tx = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed(migration.version))?;
        refuse_too_new(&tx)?;
        if current(&tx)? >= migration.version {
            continue;
        }
        let now = Clock::system().now();
        run(&tx, migration, now).map_err(failed(migration.version))?;
        tx.commit().map_err(failed(migration.version))?;
        tracing::info!(migration = migration.name, "the schema was changed");
        let state = MigrationState {
            version: migration.version,
            name: migration.name.to_owned(),
            applied: Some(now),
        };
        applied.push(state);
    }
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(applied)
}

fn run(tx: &Transaction<'_>, migration: &Migration, now: Timestamp) -> rusqlite::Result<()> {
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version    INTEGER NOT NULL PRIMARY KEY,
             name       TEXT    NOT NULL,
             applied_at INTEGER NOT NULL,
             -- The oldest program, by the last migration it knows, that can work with this schema.
             needs      INTEGER NOT NULL
         ) STRICT",
    )?;
    tx.execute_batch(migration.sql)?;
    if let Some(step) = migration.step {
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

fn current(db: &Connection) -> rusqlite::Result<u32> {
    if !has_history(db)? {
        return Ok(0);
    }
    db.query_row(
        "SELECT coalesce(max(version), 0) FROM schema_migrations",
        (),
        |row| row.get(0),
    )
}

fn refuse_too_new(db: &Connection) -> Result<(), OpenError> {
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
