//! This database as one side of a copy.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{
    Connection, OptionalExtension, ToSql, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use uuid::Uuid;

use super::{
    connection, migrations,
    open::{self, OpenError, ServerLock},
    tables,
};
use crate::{
    model::Timestamp,
    store::{
        Error, Result,
        copy::{Archive, BATCH_BYTES, BATCH_ROWS, CopyRecord, Kind, Place, Row, Table, Target, Value},
        schema,
    },
};

/// How long a write waits for somebody with a shell.
const BUSY: Duration = Duration::from_secs(30);

/// A copy walks through indexes that a service only looks into, so it may hold more of them in memory.
const CACHE: &str = "PRAGMA cache_size = -65536";

/// A file that no server uses meanwhile.
pub struct SqliteArchive {
    db: Arc<Mutex<Connection>>,
    name: String,
    _lock: ServerLock,
}

/// The name of a database, the same whatever path leads to it.
pub fn copy_name(path: &Path) -> Result<String, OpenError> {
    Ok(format!("sqlite:{}", open::resolve(path)?.display()))
}

impl SqliteArchive {
    /// Opens the database to read it as it is now, whatever others may still do to it.
    pub fn to_read(path: &Path) -> Result<Self, OpenError> {
        let path = open::existing(path)?;
        let lock = ServerLock::take(&path)?;
        let db = open::ours(&path, connection::reading(&path, BUSY))?;
        db.execute_batch(CACHE)?;
        // One transaction from the first read to the last: one snapshot.
        db.execute_batch("BEGIN")?;
        schema::refuse_other(&migrations::status(&db)?).map_err(OpenError::OtherSchema)?;
        open::refuse_unfinished_in(&db)?;
        Self::new(db, &path, lock)
    }

    /// Opens the database to fill it, creates it when it is missing, and brings its schema up to date.
    pub fn to_fill(path: &Path) -> Result<Self, OpenError> {
        let lock = ServerLock::take(path)?;
        open::migrate(path)?;
        let db = connection::writing(path, BUSY)?;
        db.execute_batch(CACHE)?;
        Self::new(db, path, lock)
    }

    fn new(db: Connection, path: &Path, lock: ServerLock) -> Result<Self, OpenError> {
        Ok(Self {
            db: Arc::new(Mutex::new(db)),
            name: copy_name(path)?,
            _lock: lock,
        })
    }

    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let db = Arc::clone(&self.db);
        let run = move || work(&db.lock().unwrap_or_else(PoisonError::into_inner));
        let ran = tokio::task::spawn_blocking(run).await;
        ran.map_err(|cause| Error::Other(cause.into()))?
    }
}

#[async_trait]
impl Archive for SqliteArchive {
    fn name(&self) -> &str {
        &self.name
    }

    async fn rows(&self, table: Table, from: Place) -> Result<Vec<Row>> {
        self.run(move |db| {
            let mut select = db.prepare_cached(tables::select(table))?;
            let mut found = if table.is_numbered() {
                select.query((from.id.as_bytes(), from.seq))?
            } else {
                select.query((from.id.as_bytes(),))?
            };
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while rows.len() < BATCH_ROWS
                && bytes < BATCH_BYTES
                && let Some(found) = found.next()?
            {
                let row = read(table, found)?;
                bytes += row.iter().map(Value::size).sum::<usize>();
                rows.push(row);
            }
            Ok(rows)
        })
        .await
    }

    async fn count(&self, table: Table) -> Result<u64> {
        self.run(move |db| Ok(db.query_row(tables::count(table), (), |row| row.get(0))?))
            .await
    }

    async fn last_copy(&self) -> Result<Option<CopyRecord>> {
        self.run(|db| Ok(last_copy(db)?)).await
    }

    async fn close(self: Box<Self>) {
        // What is left in the log is found by whoever opens the database next.
        let _ = self
            .run(|db| {
                if !db.is_autocommit() {
                    db.execute_batch("ROLLBACK")?;
                }
                Ok(())
            })
            .await;
    }
}

#[async_trait]
impl Target for SqliteArchive {
    async fn last(&self, table: Table) -> Result<Option<Place>> {
        self.run(move |db| {
            let mut select = db.prepare_cached(tables::last(table))?;
            let place = select.query_row((), |row| {
                Ok(Place {
                    id: Uuid::from_bytes(row.get(0)?),
                    seq: row.get(1)?,
                })
            });
            Ok(place.optional()?)
        })
        .await
    }

    async fn add(&self, table: Table, rows: Vec<Row>) -> Result<()> {
        self.run(move |db| {
            let tx = db.unchecked_transaction()?;
            {
                let mut insert = tx.prepare_cached(tables::insert(table))?;
                for row in &rows {
                    insert.execute(params_from_iter(row))?;
                }
            }
            Ok(tx.commit()?)
        })
        .await
    }

    async fn begin(&self, source: &str, now: Timestamp) -> Result<()> {
        let source = source.to_owned();
        self.run(move |db| {
            // copy: begin
            db.execute(
                "INSERT INTO copies (started_at, source) VALUES (?, ?)",
                (now.as_micros(), source),
            )?;
            Ok(())
        })
        .await
    }

    async fn finish(&self, now: Timestamp) -> Result<()> {
        self.run(move |db| {
            // copy: finish
            db.execute(
                "UPDATE copies SET finished_at = ? WHERE finished_at IS NULL",
                [now.as_micros()],
            )?;
            Ok(())
        })
        .await
    }
}

/// What is known of the last copy; one that is unfinished comes before all others.
pub(super) fn last_copy(db: &Connection) -> rusqlite::Result<Option<CopyRecord>> {
    let is_known: bool = db.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'copies'",
        (),
        |row| row.get(0),
    )?;
    if !is_known {
        // An older schema: nobody has copied anything into it.
        return Ok(None);
    }
    // open, check, copy
    db.query_row(
        "SELECT source, finished_at FROM copies ORDER BY finished_at IS NULL DESC, started_at DESC LIMIT 1",
        (),
        |row| {
            Ok(CopyRecord {
                source: row.get(0)?,
                finished: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_micros),
            })
        },
    )
    .optional()
}

fn read(table: Table, found: &rusqlite::Row<'_>) -> Result<Row> {
    let columns = table.columns().iter().enumerate();
    columns
        .map(|(at, (column, kind))| {
            Ok(match (found.get_ref(at)?, kind) {
                (ValueRef::Null, _) => Value::Null,
                (ValueRef::Blob(bytes), Kind::Id) => match Uuid::from_slice(bytes) {
                    Ok(id) => Value::Id(id),
                    Err(_) => return Err(Error::corrupt(table.name(), column, "holds no id")),
                },
                (ValueRef::Integer(number), Kind::Integer) => Value::Integer(number),
                (ValueRef::Text(text), Kind::Text) => match std::str::from_utf8(text) {
                    Ok(text) => Value::Text(text.to_owned()),
                    Err(_) => return Err(Error::corrupt(table.name(), column, "holds no text in UTF-8")),
                },
                _ => {
                    return Err(Error::corrupt(
                        table.name(),
                        column,
                        "holds a value of another type",
                    ));
                }
            })
        })
        .collect()
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Id(id) => ValueRef::Blob(id.as_bytes()),
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}
