//! Moves everything from one database into another.
//!
//! First the rows, table by table in the order of their keys, so that a run that was cut off is taken up behind the
//! last row that arrived. Then the proof: both sides are read from the first row to the last, and only when their
//! counts and checksums agree does the target count as whole. No side is used by anybody else meanwhile, and nothing
//! is ever written into the source.

use std::fmt;

use super::database::{self, OpenError};
use crate::{
    clock::Clock,
    config::Database,
    model::Timestamp,
    store::{
        self,
        copy::{Archive, CopyRecord, Fingerprint, Place, Press, Row, Table, Target},
        postgres::{self, PostgresArchive},
        sqlite::{self, SqliteArchive},
    },
};

/// One of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that is copied.
    Source,
    /// The one that is filled.
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "the source",
            Self::Target => "the target",
        })
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Rows are copied.
    Copying,
    /// Both sides are read and compared.
    Verifying,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is being done ...
    pub step: Step,
    /// ... with which table.
    pub table: Table,
    /// With how many rows it is done.
    pub done: u64,
    /// How many there are.
    pub rows: u64,
}

/// Why there is no copy, or none that is whole.
#[derive(Debug)]
pub enum Failure {
    /// One of them cannot be opened, or not for this.
    Open(Side, OpenError),
    /// Both are the same.
    SameDatabase(String),
    /// The target holds something that is no copy of the source.
    NotEmpty(String),
    /// The target holds a part of another database.
    CopyOfAnother {
        /// Which one.
        source: String,
    },
    /// The two do not hold the same.
    Differs {
        /// Where, and what each side has.
        tables: Vec<(Table, Fingerprint, Fingerprint)>,
        /// When the copy had been verified before.
        finished: Option<Timestamp>,
    },
    /// Reading or writing failed.
    Failed(Side, store::Error),
}

