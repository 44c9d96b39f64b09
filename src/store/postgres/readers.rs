//! Reads: short ones share a few connections, long ones have one to themselves for as long as they take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Row, types::ToSql};

use super::{
    Options,
    connection::{Connector, Session},
    desk::{Abandoned, Desk, Waits},
    error::Problem,
    link::{self, Ears, Link},
    lookups::Lookups,
};
use crate::{
    shutdown::Shutdown,
    store::{Result, vitals::Connections},
    telemetry::metrics::Pool,
};

/// How many long reads run at once: they must leave the server to everybody else.
const SCANS: usize = 2;

/// How long a long read goes without an answer before the server is asked whether it is there.
const SUSPICIOUS: Duration = Duration::from_secs(4);

/// How long the server may take to say that it is there.
const PING: Duration = Duration::from_secs(2);

pub(super) struct Readers {
    shared: Vec<Link>,
    longest_wait: Duration,
    next: AtomicUsize,
    /// On the shared connections, too.
    pub(super) lookups: Lookups,
    /// Those of the scans.
    long: Vec<Link>,
    scans: Desk,
}

impl Readers {
    pub(super) fn start(
        short: &Connector,
        long: &Connector,
        options: &Options,
        tasks: (&Shutdown, &Shutdown),
    ) -> Self {
        let (links, workers) = tasks;
        let open = |connector: &Connector, count| -> Vec<Link> {
            let quiet = || Ears {
                log: false,
                heard: None,
            };
            (0..count)
                .map(|_| Link::open(connector.clone(), quiet(), links))
                .collect()
        };
        let (shared, long) = (open(short, options.readers.max(1)), open(long, SCANS));
        let waits = Waits::of(&options.metrics, Pool::Scans);
        Self {
            lookups: Lookups::start(&shared, Link::longest_wait(short), workers),
            shared,
            longest_wait: Link::longest_wait(short),
            next: AtomicUsize::new(0),
            scans: Desk::start(&long, Abandoned::IsCancelled, &waits, workers),
            long,
        }
    }

    /// Runs a read that an index bounds. Those that are asked at once travel together.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Problem> {
        let read = async {
            match self.session().await?.rows(sql, params).await {
                // Reading twice does no harm, and another connection may be fine.
                Err(Problem::Lost(_)) => self.session().await?.rows(sql, params).await,
                answered => answered,
            }
        };
        let late = |_| Problem::unavailable("the server does not answer");
        timeout(self.longest_wait, read).await.map_err(late)?
    }

    /// Runs such a read that gives at most one row.
    pub(super) async fn row(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Problem> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// Runs a read that can be long, until its time is over or nobody waits for it any more.
    pub(super) async fn scan<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Session) -> BoxFuture<'a, Result<T, Problem>> + Send + 'static,
    {
        tokio::select! {
            answered = self.scans.run(read) => answered,
            problem = self.silence() => Err(problem.into()),
        }
    }

    /// Answers when the server does not. A long read may take longer than that takes to find out.
    async fn silence(&self) -> Problem {
        loop {
            sleep(SUSPICIOUS).await;
            if let Err(problem) = self.ping().await {
                return problem;
            }
        }
    }

    /// Asks the server whether it is there.
    pub(super) async fn ping(&self) -> Result<(), Problem> {
        let session = self.session().await?;
        if let Ok(answered) = timeout(PING, session.batch("")).await {
            return answered;
        }
        session.condemn();
        // Nor will it answer the long reads, which would be waited for much longer.
        self.long
            .iter()
            .filter_map(Link::up)
            .for_each(|session| session.condemn());
        Err(Problem::unavailable("the server does not answer"))
    }

    /// The connections that there are, for short reads and for long ones.
    pub(super) fn connections(&self, short: &'static str, long: &'static str) -> [Connections; 2] {
        [link::count(short, &self.shared), link::count(long, &self.long)]
    }

    /// Answers once every connection was opened.
    pub(super) async fn opened(&self) {
        for link in &self.shared {
            link.opened().await;
        }
    }

    /// Takes turns among the connections that are there.
    async fn session(&self) -> Result<Arc<Session>, Problem> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut turn = self
            .shared
            .iter()
            .cycle()
            .skip(first % self.shared.len())
            .take(self.shared.len());
        if let Some(session) = turn.clone().find_map(Link::up) {
            return Ok(session);
        }
        match turn.next() {
            Some(link) => link.session().await,
            None => Err(Problem::unavailable("there are no connections")),
        }
    }
}
