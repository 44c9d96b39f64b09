//! The embedded database: SQLite in WAL mode with `synchronous=FULL`.
//!
//! One thread writes (`writer`): it takes all waiting requests, commits them together and answers
//! after the commit, so that full durability costs one flush for many. Bounded reads run in place on
//! one of a few read-only connections (`readers`); what can be long runs on a blocking thread with
//! a deadline. No read transaction is ever held across an await.

mod connection;
mod context;
mod control;
mod conversations;
mod copy;
mod error;
mod events;
mod messages;
mod migrations;
mod open;
mod pages;
mod purge;
mod readers;
mod replies;
mod request;
mod settle;
mod sweep;
mod turns;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Notify;

pub use copy::{SqliteArchive, copy_name};
pub use open::{OpenError, check_integrity, migrate, refuse_unfinished, status};

use self::{open::ServerLock, readers::Readers, writer::Writer};
use super::{ConversationStore, EventStore, News, PageAnswer, Portion, ReplyStore, Result, Store};
use crate::model::{
    Attempt, ClaimedReply, Context, Conversation, ConversationChange, ConversationId, Finished, Lease,
    Message, MessageId, MessageQuery, NewConversation, NewMessage, Outcome, Progress, Reply, ReplyOptions,
    Retried, Swept, Timestamp, Told,
};

/// How to open the database.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file; created when missing.
    pub path: PathBuf,
    /// How many read-only connections to keep for reads in place; one for each thread that runs requests.
    pub readers: usize,
    /// How long a long read may take.
    pub scan_deadline: Duration,
    /// How long a write waits for another process's lock.
    pub busy_timeout: Duration,
}

impl Options {
    /// The usual settings for a database at this path.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            readers: 4,
            scan_deadline: Duration::from_secs(15),
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// A store in one SQLite file, which one server at a time may hold.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    wakeups: Arc<Notify>,
    call_offs: Arc<Notify>,
    news: News,
    _lock: ServerLock,
}

impl SqliteStore {
    /// Opens the database for a server: takes the lock among servers, creates the file when it is
    /// missing, brings the schema up to date, and starts the writer.
    ///
    /// Blocks; call it before serving.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let lock = ServerLock::take(&options.path)?;
        migrate(&options.path)?;
        let wakeups = Arc::new(Notify::new());
        let connection = connection::writing(&options.path, options.busy_timeout)?;
        open::refuse_unfinished_in(&connection)?;
        // Deletions that the last run did not finish.
        let purging = purge::is_due(&connection)?;
        let news = News::default();
        let writer = Writer::start(connection, Arc::clone(&wakeups), news.clone(), purging)
            .map_err(OpenError::Thread)?;
        let readers = Readers::open(options)?;
        Ok(Self {
            writer,
            readers,
            wakeups,
            call_offs: Arc::default(),
            news,
            _lock: lock,
        })
    }
}

#[async_trait]
impl ConversationStore for SqliteStore {
    async fn create_conversation(&self, new: NewConversation) -> Result<Conversation> {
        conversations::create(self, new).await
    }

    async fn change_conversation(
        &self,
        id: ConversationId,
        change: ConversationChange,
        now: Timestamp,
    ) -> Result<Option<Conversation>> {
        conversations::change(self, id, change, now).await
    }

    async fn options(&self, id: ConversationId) -> Result<Option<ReplyOptions>> {
        conversations::options(self, id)
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>> {
        conversations::read(self, id)
    }

    async fn delete_conversation(&self, id: ConversationId) -> Result<bool> {
        conversations::delete(self, id).await
    }

    async fn append_message(&self, new: NewMessage) -> Result<Option<Message>> {
        messages::append(self, new).await
    }

    async fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>> {
        messages::read(self, conversation, id)
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
impl ReplyStore for SqliteStore {
    async fn reply(&self, conversation: ConversationId, message: MessageId) -> Result<Option<Reply>> {
        replies::read(self, conversation, message)
    }

    async fn claim_replies(
        &self,
        limit: usize,
        full: Vec<String>,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<ClaimedReply>> {
        replies::claim(self, limit, full, now, lease).await
    }

    async fn context(
        &self,
        conversation: ConversationId,
        message: MessageId,
        bytes: usize,
    ) -> Result<Option<Context>> {
        context::read(self, conversation, message, bytes)
    }

    async fn tell(&self, lease: Lease, progress: Vec<Progress>, now: Timestamp) -> Result<Finished> {
        replies::tell(self, lease, progress, now).await
    }

    async fn renew_leases(&self, leases: Vec<Lease>, now: Timestamp, lease: Duration) -> Result<Vec<Lease>> {
        replies::renew(self, leases, now, lease).await
    }

    async fn finish_reply(
        &self,
        lease: Lease,
        outcome: Outcome,
        told: Told,
        now: Timestamp,
    ) -> Result<Finished> {
        replies::finish(self, lease, outcome, told, now).await
    }

    async fn cancel_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        partial: MessageId,
        now: Timestamp,
    ) -> Result<Option<Reply>> {
        control::cancel(self, conversation, message, partial, now).await
    }

    async fn retry_reply(
        &self,
        conversation: ConversationId,
        message: MessageId,
        lane: Option<String>,
        now: Timestamp,
    ) -> Result<Retried> {
        control::retry(self, conversation, message, lane, now).await
    }

    async fn attempts(
        &self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<Vec<Attempt>>> {
        control::attempts(self, conversation, message)
    }

    async fn reply_options(
        &self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<ReplyOptions>> {
        replies::options(self, conversation, message)
    }

    async fn sweep_replies(&self, now: Timestamp, most_lost: u32, longest_pause: Duration) -> Result<Swept> {
        sweep::sweep(self, now, most_lost, longest_pause).await
    }

    async fn reclaim_replies(&self, now: Timestamp, most_lost: u32) -> Result<Swept> {
        sweep::reclaim(self, now, most_lost).await
    }

    async fn until_due(&self, full: Vec<String>, now: Timestamp) -> Result<Option<Duration>> {
        replies::until_due(self, &full, now)
    }

    fn wakeups(&self) -> Arc<Notify> {
        Arc::clone(&self.wakeups)
    }

    fn call_offs(&self) -> Arc<Notify> {
        // Nobody else works on the replies of this database.
        Arc::clone(&self.call_offs)
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn events(
        &self,
        conversation: ConversationId,
        reply: Option<MessageId>,
        after: u64,
    ) -> Result<Option<Portion>> {
        events::read(self, conversation, reply, after)
    }

    async fn last_event(&self, conversation: ConversationId) -> Result<Option<u64>> {
        events::last(self, conversation)
    }

    async fn prune_deltas(&self, before: Timestamp) -> Result<u32> {
        events::prune(self, before).await
    }

    fn news(&self) -> &News {
        &self.news
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn check(&self) -> Result<()> {
        self.writer.check()?;
        // ping: a read that touches the file.
        self.readers
            .read(|db| Ok(db.query_row("SELECT count(*) FROM schema_migrations", (), |_| Ok(()))?))
    }

    async fn broken(&self) -> String {
        self.writer.broken().await
    }

    async fn close(&self) {
        // The last connection to close moves the log into the database: that has to be the writer's.
        self.readers.close();
        self.writer.close().await;
    }
}
