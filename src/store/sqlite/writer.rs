//! The one thread that writes.
//!
//! It takes every request that waits, runs each in a savepoint of its own inside one transaction,
//! commits, and answers after the commit. It never waits for more requests to come: batches form by
//! themselves while a commit is being flushed.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    purge,
    request::{Call, Close, Next, Request},
};
use crate::{
    clock::Stopwatch,
    model::ConversationId,
    store::{Error, News, Result},
    telemetry::metrics::StoreMetrics,
};

/// The most requests in one commit: bounds how long the first of them waits.
const BATCH: usize = 256;

/// Requests that may wait. Callers beyond that wait for a place.
const QUEUE: usize = 1_024;

/// The transaction that a request writes in.
pub(super) struct Tx<'db> {
    db: &'db Connection,
    wakes: Cell<bool>,
    purges: Cell<bool>,
    /// Where something happened. Whether anybody waits is asked after the commit: who came during it looked too early.
    happened: RefCell<Vec<ConversationId>>,
}

impl Tx<'_> {
    fn begin(&self) -> Result<()> {
        // begin: IMMEDIATE, so that the wait for another process's lock happens here and nowhere else.
        self.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        Ok(())
    }

    /// Makes the workers look into the queue of replies, once this is committed.
    pub(super) fn wake_workers(&self) {
        self.wakes.set(true);
    }

    /// Tells whoever waits that something happened in this conversation, once this is committed.
    pub(super) fn tell(&self, conversation: ConversationId) {
        self.happened.borrow_mut().push(conversation);
    }

    /// Makes this thread remove what a deletion left behind, once this is committed.
    pub(super) fn purge_later(&self) {
        self.purges.set(true);
    }
}

impl std::ops::Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}

/// A request in the queue, and since when.
struct Waiting {
    request: Box<dyn Request>,
    since: Stopwatch,
}

impl Waiting {
    fn new(request: impl Request + 'static) -> Self {
        Self {
            request: Box::new(request),
            since: Stopwatch::start(),
        }
    }
}

/// A handle to the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    requests: mpsc::Sender<Waiting>,
    broken: watch::Receiver<Option<String>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closing: AtomicBool,
}

