//! What many look up at once: one statement for all that wait.
//!
//! As with writes, a group is whatever waits when a connection is free, and nobody waits for more to come. A statement
//! costs the server and the driver more than the row that it finds.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    connection::Session,
    conversations,
    error::Problem,
    events,
    link::Link,
    pages::{self, Place},
};
use crate::{
    model::{Conversation, ConversationId},
    shutdown::Shutdown,
    store::{Error, Result},
};

/// The most lookups in one statement: bounds how long those behind it wait.
const GROUP: usize = 64;

/// Lookups that may wait. Callers beyond that wait for a place.
const QUEUE: usize = 1_024;

enum Request {
    Conversation(ConversationId, oneshot::Sender<Result<Option<Conversation>>>),
    Page(Place, oneshot::Sender<Result<Vec<Row>>>),
    Events(events::Place, oneshot::Sender<Result<Vec<Row>>>),
}

pub(super) struct Lookups {
    requests: mpsc::Sender<Request>,
    longest_wait: Duration,
}

impl Lookups {
    /// Looks up on these links, until the tasks are asked to end and nothing waits any more.
    ///
    /// Who waits longer than this, behind others that get no answer, is sent away.
    pub(super) fn start(links: &[Link], longest_wait: Duration, tasks: &Shutdown) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for link in links {
            tasks.spawn(serve(
                link.clone(),
                links.to_owned(),
                Arc::clone(&queue),
                tasks.clone(),
            ));
        }
        Self {
            requests,
            longest_wait,
        }
    }

    pub(super) async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>> {
        self.ask(|answer| Request::Conversation(id, answer)).await
    }

    /// Reads the rows of a page by its place.
    pub(super) async fn page(&self, place: Place) -> Result<Vec<Row>> {
        self.ask(|answer| Request::Page(place, answer)).await
    }

    /// Reads the rows of events from a place on.
    pub(super) async fn events(&self, place: events::Place) -> Result<Vec<Row>> {
        self.ask(|answer| Request::Events(place, answer)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<T> {
        let closed = || Error::Unavailable("it is closing".to_owned());
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.requests.send(request(answer)).await.map_err(|_| closed())?;
            answered.await.map_err(|_| closed())?
        };
        let late = |_| Error::Unavailable("the server does not answer".to_owned());
        timeout(self.longest_wait, asked).await.map_err(late)?
    }
}

async fn serve(link: Link, all: Vec<Link>, queue: Arc<Mutex<mpsc::Receiver<Request>>>, tasks: Shutdown) {
    let mut group = Vec::with_capacity(GROUP);
    loop {
        tokio::select! {
            () = link.turn(&all) => {}
            () = tasks.begun() => {}
        }
        {
            let mut queue = queue.lock().await;
            tokio::select! {
                biased;
                () = tasks.begun() => {
                    // What waits is still answered, and nothing comes after it.
                    queue.close();
                    queue.recv_many(&mut group, GROUP).await;
                }
                () = link.passes(&all) => continue,
                _ = queue.recv_many(&mut group, GROUP) => {}
            }
        }
        if group.is_empty() {
            return;
        }
        let (mut ids, mut asking) = (Vec::new(), Vec::new());
        let (mut places, mut turning) = (Vec::new(), Vec::new());
        let (mut marks, mut watching) = (Vec::new(), Vec::new());
        for request in group.drain(..) {
            match request {
                Request::Conversation(id, answer) => {
                    ids.push(id.as_uuid());
                    asking.push((id, answer));
                }
                Request::Page(place, answer) => {
                    places.push(place);
                    turning.push(answer);
                }
                Request::Events(place, answer) => {
                    marks.push(place);
                    watching.push(answer);
                }
            }
        }
        // All travel together.
        tokio::join!(
            async {
                if !ids.is_empty() {
                    let found = twice(&link, |db| conversations::find(db, &ids)).await;
                    tell_conversations(asking, found);
                }
            },
            async {
                if !places.is_empty() {
                    let found = twice(&link, |db| pages::turn_to(db, &places)).await;
                    tell_pages(turning, found);
                }
            },
            async {
                if !marks.is_empty() {
                    let found = twice(&link, |db| events::find(db, &marks)).await;
                    tell_pages(watching, found);
                }
            }
        );
    }
}

/// Reads, and once more when the connection was lost: reading twice does no harm.
async fn twice<T, F>(link: &Link, read: impl Fn(Arc<Session>) -> F) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>>,
{
    match read(link.session().await?).await {
        Err(Problem::Lost(_)) => read(link.session().await?).await,
        answered => answered,
    }
}

type Asking = Vec<(ConversationId, oneshot::Sender<Result<Option<Conversation>>>)>;

fn tell_conversations(asking: Asking, found: Result<HashMap<Uuid, Conversation>, Problem>) {
    let mut found = Shared::from(found);
    for (id, answer) in asking {
        // Nobody may be waiting any more.
        let _ = answer.send(found.get(|found| found.get(&id.as_uuid()).cloned()));
    }
}

fn tell_pages(turning: Vec<oneshot::Sender<Result<Vec<Row>>>>, found: Result<Vec<Vec<Row>>, Problem>) {
    let mut found = Shared::from(found);
    for (at, answer) in turning.into_iter().enumerate() {
        let _ = answer.send(found.get(|found| found.get_mut(at).map(std::mem::take).unwrap_or_default()));
    }
}

/// What a group was answered, for each of those in it.
enum Shared<T> {
    Found(T),
    Failed(Option<Error>, String),
}

impl<T> From<Result<T, Problem>> for Shared<T> {
    fn from(found: Result<T, Problem>) -> Self {
        match found.map_err(Error::from) {
            Ok(found) => Self::Found(found),
            Err(Error::Unavailable(reason)) => Self::Failed(None, reason),
            Err(error) => {
                let reason = error.to_string();
                Self::Failed(Some(error), reason)
            }
        }
    }
}

impl<T> Shared<T> {
    /// One's own part. An error that is not the server's absence is told once as what it is, and to the others as that.
    fn get<U>(&mut self, part: impl FnOnce(&mut T) -> U) -> Result<U> {
        match self {
            Self::Found(found) => Ok(part(found)),
            Self::Failed(error, reason) => {
                Err(error.take().unwrap_or_else(|| Error::Unavailable(reason.clone())))
            }
        }
    }
}
