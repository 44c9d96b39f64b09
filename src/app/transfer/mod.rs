//! Conversations out of a database and into one, beside whoever else uses it.

mod import;

use std::{
    fmt,
    io::{self, BufRead, Read, Write},
    path::Path,
};

use tokio::sync::mpsc;

use self::import::Importer;
use super::database::{OpenError, postgres_options};
use crate::{
    config::Database,
    model::Owner,
    store::{
        self,
        django::DjangoSource,
        export::ExportStore,
        import::ImportStore,
        postgres::{self, PostgresTransfer},
        sqlite::{self, DjangoFile, FileError, Part, SqliteTransfer},
    },
    transfer::{self, Export, Fit, Refused, Unreadable},
};

/// What is read ahead of what is being stored.
const AHEAD: usize = 4;

/// Where conversations come from.
pub enum Source {
    /// Our own format.
    Jsonl(Box<dyn BufRead + Send>),
    /// ChatGPT's export.
    Chatgpt(Box<dyn Read + Send>),
    /// A database of the Django service.
    Django(Box<dyn DjangoSource>),
}

impl Source {
    /// Opens a database of the Django service. Gives how many messages there are, too.
    pub fn django(path: &Path) -> Result<(Self, u64), Failure> {
        let file = DjangoFile::open(path).map_err(Failure::Source)?;
        let messages = file
            .count()
            .map_err(|cause| Failure::Input(Unreadable::Format(cause.to_string())))?;
        Ok((Self::Django(Box::new(file)), messages))
    }
}

/// How to take conversations in.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Whether nothing is to be stored.
    pub is_dry: bool,
    /// Whose they become, whatever they say.
    pub owner: Option<Owner>,
    /// What to do about texts that do not fit.
    pub fit: Fit,
}

/// How much was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Conversations.
    pub conversations: u64,
    /// Their messages.
    pub messages: u64,
    /// Conversations that were there already.
    pub there: u64,
    /// Conversations that were not taken in.
    pub refused: u64,
    /// Messages that were left out, as nobody would see them.
    pub skipped: u64,
    /// Replies that were left out, as they were not final.
    pub unfinished: u64,
}

