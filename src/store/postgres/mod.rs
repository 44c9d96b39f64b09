//! The shared database: PostgreSQL, for several nodes over the same data.
//!
//! Short reads share a few connections (`readers`), and what many look up at the same time is one statement
//! (`lookups`); new messages and answers that wait at the same time are one statement and one commit (`writer`);
//! everything else has a session to itself for as long as it takes (`desk`). Connections come back by themselves
//! (`link`). Leases go by the database's clock, and a hint goes to every node when a reply may be due (`notices`).
//!
//! The files have the names of those in [`super::sqlite`], and the same statements in them.

mod audit;
mod clerk;
mod connection;
mod context;
mod control;
mod conversations;
mod copy;
mod desk;
mod error;
mod events;
mod finish;
mod keys;
mod link;
mod lookups;
mod messages;
mod migrations;
mod notices;
mod once;
mod open;
mod pages;
mod prune;
mod purge;
mod readers;
mod replies;
mod settle;
mod store;
mod sweeps;
mod tables;
mod telling;
mod tls;
mod transfer;
mod turns;
mod tx;
mod url;
mod vitals;
mod writer;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{sync::Notify, time::timeout};

pub use copy::{PostgresArchive, copy_name};
pub use keys::PostgresKeys;
pub use open::{OpenError, check_integrity, migrate, refuse_unfinished, status, validate};
pub use transfer::PostgresTransfer;

use self::{
    connection::Connector,
    error::Problem,
    link::{Ears, Link},
    notices::Notices,
    readers::Readers,
    tx::Tx,
    url::Target,
    writer::Writer,
};
use super::{Result, Store};
use crate::{model::Timestamp, shutdown::Shutdown, telemetry::metrics::StoreMetrics};

/// How many sessions carry out writes that are not grouped: claims, deletions, heartbeats.
const DESK: usize = 2;

/// How long the first connections may take.
const OPENING: Duration = Duration::from_secs(10);

/// How long what waits may take to be written when the store closes.
const CLOSING: Duration = Duration::from_secs(5);

/// How to open the database.
#[derive(Clone)]
pub struct Options {
    /// `postgres://user:password@host/database?sslmode=…`
    pub url: String,
    /// A copy of the database that may lag, for reading lists.
    pub replica_url: Option<String>,
    /// How many connections short reads share.
    pub readers: usize,
    /// How many connections write groups of messages.
    pub writers: usize,
    /// How long a statement may take, waiting for locks included.
    pub statement_timeout: Duration,
    /// How long a long read may take.
    pub scan_deadline: Duration,
    /// Whether a server that may lose commits is refused.
    pub insist_on_durability: bool,
    /// Whose clock leases go by.
    pub lease_clock: LeaseClock,
    /// What is measured.
    pub metrics: StoreMetrics,
}

/// Whose clock leases and due times go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseClock {
    /// The database's: the nodes need not agree on the time.
    Database,
    /// The caller's, for tests that show literal times.
    Caller,
}

impl Options {
    /// The usual settings for this database.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            replica_url: None,
            readers: 1,
            writers: 1,
            statement_timeout: Duration::from_secs(5),
            scan_deadline: Duration::from_secs(15),
            insist_on_durability: false,
            lease_clock: LeaseClock::Database,
            metrics: StoreMetrics::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs may hold passwords.
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// A store in one PostgreSQL database, which many nodes may share.
pub struct PostgresStore {
    writer: Writer,
    readers: Readers,
    replica: Option<Readers>,
    notices: Notices,
    purges: Arc<Notify>,
    lease_clock: LeaseClock,
    /// What serves requests: asked to end first, so that what waits is still served.
    workers: Shutdown,
    /// What keeps connections open.
    links: Shutdown,
}

impl PostgresStore {
    /// Opens the database for a node: examines the server, brings the schema up to date, and opens the connections.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        validate(options)?;
        let prepared = open::prepare(options).await?;
        let target = Target::parse(&options.url).map_err(OpenError::Url)?;
        let database = target.shown();
        let short = Connector::new(target.clone(), options.statement_timeout).map_err(OpenError::Url)?;
        let long = Connector::new(target, options.scan_deadline).map_err(OpenError::Url)?;
        let (short, long) = (short.and(copy::ENTER), long.and(copy::ENTER));
        let (workers, links) = (Shutdown::default(), Shutdown::default());
        let notices = Notices::start(short.clone(), (&links, &workers));
        let open = |at: usize| {
            Link::open(
                short.clone(),
                Ears {
                    log: at == 0,
                    heard: None,
                },
                &links,
            )
        };
        let groups: Vec<_> = (0..options.writers.max(1)).map(open).collect();
        let desk: Vec<_> = (0..DESK).map(|at| open(at + 1)).collect();
        let trusts_caller = options.lease_clock == LeaseClock::Caller;
        let metrics = &options.metrics;
        let writer = Writer::start(&groups, &desk, &notices, trusts_caller, metrics, &workers);
        let readers = Readers::start(&short, &long, options, (&links, &workers));
        let replica = match &options.replica_url {
            Some(url) => Some(open_replica(url, options, (&links, &workers))?),
            None => None,
        };
        let purges = Arc::new(Notify::new());
        workers.spawn(purge::run(writer.desk(), Arc::clone(&purges), workers.clone()));
        let store = Self {
            writer,
            readers,
            replica,
            notices,
            purges,
            lease_clock: options.lease_clock,
            workers,
            links,
        };
        // A replica that is away is no reason not to start.
        let opened = timeout(OPENING, store.opened()).await;
        prepared.close().await;
        if opened.is_err() {
            store.close().await;
            let cause = "opening the connections takes too long".to_owned();
            return Err(OpenError::Unreachable { database, cause });
        }
        Ok(store)
    }

    /// Runs this work in a transaction, and tells of it afterwards.
    async fn transact<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Tx<'a>) -> BoxFuture<'a, Result<T, Problem>> + Send + 'static,
    {
        tx::run(&self.writer.desk(), &self.notices, work).await
    }

    async fn opened(&self) {
        self.writer.opened().await;
        self.readers.opened().await;
    }

    /// The caller's time where that counts, and nothing where the database is to look at its own clock.
    fn clock(&self, now: Timestamp) -> Option<i64> {
        (self.lease_clock == LeaseClock::Caller).then(|| now.as_micros())
    }
}

fn open_replica(url: &str, options: &Options, tasks: (&Shutdown, &Shutdown)) -> Result<Readers, OpenError> {
    let target = Target::parse(url).map_err(OpenError::ReplicaUrl)?.reading_only();
    let connector = |limit| Connector::new(target.clone(), limit).map_err(OpenError::ReplicaUrl);
    let (short, long) = (
        connector(options.statement_timeout)?,
        connector(options.scan_deadline)?,
    );
    Ok(Readers::start(&short, &long, options, tasks))
}
