//! Read-only connections: a stack for reads in place, a few for reads that can be long.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{OpenError, Options, connection};
use crate::{
    clock::Stopwatch,
    store::{Error, Result},
    telemetry::metrics::Pool,
};

/// How many long reads run at once: they must leave the processors to everybody else.
const SCANS: usize = 2;

/// How many steps of SQLite's machine pass between two looks at the deadline: some 100 microseconds.
const STEPS: std::ffi::c_int = 10_000;

#[derive(Debug)]
pub(super) struct Readers {
    in_place: Stack,
    scans: Arc<Stack>,
    scan_permits: Arc<Semaphore>,
    options: Options,
}

impl Readers {
    pub(super) fn open(options: &Options) -> Result<Self, OpenError> {
        Ok(Self {
            in_place: Stack::open(options, options.readers)?,
            scans: Arc::new(Stack::open(options, SCANS)?),
            scan_permits: Arc::new(Semaphore::new(SCANS)),
            options: options.clone(),
        })
    }

    /// Lets go of the connections that nobody uses. A read that comes later opens one for itself.
    pub(super) fn close(&self) {
        self.in_place.clear();
        self.scans.clear();
    }

    /// Reads on the calling thread. For indexed, bounded reads only: microseconds, no more than encoding the answer.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let db = match self.in_place.pop() {
            Some(db) => db,
            // More threads read than was planned for; a fresh connection beats waiting for one.
            None => connection::reading(&self.options.path, self.options.busy_timeout)?,
        };
        let answer = read(&db);
        self.in_place.push(db, self.options.readers);
        answer
    }

    /// Reads on a blocking thread, until the deadline passes or nobody waits for the answer any more.
    pub(super) async fn scan<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let closed = || Error::Unavailable("it is closing".to_owned());
        let waiting = Stopwatch::start();
        let permit = Arc::clone(&self.scan_permits)
            .acquire_owned()
            .await
            .map_err(|_| closed())?;
        self.options.metrics.pool_waited(Pool::Scans, waiting.elapsed());
        let scans = Arc::clone(&self.scans);
        let options = self.options.clone();
        let abandoned = Arc::new(AtomicBool::new(false));
        let _abandon_on_drop = SetOnDrop(Arc::clone(&abandoned));
        let scan = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut db = match scans.pop() {
                Some(db) => db,
                None => connection::reading(&options.path, options.busy_timeout)?,
            };
            let watch = Stopwatch::start();
            let stop = move || abandoned.load(Ordering::Relaxed) || watch.elapsed() > options.scan_deadline;
            db.progress_handler(STEPS, Some(stop))?;
            let answer = read(&db);
            db.progress_handler(0, None::<fn() -> bool>)?;
            scans.push(db, SCANS);
            answer
        });
        scan.await.map_err(|_| closed())?
    }
}

/// Connections that nobody uses right now.
#[derive(Debug)]
struct Stack(Mutex<Vec<Connection>>);

impl Stack {
    fn open(options: &Options, count: usize) -> Result<Self, OpenError> {
        let connections: rusqlite::Result<Vec<_>> = (0..count)
            .map(|_| connection::reading(&options.path, options.busy_timeout))
            .collect();
        Ok(Self(Mutex::new(connections?)))
    }

    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn pop(&self) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps the connection, unless there are enough already.
    fn push(&self, db: Connection, most: usize) {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() < most {
            connections.push(db);
        }
    }
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
