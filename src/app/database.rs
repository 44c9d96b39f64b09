//! Which database there is, and everything that differs because of it.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::worker_threads;
use crate::{
    clock::Stopwatch,
    config::{Config, Database, PostgresSettings},
    store::{
        MigrationState, Store, Traced,
        postgres::{self, PostgresStore},
        sqlite::{self, SqliteStore},
        vitals::Gauged,
    },
    telemetry::{
        metrics::Metrics,
        traces::{self, Traces},
    },
};

/// How long a service that starts waits for a server that is away, as after a reboot of everything at once.
const PATIENCE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(250);

/// Why the database cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// SQLite's reason.
    Sqlite(sqlite::OpenError),
    /// PostgreSQL's reason.
    Postgres(postgres::OpenError),
    /// Something else failed.
    Other(io::Error),
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Sqlite(cause) => cause.hint(),
            Self::Postgres(cause) => cause.hint(),
            Self::Other(_) => "see the log",
        }
    }

    /// Whether it is the configuration that is at fault.
    pub fn is_misconfigured(&self) -> bool {
        matches!(
            self,
            Self::Postgres(
                postgres::OpenError::Url(_)
                    | postgres::OpenError::ReplicaUrl(_)
                    | postgres::OpenError::NotDurable(_)
            )
        )
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(cause) => cause.fmt(f),
            Self::Postgres(cause) => cause.fmt(f),
            Self::Other(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<sqlite::OpenError> for OpenError {
    fn from(cause: sqlite::OpenError) -> Self {
        Self::Sqlite(cause)
    }
}

impl From<postgres::OpenError> for OpenError {
    fn from(cause: postgres::OpenError) -> Self {
        Self::Postgres(cause)
    }
}

/// A store that is ready.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The same, to be asked how it is.
    pub gauged: Arc<dyn Gauged>,
    /// Whether no other process can be using it.
    pub is_ours_alone: bool,
}

/// Opens the database for a service, which measures it with these.
pub async fn open(config: &Config, metrics: &Metrics) -> Result<Opened, OpenError> {
    match &config.database {
        Database::Sqlite(path) => {
            let mut options = sqlite::Options::new(path);
            options.readers = worker_threads();
            options.scan_deadline = config.http.handler_timeout;
            options.metrics = metrics.store();
            // On a thread that may block: a migration can take long, and health is asked for meanwhile.
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&options)).await;
            let store = opened.map_err(|cause| OpenError::Other(io::Error::other(cause)))??;
            let store = Arc::new(store);
            Ok(Opened {
                gauged: Arc::clone(&store) as Arc<dyn Gauged>,
                store,
                is_ours_alone: true,
            })
        }
        Database::Postgres(settings) => {
            let mut options = postgres_options(settings);
            options.scan_deadline = config.http.handler_timeout;
            options.insist_on_durability = config.access.production;
            options.metrics = metrics.store();
            let store = Arc::new(open_patiently(&options).await?);
            Ok(Opened {
                gauged: Arc::clone(&store) as Arc<dyn Gauged>,
                store,
                is_ours_alone: false,
            })
        }
    }
}

/// The store, which tells what it is asked if anything is traced.
pub fn traced(store: Arc<dyn Store>, database: &Database, traces: &Traces) -> Arc<dyn Store> {
    if !traces.is_on() {
        return store;
    }
    let database = match database {
        Database::Sqlite(_) => traces::Database::Sqlite,
        Database::Postgres(_) => traces::Database::Postgres,
    };
    Arc::new(Traced::around(store, database, traces.clone()))
}

async fn open_patiently(options: &postgres::Options) -> Result<PostgresStore, OpenError> {
    let watch = Stopwatch::start();
    let mut is_waiting = false;
    loop {
        match PostgresStore::open(options).await {
            Err(error) if error.is_passing() && watch.elapsed() < PATIENCE => {
                if !is_waiting {
                    tracing::warn!(%error, "waiting for the database");
                }
                is_waiting = true;
                sleep(PAUSE).await;
            }
            opened => return Ok(opened?),
        }
    }
}

pub(super) fn postgres_options(settings: &PostgresSettings) -> postgres::Options {
    let mut options = postgres::Options::new(settings.url.expose());
    options.replica_url = settings.replica_url.as_ref().map(|url| url.expose().to_owned());
    options.readers = settings.readers;
    options.writers = settings.writers;
    options.statement_timeout = settings.statement_timeout;
    options
}

/// Whether the configuration names a database that can be, without looking for it.
pub fn validate(database: &Database) -> Result<(), OpenError> {
    match database {
        Database::Sqlite(_) => Ok(()),
        Database::Postgres(settings) => Ok(postgres::validate(&postgres_options(settings))?),
    }
}

/// Creates the database if that is for us to do, and brings its schema up to date.
pub fn migrate(database: &Database) -> Result<Vec<MigrationState>, OpenError> {
    on_either(database, sqlite::migrate, postgres::migrate)
}

/// What migrations there are, and which were applied when.
pub fn status(database: &Database) -> Result<Vec<MigrationState>, OpenError> {
    on_either(database, sqlite::status, postgres::status)
}

/// Looks for damage. Gives what is wrong, nothing if all is well.
pub fn check_integrity(database: &Database) -> Result<Vec<String>, OpenError> {
    on_either(database, sqlite::check_integrity, postgres::check_integrity)
}

/// Refuses a database into which another one is still to be copied.
pub fn refuse_unfinished(database: &Database) -> Result<(), OpenError> {
    on_either(database, sqlite::refuse_unfinished, postgres::refuse_unfinished)
}

/// Runs what a command asks for, on the database that there is.
fn on_either<T>(
    database: &Database,
    on_sqlite: impl FnOnce(&Path) -> Result<T, sqlite::OpenError>,
    on_postgres: impl AsyncFnOnce(&postgres::Options) -> Result<T, postgres::OpenError>,
) -> Result<T, OpenError> {
    match database {
        Database::Sqlite(path) => Ok(on_sqlite(path)?),
        Database::Postgres(settings) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(OpenError::Other)?;
            let options = postgres_options(settings);
            postgres::validate(&options)?;
            Ok(runtime.block_on(on_postgres(&options))?)
        }
    }
}
