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
        let found = match table {
            Table::Messages => {
                let place: [&(dyn ToSql + Sync); 4] = [&from.id, &from.seq, &most, &bytes];
                self.db().rows(select(table), &place).await?
            }
            _ => self.db().rows(select(table), &[&from.id, &most]).await?,
        };
        found.iter().map(|found| Ok(read(table, found)?)).collect()
    }

    async fn count(&self, table: Table) -> Result<u64> {
        let row = self.db().row(count(table), &[]).await?;
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
        let row = self.db().row(last(table), &[]).await?;
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
        self.db().execute(insert(table), &params).await?;
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
fn pivot(table: Table, rows: Vec<Row>) -> Result<Vec<Box<dyn ToSql + Sync + Send>>> {
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

fn select(table: Table) -> &'static str {
    match table {
        Table::Conversations => {
            "-- copy: rows
             SELECT id, title, description, created_at, updated_at, last_seq, user_count, assistant_count
             FROM conversations WHERE id >= $1 ORDER BY id LIMIT $2"
        }
        Table::Messages => {
            "-- copy: rows, until those in front of one are enough
             SELECT conversation_id, seq, id, role, created_at, updated_at, text, folded, reply_to
             FROM (SELECT *, sum(octet_length(text) + coalesce(octet_length(folded), 0)) OVER in_front AS bytes
                   FROM (SELECT * FROM messages
                         WHERE (conversation_id, seq) >= ($1, $2) ORDER BY conversation_id, seq LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY conversation_id, seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY conversation_id, seq"
        }
        Table::Replies => {
            "-- copy: rows
             SELECT message_id, conversation_id, status, run_after, attempts, lost_leases, retries, lease_token,
                    lease_until, error_code, error_message, created_at, started_at, finished_at
             FROM replies WHERE message_id >= $1 ORDER BY message_id LIMIT $2"
        }
        Table::Purges => {
            "-- copy: rows
             SELECT conversation_id FROM purges WHERE conversation_id >= $1 ORDER BY conversation_id LIMIT $2"
        }
    }
}

fn last(table: Table) -> &'static str {
    match table {
        Table::Conversations => {
            "-- copy: last
             SELECT id, 0::bigint FROM conversations ORDER BY id DESC LIMIT 1"
        }
        Table::Messages => {
            "-- copy: last
             SELECT conversation_id, seq FROM messages ORDER BY conversation_id DESC, seq DESC LIMIT 1"
        }
        Table::Replies => {
            "-- copy: last
             SELECT message_id, 0::bigint FROM replies ORDER BY message_id DESC LIMIT 1"
        }
        Table::Purges => {
            "-- copy: last
             SELECT conversation_id, 0::bigint FROM purges ORDER BY conversation_id DESC LIMIT 1"
        }
    }
}

fn count(table: Table) -> &'static str {
    match table {
        Table::Conversations => "SELECT count(*) FROM conversations",
        Table::Messages => "SELECT count(*) FROM messages",
        Table::Replies => "SELECT count(*) FROM replies",
        Table::Purges => "SELECT count(*) FROM purges",
    }
}

fn insert(table: Table) -> &'static str {
    match table {
        Table::Conversations => {
            "-- copy: add
             INSERT INTO conversations (id, title, description, created_at, updated_at, last_seq, user_count,
                                        assistant_count)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                                  $7::bigint[], $8::bigint[])"
        }
        Table::Messages => {
            "-- copy: add
             INSERT INTO messages (conversation_id, seq, id, role, created_at, updated_at, text, folded, reply_to)
             SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[],
                                  $7::text[], $8::text[], $9::uuid[])"
        }
        Table::Replies => {
            "-- copy: add
             INSERT INTO replies (message_id, conversation_id, status, run_after, attempts, lost_leases, retries,
                                  lease_token, lease_until, error_code, error_message, created_at, started_at,
                                  finished_at)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                                  $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[],
                                  $13::bigint[], $14::bigint[])"
        }
        Table::Purges => {
            "-- copy: add
             INSERT INTO purges (conversation_id) SELECT * FROM unnest($1::uuid[])"
        }
    }
}
