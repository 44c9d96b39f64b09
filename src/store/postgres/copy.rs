//! This database as one side of a copy.
//!
//! Who uses a database says so by an advisory lock that the server frees when the session ends: every session of a
//! node holds it shared, a copy holds it alone.

use async_trait::async_trait;
use tokio_postgres::{Row as Found, types::ToSql};
use uuid::Uuid;

use super::{
    OpenError, Options,
    connection::Session,
    error::Problem,
    migrations,
    open::{self, Once},
    tables,
    url::Target as Address,
};
use crate::{
    model::Timestamp,
    store::{
        Error, Result,
        copy::{Archive, BATCH_BYTES, BATCH_ROWS, CopyRecord, Kind, Place, Row, Table, Target, Value},
        schema,
    },
};

/// "Engu": the advisory lock of those who use the database.
const IN_USE: i64 = 0x456e_6775;

/// What a session of a node is told first: it waits, within its time, for a copy to end.
pub(super) const ENTER: &str = "SELECT pg_advisory_lock_shared(1164863349);";

/// How long a copy waits for sessions that are just ending, as after a kill.
const ENDING: &str = "SET lock_timeout = '3s'";

/// Uses the database until the session ends, unless it is being copied.
pub(super) async fn enter(db: &Session) -> Result<bool, Problem> {
    let entered = db
        .row("SELECT pg_try_advisory_lock_shared($1)", &[&IN_USE])
        .await?;
    entered.map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

/// A database that no node uses meanwhile.
pub struct PostgresArchive {
    once: Once,
}

/// The name of a database: where it is, without user and password.
pub fn copy_name(url: &str) -> Result<String, OpenError> {
    Ok(Address::parse(url).map_err(OpenError::Url)?.shown())
}

impl PostgresArchive {
    /// Opens the database to read it as it is now, whatever others may still do to it.
    pub async fn to_read(options: &Options) -> Result<Self, OpenError> {
        let archive = Self::alone(options).await?;
        // One snapshot from the first read to the last.
        let begun = archive
            .db()
            .batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        begun.await?;
        schema::refuse_other(&migrations::status(archive.db()).await?).map_err(OpenError::OtherSchema)?;
        open::refuse_unfinished_in(archive.db()).await?;
        Ok(archive)
    }

    /// Opens the database to fill it, and brings its schema up to date.
    pub async fn to_fill(options: &Options) -> Result<Self, OpenError> {
        let archive = Self::alone(options).await?;
        migrations::apply(archive.db()).await?;
        Ok(archive)
    }

    async fn alone(options: &Options) -> Result<Self, OpenError> {
        let archive = Self {
            once: Once::connect(options).await?,
        };
        let db = archive.db();
        open::examine(db, options).await?;
        db.batch(ENDING).await?;
        match db.rows("SELECT pg_advisory_lock($1)", &[&IN_USE]).await {
            Ok(_) => {}
            Err(Problem::Refused(Error::Unavailable(_))) => {
                return Err(OpenError::InUse(archive.once.database.clone()));
            }
            Err(problem) => return Err(problem.into()),
        }
        Ok(archive)
    }

    fn db(&self) -> &Session {
        &self.once.session
    }
}

#[async_trait]
impl Archive for PostgresArchive {
    fn name(&self) -> &str {
        &self.once.database
    }

    async fn rows(&self, table: Table, from: Place) -> Result<Vec<Row>> {
        let most = i64::try_from(BATCH_ROWS).unwrap_or(i64::MAX);
        let bytes = i64::try_from(BATCH_BYTES).unwrap_or(i64::MAX);
        let place: [&(dyn ToSql + Sync); 4] = [&from.id, &from.seq, &most, &bytes];
        let found = self.db().rows(tables::select(table), &place).await?;
        found.iter().map(|found| Ok(read(table, found)?)).collect()
    }

    async fn count(&self, table: Table) -> Result<u64> {
        let row = self.db().row(tables::count(table), &[]).await?;
        let rows: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(Problem::from)?;
        Ok(u64::try_from(rows).unwrap_or(0))
    }

    async fn last_copy(&self) -> Result<Option<CopyRecord>> {
        Ok(last_copy(self.db()).await?)
    }

    async fn close(self: Box<Self>) {
        self.once.close().await;
    }
}

#[async_trait]
impl Target for PostgresArchive {
    async fn last(&self, table: Table) -> Result<Option<Place>> {
        let row = self.db().row(tables::last(table), &[]).await?;
        let place = row.map(|row| {
            Ok::<_, Problem>(Place {
                id: row.try_get(0)?,
                seq: row.try_get(1)?,
            })
        });
        Ok(place.transpose()?)
    }

    async fn add(&self, table: Table, rows: Vec<Row>) -> Result<()> {
        let columns = pivot(table, rows)?;
        let params: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| &**column as _).collect();
        self.db().execute(tables::insert(table), &params).await?;
        Ok(())
    }

    async fn begin(&self, source: &str, now: Timestamp) -> Result<()> {
        self.db()
            .execute(
                "-- copy: begin
                 INSERT INTO copies (started_at, source) VALUES ($1, $2)",
                &[&now.as_micros(), &source],
            )
            .await?;
        Ok(())
    }

    async fn finish(&self, now: Timestamp) -> Result<()> {
        self.db()
            .execute(
                "-- copy: finish
                 UPDATE copies SET finished_at = $1 WHERE finished_at IS NULL",
                &[&now.as_micros()],
            )
            .await?;
        Ok(())
    }
}

