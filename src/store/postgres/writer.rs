//! Writes. What many do at once (new conversations, messages and answers) is grouped; the rest has a desk.
//!
//! A group is whatever waits when a connection is free: one statement and one commit for all of it. It never waits
//! for more to come. What fails in a group is tried again alone, so that nobody fails for a neighbour.
//!
//! When the connection ends before the answer, nobody knows what became of the statement. Then the group's own ids,
//! which nobody else can have used, are looked up: what is there was written, and the rest may yet be.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    clerk::Clerk,
    connection::Session,
    desk::{Abandoned, Desk, Waits},
    error::Problem,
    link::{self, Link},
    notices::Notices,
    telling::{Doubts, Telling},
};
use crate::{
    clock::{Seldom, Stopwatch},
    model::{Conversation, Finished, Lease, Message, NewConversation, NewMessage},
    shutdown::Shutdown,
    store::{Claimant, Error, Once, Result, vitals::Connections},
    telemetry::metrics::{Pool, StoreMetrics},
};

/// The most requests in one commit: bounds how long the first of them waits.
pub(super) const GROUP: usize = 256;

/// Requests that may wait. Callers beyond that wait for a place.
const QUEUE: usize = 1_024;

/// A conversation to be created.
pub(super) struct Creation {
    pub(super) new: NewConversation,
    pub(super) once: Option<Once<Conversation>>,
}

/// A message to be appended, a user's or an answer.
pub(super) struct Saying {
    pub(super) new: NewMessage,
    pub(super) folded: Option<String>,
    /// How this answers a user's message.
    pub(super) answers: Option<Answers>,
    /// Who begins on the reply at once.
    pub(super) claimant: Option<Claimant>,
    /// What is to be remembered of it tells its date, so it is stored with the date that it comes with, or not in a group.
    pub(super) once: Option<Once<Message>>,
}

/// What became of a message.
pub(super) enum Said {
    /// It is stored.
    Stored(Message),
    /// There is no such conversation, or the lease was lost.
    Nowhere,
    /// Its conversation has a later date. Nothing was stored.
    Behind(Box<Saying>),
}

/// What an answer says besides its text.
pub(super) struct Answers {
    /// Under which it is stored.
    pub(super) lease: Lease,
    pub(super) account: Option<String>,
}

/// What waits for a connection.
pub(super) enum Request {
    Create(Creation, oneshot::Sender<Result<Conversation>>),
    Say(Saying, oneshot::Sender<Result<Said>>),
    Tell(Telling, oneshot::Sender<Result<Finished>>),
}

/// A request in the queue, and since when.
pub(super) struct Waiting {
    pub(super) request: Request,
    pub(super) since: Stopwatch,
}

pub(super) type Creations = Vec<(Creation, oneshot::Sender<Result<Conversation>>)>;
pub(super) type Sayings = Vec<(Saying, oneshot::Sender<Result<Said>>)>;
pub(super) type Tellings = Vec<(Telling, oneshot::Sender<Result<Finished>>)>;

pub(super) struct Writer {
    requests: mpsc::Sender<Waiting>,
    desk: Desk,
    /// Those of the groups, and those of the desk.
    links: [Vec<Link>; 2],
    doubts: Arc<Doubts>,
}

impl Writer {
    /// Writes groups on some links and everything else on others, until the tasks are asked to end and nothing waits.
    pub(super) fn start(
        groups: &[Link],
        desk: &[Link],
        notices: &Notices,
        trusts_caller: bool,
        metrics: &StoreMetrics,
        tasks: &Shutdown,
    ) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let waits = Waits::of(metrics, Pool::Desk);
        let complaints = Arc::new(Seldom::every(Duration::from_secs(1)));
        let doubts = Arc::<Doubts>::default();
        for link in groups {
            let clerk = Clerk {
                link: link.clone(),
                all: groups.to_owned(),
                notices: notices.clone(),
                trusts_caller,
                complaints: Arc::clone(&complaints),
                doubts: Arc::clone(&doubts),
                metrics: metrics.clone(),
            };
            tasks.spawn(clerk.serve(Arc::clone(&queue), tasks.clone()));
        }
        Self {
            requests,
            desk: Desk::start(desk, Abandoned::GoesOn, &waits, tasks),
            links: [groups.to_owned(), desk.to_owned()],
            doubts,
        }
    }

    /// Creates a conversation.
    pub(super) async fn create(&self, creation: Creation) -> Result<Conversation> {
        self.ask(|answer| Request::Create(creation, answer)).await
    }

    /// Appends a message.
    pub(super) async fn say(&self, saying: Saying) -> Result<Said> {
        self.ask(|answer| Request::Say(saying, answer)).await
    }

    /// Stores what a worker has to tell.
    pub(super) async fn tell(&self, telling: Telling) -> Result<Finished> {
        self.ask(|answer| Request::Tell(telling, answer)).await
    }

    /// These are all leases that are held here.
    pub(super) fn hold(&self, leases: &[Lease]) {
        self.doubts.keep(leases);
    }

    /// Runs any other write. Dropping the future takes nothing back.
    pub(super) async fn write<T, F>(&self, write: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Session) -> BoxFuture<'a, Result<T, Problem>> + Send + 'static,
    {
        self.desk.run(write).await
    }

    /// The desk, for writes that nobody waits for.
    pub(super) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Whether there are connections to write on.
    pub(super) async fn check(&self) -> Result<(), Problem> {
        for link in self.links.iter().flatten() {
            link.session().await?;
        }
        Ok(())
    }

    /// The connections that there are.
    pub(super) fn connections(&self) -> [Connections; 2] {
        let [groups, desk] = &self.links;
        [link::count("groups", groups), link::count("desk", desk)]
    }

    /// Answers once every connection was opened.
    pub(super) async fn opened(&self) {
        for link in self.links.iter().flatten() {
            link.opened().await;
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<T> {
        let closed = || Error::Unavailable("it is closing".to_owned());
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            request: request(answer),
            since: Stopwatch::start(),
        };
        self.requests.send(waiting).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

impl Clerk {
    /// Runs the statement of a group of so many writes, which commits it.
    pub(super) async fn measured<T>(
        &self,
        writes: usize,
        statement: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let watch = Stopwatch::start();
        let done = statement.await;
        if done.is_ok() {
            self.metrics.committed(writes, watch.elapsed());
        }
        done
    }
}