/// Told what happens.
pub enum Progress<'a> {
    /// So much is done.
    Done(&'a Tally),
    /// A conversation is not taken in.
    Refused(&'a Refused),
}

/// Told what happens.
pub type Watch<'a> = &'a mut (dyn FnMut(Progress<'_>) + Send);

/// Why it ended before its end.
#[derive(Debug)]
pub enum Failure {
    /// The database cannot be opened.
    Open(OpenError),
    /// What is to be read cannot be opened.
    Source(sqlite::OpenError),
    /// What is to be read cannot be read, from its beginning on.
    Input(Unreadable),
    /// It cannot be read further.
    Read(Unreadable),
    /// The database failed.
    Store(store::Error),
    /// What was exported cannot be written.
    Write(io::Error),
    /// It is not written into that file.
    File(FileError),
    /// Something else failed.
    Other(io::Error),
}

impl Failure {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open(cause) => cause.hint(),
            Self::Source(_) => "give the file `db.sqlite3` of the Django service",
            Self::Input(_) => "nothing was stored; correct it, or give another file",
            Self::Read(_) => "what was in front of that is stored; correct it and run this again",
            Self::Store(store::Error::Full) => "make room, then run this again: it goes on where it was",
            Self::Store(store::Error::Corrupt { .. } | store::Error::Broken(_)) => "run `engagement check`",
            Self::Store(_) | Self::Other(_) => "run this again: it goes on where it was",
            Self::File(cause) => cause.hint(),
            Self::Write(_) => "see that this user may write there, and that there is room",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(cause) => cause.fmt(f),
            Self::Source(cause) => write!(f, "the source: {cause}"),
            Self::Input(cause) | Self::Read(cause) => write!(f, "the source: {cause}"),
            Self::Store(cause) => cause.fmt(f),
            Self::File(cause) => cause.fmt(f),
            Self::Write(cause) => write!(f, "cannot write the export: {cause}"),
            Self::Other(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<store::Error> for Failure {
    fn from(cause: store::Error) -> Self {
        Self::Store(cause)
    }
}

/// Begins a file to export into. It is none of the database's own.
pub fn begin_file(database: &Database, file: &Path, replaces: bool) -> Result<Part, Failure> {
    let own = match database {
        Database::Sqlite(path) => Some(path.as_path()),
        Database::Postgres(_) => None,
    };
    Part::of(file, own, replaces).map_err(Failure::File)
}

/// Writes every conversation there, in the order of their ids. Gives that back.
pub async fn export<W: Write + Send>(
    database: &Database,
    out: W,
    watch: Watch<'_>,
) -> Result<(W, Tally), Failure> {
    let store = to_read(database).await.map_err(Failure::Open)?;
    let exported = export_all(store.as_ref(), Export::new(out), watch).await;
    store.close().await;
    exported
}

async fn to_read(database: &Database) -> Result<Box<dyn ExportStore>, OpenError> {
    Ok(match database {
        Database::Sqlite(path) => Box::new(SqliteTransfer::to_read(path)?),
        Database::Postgres(settings) => {
            let options = postgres_options(settings);
            postgres::validate(&options)?;
            Box::new(PostgresTransfer::to_read(&options).await?)
        }
    })
}

async fn to_fill(database: &Database) -> Result<Box<dyn ImportStore>, OpenError> {
    Ok(match database {
        Database::Sqlite(path) => Box::new(SqliteTransfer::to_fill(path)?),
        Database::Postgres(settings) => {
            let options = postgres_options(settings);
            postgres::validate(&options)?;
            Box::new(PostgresTransfer::to_fill(&options).await?)
        }
    })
}

/// Opens the database to see what would be taken in, without making or changing it.
async fn to_try(database: &Database) -> Result<Box<dyn ImportStore>, OpenError> {
    Ok(match database {
        Database::Sqlite(path) => Box::new(SqliteTransfer::to_try(path)?),
        Database::Postgres(settings) => {
            let options = postgres_options(settings);
            postgres::validate(&options)?;
            Box::new(PostgresTransfer::to_read(&options).await?)
        }
    })
}

async fn export_all<W: Write + Send>(
    store: &dyn ExportStore,
    mut export: Export<W>,
    watch: Watch<'_>,
) -> Result<(W, Tally), Failure> {
    let mut tally = Tally::default();
    let mut after = None;
    loop {
        let conversations = store.conversations(after).await?;
        let Some(last) = conversations.last() else {
            break;
        };
        after = Some(last.conversation.id);
        for conversation in &conversations {
            let mut place = Some(0);
            while let Some(behind) = place {
                let portion = store.messages(conversation.conversation.id, behind).await?;
                place = portion.next;
                export
                    .write(conversation, &portion.messages, place.is_some())
                    .map_err(Failure::Write)?;
                tally.messages += portion.messages.len() as u64;
                tally.unfinished += portion.unfinished;
                watch(Progress::Done(&tally));
            }
            tally.conversations += 1;
        }
    }
    Ok((export.finish().map_err(Failure::Write)?, tally))
}

/// Takes in whatever is not there yet.
pub async fn import(
    database: &Database,
    source: Source,
    plan: Plan,
    watch: Watch<'_>,
) -> Result<Tally, Failure> {
    let opened = if plan.is_dry {
        to_try(database).await
    } else {
        to_fill(database).await
    };
    let store = opened.map_err(Failure::Open)?;
    let imported = import_all(store.as_ref(), source, plan, watch).await;
    store.close().await;
    imported
}

async fn import_all(
    store: &dyn ImportStore,
    source: Source,
    plan: Plan,
    watch: Watch<'_>,
) -> Result<Tally, Failure> {
    let (found, mut taken) = mpsc::channel(AHEAD);
    // One thread understands what another one stores.
    let reading = tokio::task::spawn_blocking(move || {
        let take = &mut |next| found.blocking_send(next).map_err(|_| Unreadable::Stopped);
        match source {
            Source::Jsonl(input) => transfer::read_jsonl(input, take),
            Source::Chatgpt(input) => transfer::read_chatgpt(input, plan.fit, take),
            Source::Django(file) => transfer::read_django(file.as_ref(), plan.fit, take),
        }
    });
    let mut importer = Importer::new(store, plan, watch);
    let stored = importer.run(&mut taken).await;
    // Whoever reads on without anybody to take it stops.
    drop(taken);
    let read = reading
        .await
        .map_err(|cause| Failure::Other(io::Error::other(cause)))?;
    let tally = stored?;
    match read {
        Ok(()) => Ok(tally),
        Err(cause) if plan.is_dry || tally.conversations == 0 => Err(Failure::Input(cause)),
        Err(cause) => Err(Failure::Read(cause)),
    }
}