/// What is known of the last copy; one that is unfinished comes before all others.
pub(super) async fn last_copy(db: &Session) -> Result<Option<CopyRecord>, Problem> {
    let known = db.row("SELECT to_regclass('copies') IS NOT NULL", &[]).await?;
    if !known.map_or(Ok(false), |row| row.try_get(0))? {
        // An older schema: nobody has copied anything into it.
        return Ok(None);
    }
    // open, check, copy: all of a table that has a row or two
    let row = db
        .row(
            "SELECT source, finished_at FROM copies ORDER BY finished_at IS NULL DESC, started_at DESC LIMIT 1",
            &[],
        )
        .await?;
    let record = row.map(|row| {
        Ok(CopyRecord {
            source: row.try_get(0)?,
            finished: row.try_get::<_, Option<i64>>(1)?.map(Timestamp::from_micros),
        })
    });
    record.transpose()
}

fn read(table: Table, found: &Found) -> Result<Row, Problem> {
    let columns = table.columns().iter().enumerate();
    columns
        .map(|(at, (_, kind))| {
            let value = match kind {
                Kind::Id => found.try_get::<_, Option<_>>(at)?.map(Value::Id),
                Kind::Integer => found.try_get::<_, Option<_>>(at)?.map(Value::Integer),
                Kind::Text => found.try_get::<_, Option<_>>(at)?.map(Value::Text),
            };
            Ok(value.unwrap_or(Value::Null))
        })
        .collect()
}

/// Turns rows into columns, as `unnest` wants them.
pub(super) fn pivot(table: Table, rows: Vec<Row>) -> Result<Vec<Box<dyn ToSql + Sync + Send>>> {
    let columns = table.columns().iter();
    let mut rows: Vec<_> = rows.into_iter().map(Vec::into_iter).collect();
    columns
        .map(|(column, kind)| {
            let values = rows.iter_mut().map(|row| row.next().unwrap_or(Value::Null));
            Ok(match kind {
                Kind::Id => {
                    let ids = values.map(|value| match value {
                        Value::Id(id) => Some(id),
                        _ => None,
                    });
                    Box::new(ids.collect::<Vec<Option<Uuid>>>()) as Box<dyn ToSql + Sync + Send>
                }
                Kind::Integer => {
                    let numbers = values.map(|value| match value {
                        Value::Integer(number) => Some(number),
                        _ => None,
                    });
                    Box::new(numbers.collect::<Vec<Option<i64>>>())
                }
                Kind::Text => {
                    let texts = values.map(|value| match value {
                        Value::Text(text) if text.contains('\0') => Err(Error::corrupt(
                            table.name(),
                            column,
                            "holds U+0000, which PostgreSQL cannot keep",
                        )),
                        Value::Text(text) => Ok(Some(text)),
                        _ => Ok(None),
                    });
                    Box::new(texts.collect::<Result<Vec<Option<String>>>>()?)
                }
            })
        })
        .collect()
}
