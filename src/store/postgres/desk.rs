//! Sessions that one request at a time has to itself: for transactions, and for what takes long.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{connection::Session, error::Problem, link::Link};
use crate::{
    clock::Stopwatch,
    shutdown::Shutdown,
    store::{Error, Result},
    telemetry::metrics::{Pool, StoreMetrics},
};

/// Requests that may wait. Callers beyond that wait for a place.
const QUEUE: usize = 256;

/// What becomes of a request that nobody waits for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abandoned {
    /// It is carried out all the same.
    GoesOn,
    /// The server is asked to stop it.
    IsCancelled,
}

/// How long requests wait for a session.
#[derive(Clone)]
pub(super) struct Waits {
    metrics: StoreMetrics,
    pool: Pool,
}

impl Waits {
    pub(super) fn of(metrics: &StoreMetrics, pool: Pool) -> Self {
        let metrics = metrics.clone();
        Self { metrics, pool }
    }
}

/// A queue before a few sessions.
#[derive(Clone)]
pub(super) struct Desk {
    queue: mpsc::Sender<Waiting>,
    abandoned: Abandoned,
}

/// A request in the queue, and since when.
struct Waiting {
    request: Box<dyn Request>,
    since: Stopwatch,
}

impl Desk {
    /// Serves requests on these links, until the tasks are asked to end and nothing waits any more.
    pub(super) fn start(links: &[Link], abandoned: Abandoned, waits: &Waits, tasks: &Shutdown) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        let requests = Arc::new(Mutex::new(requests));
        for link in links {
            let (link, all) = (link.clone(), links.to_owned());
            let requests = Arc::clone(&requests);
            tasks.spawn(serve(link, all, requests, waits.clone(), tasks.clone()));
        }
        Self { queue, abandoned }
    }

    /// Runs this work on a session of its own.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Session) -> BoxFuture<'a, Result<T, Problem>> + Send + 'static,
    {
        let closed = || Error::Unavailable("it is closing".to_owned());
        let (answer, answered) = oneshot::channel();
        let call = Call {
            work,
            answer,
            abandoned: self.abandoned,
        };
        let waiting = Waiting {
            request: Box::new(call),
            since: Stopwatch::start(),
        };
        self.queue.send(waiting).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

type Requests = Arc<Mutex<mpsc::Receiver<Waiting>>>;

async fn serve(link: Link, all: Vec<Link>, requests: Requests, waits: Waits, tasks: Shutdown) {
    loop {
        tokio::select! {
            () = link.turn(&all) => {}
            () = tasks.begun() => {}
        }
        let next = {
            let mut requests = requests.lock().await;
            tokio::select! {
                biased;
                () = tasks.begun() => {
                    // What waits is still served, and nothing comes after it.
                    requests.close();
                    requests.recv().await
                }
                // Asked before anything is taken: what is taken without a connection is sent away.
                () = link.passes(&all) => continue,
                request = requests.recv() => request,
            }
        };
        match next {
            Some(Waiting { request, since }) => {
                waits.metrics.pool_waited(waits.pool, since.elapsed());
                request.run(&link).await;
            }
            None => return,
        }
    }
}

#[async_trait]
trait Request: Send {
    async fn run(self: Box<Self>, link: &Link);
}

struct Call<T, F> {
    work: F,
    answer: oneshot::Sender<Result<T>>,
    abandoned: Abandoned,
}

#[async_trait]
impl<T, F> Request for Call<T, F>
where
    T: Send + 'static,
    F: for<'a> FnOnce(&'a Session) -> BoxFuture<'a, Result<T, Problem>> + Send + 'static,
{
    async fn run(self: Box<Self>, link: &Link) {
        let Self {
            work,
            mut answer,
            abandoned,
        } = *self;
        let session = match link.session().await {
            Ok(session) => session,
            Err(problem) => {
                let _ = answer.send(Err(problem.into()));
                return;
            }
        };
        let mut running = work(&session);
        let outcome = tokio::select! {
            outcome = &mut running => outcome,
            () = answer.closed(), if abandoned == Abandoned::IsCancelled => session.stop(running).await,
        };
        // Nobody may be waiting any more; what was done stays done.
        let _ = answer.send(outcome.map_err(Error::from));
    }
}
