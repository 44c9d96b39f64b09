//! The shared database: PostgreSQL, for several nodes over the same data.
//!
//! Short reads share a few connections (`readers`), and what many look up at the same time is one statement (`lookups`);
//! new messages and answers that wait at the same time are one statement and one commit (`writer`); everything else has a
//! session to itself for as long as it takes (`desk`). Connections come back by themselves (`link`). Leases go by the database's clock, and a hint goes to
//! every node when a reply may be due (`notices`).
//!
//! The files have the names of those in [`super::sqlite`], and the same statements in them.

mod connection;
mod conversations;
mod copy;
mod desk;
mod error;
mod link;
mod lookups;
mod messages;
mod migrations;
mod notices;
mod open;
mod pages;
mod purge;
mod readers;
mod replies;
mod tls;
mod url;
mod writer;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Notify, time::timeout};

pub use copy::{PostgresArchive, copy_name};
pub use open::{OpenError, check_integrity, migrate, refuse_unfinished, status, validate};

use self::{
    connection::Connector,
    link::{Ears, Link},
    notices::Notices,
    readers::Readers,
    url::Target,
    writer::Writer,
};
use super::{Claimant, ConversationStore, PageAnswer, ReplyStore, Result, Store};
use crate::{
    model::{
        ClaimedReply, Conversation, ConversationId, Finished, Lease, Message, MessageId, MessageQuery,
        NewConversation, NewMessage, Outcome, Reply, Swept, Timestamp,
    },
    shutdown::Shutdown,
};

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
        let writer = Writer::start(&groups, &desk, &notices, trusts_caller, &workers);
        let readers = Readers::start(&short, &long, options.readers, (&links, &workers));
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
    Ok(Readers::start(&short, &long, options.readers, tasks))
}

#[async_trait]
impl ConversationStore for PostgresStore {
    async fn create_conversation(&self, new: NewConversation) -> Result<Conversation> {
        conversations::create(self, new).await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>> {
        conversations::read(self, id).await
    }

    async fn delete_conversation(&self, id: ConversationId) -> Result<bool> {
        conversations::delete(self, id).await
    }

    async fn append_message(&self, new: NewMessage) -> Result<Option<Message>> {
        messages::append(self, new, None).await
    }

    async fn append_and_claim(&self, new: NewMessage, claimant: Claimant) -> Result<Option<Message>> {
        messages::append(self, new, Some(claimant)).await
    }

    async fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>> {
        messages::read(self, conversation, id).await
    }

    async fn delete_message(
        &self,
        conversation: ConversationId,
        id: MessageId,
        now: Timestamp,
    ) -> Result<bool> {
        messages::delete(self, conversation, id, now).await
    }

    async fn messages(&self, query: MessageQuery) -> Result<PageAnswer> {
        pages::page(self, query).await
    }
}

#[async_trait]
impl ReplyStore for PostgresStore {
    async fn reply(&self, conversation: ConversationId, message: MessageId) -> Result<Option<Reply>> {
        replies::read(self, conversation, message).await
    }

    async fn claim_replies(
        &self,
        limit: usize,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<ClaimedReply>> {
        replies::claim(self, limit, now, lease).await
    }

    async fn renew_leases(&self, leases: Vec<Lease>, now: Timestamp, lease: Duration) -> Result<Vec<Lease>> {
        replies::renew(self, leases, now, lease).await
    }

    async fn finish_reply(&self, lease: Lease, outcome: Outcome, now: Timestamp) -> Result<Finished> {
        replies::finish(self, lease, outcome, now).await
    }

    async fn sweep_replies(&self, now: Timestamp, most_lost: u32, longest_pause: Duration) -> Result<Swept> {
        replies::sweep(self, now, most_lost, longest_pause).await
    }

    async fn reclaim_replies(&self, now: Timestamp, most_lost: u32) -> Result<Swept> {
        replies::reclaim(self, now, most_lost).await
    }

    async fn until_due(&self, now: Timestamp) -> Result<Option<Duration>> {
        replies::until_due(self, now).await
    }

    fn wakeups(&self) -> Arc<Notify> {
        self.notices.here()
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn check(&self) -> Result<()> {
        self.writer.check().await?;
        Ok(self.readers.ping().await?)
    }

    async fn broken(&self) -> String {
        // What is acknowledged is the server's to keep; connections come back by themselves.
        std::future::pending().await
    }

    async fn close(&self) {
        self.workers.begin();
        // A server that is away keeps nobody from ending.
        let _ = timeout(CLOSING, self.workers.finished()).await;
        self.links.force();
        let _ = timeout(CLOSING, self.links.finished()).await;
    }
}