impl Failure {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        use sqlite::OpenError::{InUse, Missing};
        match self {
            Self::Open(_, OpenError::Sqlite(InUse(_))) => "stop the server that uses it, then try again",
            Self::Open(Side::Source, OpenError::Sqlite(Missing(_))) => {
                "give the database that is to be copied: --from sqlite:PATH"
            }
            Self::Open(_, cause) => cause.hint(),
            Self::SameDatabase(_) => "give two different databases",
            Self::NotEmpty(_) => {
                "give a database that is new, or that holds an unfinished copy of this source"
            }
            Self::CopyOfAnother { .. } => "finish that copy, or give another target",
            Self::Differs { finished: None, .. } => {
                "one of them was changed between two runs: copy again, into a database that is new"
            }
            Self::Differs { .. } => {
                "they agreed when the copy was finished, so one of them was used since; to copy again, give a database that is new"
            }
            Self::Failed(_, cause) => match cause {
                store::Error::Full => "make room, then run the same command again: it goes on where it was",
                store::Error::Corrupt { .. } | store::Error::Broken(_) => {
                    "examine it: run `engagement check` on it"
                }
                store::Error::Conflict => "copy again, into a database that is new",
                store::Error::Busy
                | store::Error::Repeated
                | store::Error::Unavailable(_)
                | store::Error::Other(_) => "run the same command again: it goes on where it was",
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(side, cause) => write!(f, "{side}: {cause}"),
            Self::SameDatabase(name) => write!(f, "the source and the target are the same: {name}"),
            Self::NotEmpty(name) => write!(f, "the target is not empty: {name}"),
            Self::CopyOfAnother { source } => {
                write!(
                    f,
                    "the target holds an unfinished copy of another database: {source}"
                )
            }
            Self::Differs { tables, .. } => {
                f.write_str("the target is not the same as the source:")?;
                for (at, (table, source, target)) in tables.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    let name = table.name();
                    write!(
                        f,
                        "{comma} {name} has {source:?} at the source and {target:?} at the target"
                    )?;
                }
                Ok(())
            }
            Self::Failed(side, store::Error::Conflict) => {
                write!(f, "{side} has rows that the source does not have")
            }
            Self::Failed(side, cause) => write!(f, "{side}: {cause}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Copies whatever is not copied yet, then verifies all of it. Gives what both sides hold.
pub async fn run(
    from: &Database,
    to: &Database,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<(Table, Fingerprint)>, Failure> {
    let name = name(from).map_err(|cause| Failure::Open(Side::Source, cause))?;
    if self::name(to).map_err(|cause| Failure::Open(Side::Target, cause))? == name {
        return Err(Failure::SameDatabase(name));
    }
    let source = to_read(from)
        .await
        .map_err(|cause| Failure::Open(Side::Source, cause))?;
    // The target is not touched, and not created, for a source that cannot be copied.
    let copied = match to_fill(to).await {
        Ok(target) => {
            let copied = copy(source.as_ref(), target.as_ref(), watch).await;
            target.close().await;
            copied
        }
        Err(cause) => Err(Failure::Open(Side::Target, cause)),
    };
    source.close().await;
    copied
}

fn name(database: &Database) -> Result<String, OpenError> {
    Ok(match database {
        Database::Sqlite(path) => sqlite::copy_name(path)?,
        Database::Postgres(settings) => postgres::copy_name(settings.url.expose())?,
    })
}

async fn to_read(database: &Database) -> Result<Box<dyn Archive>, OpenError> {
    Ok(match database {
        Database::Sqlite(path) => Box::new(SqliteArchive::to_read(path)?),
        Database::Postgres(settings) => {
            Box::new(PostgresArchive::to_read(&database::postgres_options(settings)).await?)
        }
    })
}

async fn to_fill(database: &Database) -> Result<Box<dyn Target>, OpenError> {
    Ok(match database {
        Database::Sqlite(path) => Box::new(SqliteArchive::to_fill(path)?),
        Database::Postgres(settings) => {
            Box::new(PostgresArchive::to_fill(&database::postgres_options(settings)).await?)
        }
    })
}

type Watch<'a> = &'a mut (dyn FnMut(Progress) + Send);

async fn copy(
    source: &dyn Archive,
    target: &dyn Target,
    watch: Watch<'_>,
) -> Result<Vec<(Table, Fingerprint)>, Failure> {
    let finished = admit(source, target).await?;
    if finished.is_none() {
        for table in Table::ALL {
            fill(source, target, table, watch).await?;
        }
    }
    let (mut prints, mut differing) = (Vec::new(), Vec::new());
    for table in Table::ALL {
        let (at_source, at_target) = compare(source, target, table, watch).await?;
        if at_source != at_target {
            differing.push((table, at_source.clone(), at_target));
        }
        prints.push((table, at_source));
    }
    if !differing.is_empty() {
        return Err(Failure::Differs {
            tables: differing,
            finished,
        });
    }
    if finished.is_none() {
        target.finish(Clock::system().now()).await.map_err(of_target)?;
    }
    Ok(prints)
}

/// Lets a target in that is empty, or holds a copy of this source. Gives when that copy was finished.
async fn admit(source: &dyn Archive, target: &dyn Target) -> Result<Option<Timestamp>, Failure> {
    match target.last_copy().await.map_err(of_target)? {
        Some(copy) if copy.source == source.name() => return Ok(copy.finished),
        Some(CopyRecord {
            source,
            finished: None,
        }) => return Err(Failure::CopyOfAnother { source }),
        Some(_) | None => {}
    }
    for table in Table::ALL {
        if target.last(table).await.map_err(of_target)?.is_some() {
            return Err(Failure::NotEmpty(target.name().to_owned()));
        }
    }
    target
        .begin(source.name(), Clock::system().now())
        .await
        .map_err(of_target)?;
    Ok(None)
}

/// Adds the rows of a table that the target does not have yet.
async fn fill(
    source: &dyn Archive,
    target: &dyn Target,
    table: Table,
    watch: Watch<'_>,
) -> Result<(), Failure> {
    let rows = source.count(table).await.map_err(of_source)?;
    let mut done = target.count(table).await.map_err(of_target)?;
    let place = match target.last(table).await.map_err(of_target)? {
        Some(last) => table.behind(last),
        None => Some(Place::START),
    };
    let mut batch = next(source, table, place).await.map_err(of_source)?;
    while let Some(last) = batch.last() {
        let place = behind(table, last);
        done += batch.len() as u64;
        // One side reads while the other writes.
        let (read, added) = tokio::join!(next(source, table, place), target.add(table, batch));
        added.map_err(of_target)?;
        batch = read.map_err(of_source)?;
        watch(Progress {
            step: Step::Copying,
            table,
            done,
            rows,
        });
    }
    Ok(())
}

/// Takes the fingerprints of a table, from its first row to its last on both sides.
async fn compare(
    source: &dyn Archive,
    target: &dyn Target,
    table: Table,
    watch: Watch<'_>,
) -> Result<(Fingerprint, Fingerprint), Failure> {
    let rows = source.count(table).await.map_err(of_source)?;
    let mut seen = |done| {
        watch(Progress {
            step: Step::Verifying,
            table,
            done,
            rows,
        });
    };
    let mut unseen = |_| {};
    let (at_source, at_target) = tokio::join!(
        fingerprint(source, table, &mut seen),
        fingerprint(target, table, &mut unseen)
    );
    Ok((at_source.map_err(of_source)?, at_target.map_err(of_target)?))
}

async fn fingerprint<A: Archive + ?Sized>(
    archive: &A,
    table: Table,
    seen: &mut (dyn FnMut(u64) + Send),
) -> store::Result<Fingerprint> {
    let mut press = Press::default();
    let mut batch = next(archive, table, Some(Place::START)).await?;
    while let Some(last) = batch.last() {
        let place = behind(table, last);
        for row in &batch {
            press.add(row);
        }
        seen(press.rows());
        batch = next(archive, table, place).await?;
    }
    Ok(press.print())
}

async fn next<A: Archive + ?Sized>(
    archive: &A,
    table: Table,
    place: Option<Place>,
) -> store::Result<Vec<Row>> {
    match place {
        Some(place) => archive.rows(table, place).await,
        None => Ok(Vec::new()),
    }
}

fn behind(table: Table, row: &Row) -> Option<Place> {
    table.place(row).and_then(|place| table.behind(place))
}

fn of_source(cause: store::Error) -> Failure {
    Failure::Failed(Side::Source, cause)
}

fn of_target(cause: store::Error) -> Failure {
    Failure::Failed(Side::Target, cause)
}