impl Writer {
    pub(super) fn start(
        db: Connection,
        wakeups: Arc<Notify>,
        news: News,
        purging: bool,
        metrics: StoreMetrics,
    ) -> std::io::Result<Self> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (report, broken) = watch::channel(None);
        let desk = Desk {
            db,
            queue,
            wakeups,
            news,
            broken: report,
            purging,
            metrics,
        };
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || desk.run())?;
        Ok(Self {
            requests,
            broken,
            thread: Mutex::new(Some(thread)),
            closing: AtomicBool::new(false),
        })
    }

    /// Runs a write and answers once it is durable. Dropping the future takes nothing back.
    pub(super) async fn write<T, F>(&self, write: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Unavailable("it is closing".to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        let call = Call {
            write: Some(write),
            outcome: Err(Error::Unavailable("it is closing".to_owned())),
            answer,
        };
        self.requests
            .send(Waiting::new(call))
            .await
            .map_err(|_| self.gone())?;
        answered.await.map_err(|_| self.gone())?
    }

    /// Whether the thread is at work.
    pub(super) fn check(&self) -> Result<()> {
        match self.broken.borrow().as_ref() {
            Some(reason) => Err(Error::Unavailable(reason.clone())),
            None if self.requests.is_closed() => Err(self.gone()),
            None => Ok(()),
        }
    }

    /// Answers when the database can no longer be trusted.
    pub(super) async fn broken(&self) -> String {
        let mut broken = self.broken.clone();
        let reason = broken
            .wait_for(Option::is_some)
            .await
            .ok()
            .map(|reason| reason.clone().unwrap_or_default());
        match reason {
            Some(reason) => reason,
            // The thread ended without a word: it was closed, and nothing broke.
            None if self.closing.load(Ordering::Acquire) => std::future::pending().await,
            None => "the writing thread ended".to_owned(),
        }
    }

    /// Finishes what waits, then closes the database.
    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let (answer, answered) = oneshot::channel();
        if self.requests.send(Waiting::new(Close { answer })).await.is_ok() {
            // An error means that the thread is gone already.
            let _ = answered.await;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread closes the connection, which moves the log into the database.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn gone(&self) -> Error {
        let reason = self
            .broken
            .borrow()
            .clone()
            .unwrap_or_else(|| "it is closed".to_owned());
        Error::Unavailable(reason)
    }
}

/// What the thread does next.
enum Task {
    Serve(Waiting),
    Remove,
    Stop,
}

/// The thread's side.
struct Desk {
    db: Connection,
    queue: mpsc::Receiver<Waiting>,
    wakeups: Arc<Notify>,
    news: News,
    broken: watch::Sender<Option<String>>,
    /// Whether deleted conversations have left something to remove.
    purging: bool,
    metrics: StoreMetrics,
}

impl Desk {
    fn run(mut self) {
        loop {
            match self.next() {
                Task::Serve(first) => {
                    if self.serve(first) == Next::Stop {
                        return;
                    }
                }
                Task::Remove => {}
                Task::Stop => return,
            }
            // Between two groups of requests, so that neither keeps the other waiting for long.
            if self.purging
                && let Err(error) = self.purge()
            {
                self.fail(&mut [], &error);
            }
            if self.broken.borrow().is_some() {
                return;
            }
        }
    }

    /// Waits for a request, unless there is something to remove meanwhile.
    fn next(&mut self) -> Task {
        if !self.purging {
            return self.queue.blocking_recv().map_or(Task::Stop, Task::Serve);
        }
        match self.queue.try_recv() {
            Ok(request) => Task::Serve(request),
            Err(mpsc::error::TryRecvError::Empty) => Task::Remove,
            Err(mpsc::error::TryRecvError::Disconnected) => Task::Stop,
        }
    }

    /// Serves a request and all that wait with it.
    fn serve(&mut self, first: Waiting) -> Next {
        let mut batch = vec![self.taken(first)];
        if let Err(error) = self.commit(&mut batch) {
            self.fail(&mut batch, &error);
        }
        let mut next = Next::GoOn;
        for request in batch {
            if request.answer() == Next::Stop {
                next = Next::Stop;
            }
        }
        next
    }

    /// A request whose wait is over.
    fn taken(&self, waiting: Waiting) -> Box<dyn Request> {
        self.metrics.waited(waiting.since.elapsed());
        waiting.request
    }

    /// Removes a little. After an error it is left to the next deletion, or the next start.
    fn purge(&mut self) -> Result<()> {
        self.purging = false;
        self.purging = purge::step(&self.db)?;
        Ok(())
    }

    /// Runs what waits in one transaction.
    fn commit(&mut self, batch: &mut Vec<Box<dyn Request>>) -> Result<()> {
        let tx = Tx {
            db: &self.db,
            wakes: Cell::new(false),
            purges: Cell::new(false),
            happened: RefCell::default(),
        };
        if let Err(error) = tx.begin() {
            // Whoever waited for the lock until now has waited long enough: nobody waits for it twice.
            while let Ok(waiting) = self.queue.try_recv() {
                batch.push(self.taken(waiting));
            }
            return Err(error);
        }
        let mut at = 0;
        while let Some(request) = batch.get_mut(at) {
            if at == 0 {
                run_first(&tx, request.as_mut())?;
            } else {
                run_in_savepoint(&tx, request.as_mut())?;
            }
            at += 1;
            if at < BATCH
                && at == batch.len()
                && let Ok(waiting) = self.queue.try_recv()
            {
                batch.push(waiting.request);
                self.metrics.waited(waiting.since.elapsed());
            }
        }
        // commit: returns after the log is flushed to the disk.
        let flush = Stopwatch::start();
        tx.prepare_cached("COMMIT")?.execute(())?;
        self.metrics.committed(batch.len(), flush.elapsed());
        if tx.wakes.get() {
            self.wakeups.notify_one();
        }
        self.purging |= tx.purges.get();
        for conversation in tx.happened.take() {
            self.news.tell(conversation);
        }
        Ok(())
    }

    /// The transaction failed as a whole: nothing of it stays, and everybody in it learns why.
    fn fail(&self, batch: &mut [Box<dyn Request>], error: &Error) {
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "rolling back failed");
        }
        if let Error::Broken(cause) = error {
            // Whether the commit reached the disk is unknown until the database is opened anew.
            tracing::error!(
                cause,
                "writing failed; the process ends, so that a restart finds out what is on disk"
            );
            self.broken.send_replace(Some(cause.clone()));
        } else {
            tracing::warn!(%error, requests = batch.len(), "a group of writes failed");
        }
        for request in batch {
            request.fail(match error {
                Error::Full => Error::Full,
                Error::Unavailable(reason) => Error::Unavailable(reason.clone()),
                other => Error::Unavailable(other.to_string()),
            });
        }
    }
}

/// Runs the first request, which has no neighbours yet: when it fails, the transaction starts over.
fn run_first(tx: &Tx<'_>, request: &mut dyn Request) -> Result<()> {
    if let Err(error) = request.run(tx) {
        judge(tx, error)?;
        tx.wakes.set(false);
        tx.prepare_cached("ROLLBACK")?.execute(())?;
        tx.begin()?;
    }
    Ok(())
}

/// Runs one request so that its failure takes nothing of its neighbours along.
fn run_in_savepoint(tx: &Tx<'_>, request: &mut dyn Request) -> Result<()> {
    tx.prepare_cached("SAVEPOINT request")?.execute(())?;
    let woke = tx.wakes.get();
    if let Err(error) = request.run(tx) {
        judge(tx, error)?;
        tx.wakes.set(woke);
        tx.prepare_cached("ROLLBACK TO request")?.execute(())?;
    }
    tx.prepare_cached("RELEASE request")?.execute(())?;
    Ok(())
}

/// Whether a request's error is its own; if not, the whole transaction's.
fn judge(tx: &Tx<'_>, error: &Error) -> Result<()> {
    match error {
        Error::Full => Err(Error::Full),
        Error::Broken(cause) => Err(Error::Broken(cause.clone())),
        // Some errors have ended the transaction before anybody could decide.
        error if tx.is_autocommit() => Err(Error::Unavailable(error.to_string())),
        _ => Ok(()),
    }
}
