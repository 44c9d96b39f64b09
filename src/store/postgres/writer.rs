//! Writes. What many do at once (new conversations, messages and answers) is grouped; the rest has a desk.
//!
//! A group is whatever waits when a connection is free: one statement and one commit for all of it. It never waits
//! for more to come. What fails in a group is tried again alone, so that nobody fails for a neighbour.
//!
//! When the connection ends before the answer, nobody knows what became of the statement. Then the group's own ids,
//! which nobody else can have used, are looked up: what is there was written, and the rest may yet be.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use super::{
    connection::Session,
    conversations,
    desk::{Abandoned, Desk},
    error::Problem,
    link::Link,
    messages,
    notices::Notices,
};
use crate::{
    clock::Seldom,
    model::{ClaimedReply, Conversation, Lease, Message, NewConversation, NewMessage, Role, Timestamp},
    shutdown::Shutdown,
    store::{Claimant, Error, Result},
};

/// The most requests in one commit: bounds how long the first of them waits.
const GROUP: usize = 256;

/// Requests that may wait. Callers beyond that wait for a place.
const QUEUE: usize = 1_024;

/// How often a group is tried again that a deadlock has rolled back.
const CLASHES: u32 = 5;

/// A message to be appended, a user's or an answer.
pub(super) struct Saying {
    pub(super) new: NewMessage,
    pub(super) folded: Option<String>,
    /// The lease under which this answers a user's message.
    pub(super) answers: Option<Lease>,
    /// Who begins on the reply at once.
    pub(super) claimant: Option<Claimant>,
}

enum Request {
    Create(NewConversation, oneshot::Sender<Result<Conversation>>),
    Say(Saying, oneshot::Sender<Result<Option<Message>>>),
}

type Creations = Vec<(NewConversation, oneshot::Sender<Result<Conversation>>)>;
type Sayings = Vec<(Saying, oneshot::Sender<Result<Option<Message>>>)>;

pub(super) struct Writer {
    requests: mpsc::Sender<Request>,
    desk: Desk,
    links: Vec<Link>,
}

impl Writer {
    /// Writes groups on some links and everything else on others, until the tasks are asked to end and nothing waits.
    pub(super) fn start(
        groups: &[Link],
        desk: &[Link],
        notices: &Notices,
        trusts_caller: bool,
        tasks: &Shutdown,
    ) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let links = groups.iter().chain(desk).cloned().collect();
        let complaints = Arc::new(Seldom::every(Duration::from_secs(1)));
        for link in groups {
            let clerk = Clerk {
                link: link.clone(),
                all: groups.to_owned(),
                notices: notices.clone(),
                trusts_caller,
                complaints: Arc::clone(&complaints),
            };
            tasks.spawn(clerk.serve(Arc::clone(&queue), tasks.clone()));
        }
        Self {
            requests,
            desk: Desk::start(desk, Abandoned::GoesOn, tasks),
            links,
        }
    }

    /// Creates a conversation.
    pub(super) async fn create(&self, new: NewConversation) -> Result<Conversation> {
        self.ask(|answer| Request::Create(new, answer)).await
    }

    /// Appends a message; `None` when there is no such conversation, or the lease was lost.
    pub(super) async fn say(&self, saying: Saying) -> Result<Option<Message>> {
        self.ask(|answer| Request::Say(saying, answer)).await
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
        for link in &self.links {
            link.session().await?;
        }
        Ok(())
    }

    /// Answers once every connection was opened.
    pub(super) async fn opened(&self) {
        for link in &self.links {
            link.opened().await;
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<T> {
        let closed = || Error::Unavailable("it is closing".to_owned());
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

/// Who writes groups on one connection.
struct Clerk {
    link: Link,
    /// Those of all clerks.
    all: Vec<Link>,
    notices: Notices,
    trusts_caller: bool,
    /// While the server is away, groups are small and many.
    complaints: Arc<Seldom>,
}

impl Clerk {
    async fn serve(self, queue: Arc<Mutex<mpsc::Receiver<Request>>>, tasks: Shutdown) {
        let mut group = Vec::with_capacity(GROUP);
        loop {
            tokio::select! {
                () = self.link.turn(&self.all) => {}
                () = tasks.begun() => {}
            }
            {
                let mut queue = queue.lock().await;
                tokio::select! {
                    biased;
                    () = tasks.begun() => {
                        // What waits is still written, and nothing comes after it.
                        queue.close();
                        queue.recv_many(&mut group, GROUP).await;
                    }
                    // Asked before anything is taken: what is taken without a connection is sent away.
                    () = self.link.passes(&self.all) => continue,
                    _ = queue.recv_many(&mut group, GROUP) => {}
                }
            }
            if group.is_empty() {
                return;
            }
            let (mut creations, mut sayings) = (Vec::new(), Vec::new());
            for request in group.drain(..) {
                match request {
                    Request::Create(new, answer) => creations.push((new, answer)),
                    Request::Say(saying, answer) => sayings.push((saying, answer)),
                }
            }
            tokio::join!(self.create(creations), self.say(sayings));
        }
    }

    async fn create(&self, group: Creations) {
        if group.is_empty() {
            return;
        }
        let news: Vec<_> = group.iter().map(|(new, _)| new).collect();
        let created = match self.link.session().await {
            Ok(session) => match conversations::create_all(&session, &news).await {
                Err(Problem::Lost(reason)) => self.look_up_conversations(&session, &news, reason).await,
                created => created.map(|created| (created, None)),
            },
            Err(problem) => Err(problem),
        };
        let (mut created, unknown) = match created {
            Ok(created) => created,
            Err(problem) => return self.refuse(group, problem.into()),
        };
        for (new, answer) in group {
            // Of two with one id, only the first created it.
            let outcome = match (created.remove(&new.id.as_uuid()), &unknown) {
                (true, _) => Ok(new.into()),
                (false, None) => Err(Error::Conflict),
                (false, Some(reason)) => Err(Error::Unavailable(String::clone(reason))),
            };
            // Nobody may be waiting any more; what was written stays written.
            let _ = answer.send(outcome);
        }
    }

    async fn look_up_conversations(
        &self,
        lost: &Session,
        news: &[&NewConversation],
        reason: String,
    ) -> Result<(HashSet<Uuid>, Option<String>), Problem> {
        let ids: Vec<_> = news.iter().map(|new| new.id.as_uuid()).collect();
        let session = self.session_after(lost).await?;
        let created = conversations::existing(&session, &ids).await?;
        Ok((created, Some(reason)))
    }

    async fn say(&self, group: Sayings) {
        let mut groups = vec![group];
        let mut clashes = 0;
        while let Some(group) = groups.pop() {
            if group.is_empty() {
                continue;
            }
            let session = match self.link.session().await {
                Ok(session) => session,
                Err(problem) => {
                    self.refuse(group, problem.into());
                    continue;
                }
            };
            match self.try_say(&session, &group).await {
                Ok(placed) => self.answer(group, &placed, None),
                Err(Problem::Clash(_)) if clashes < CLASHES => {
                    clashes += 1;
                    groups.push(group);
                }
                Err(Problem::Lost(reason)) => match self.look_up_messages(&session, &group).await {
                    Ok(placed) => self.answer(group, &placed, Some(&reason)),
                    Err(problem) => self.refuse(group, problem.into()),
                },
                Err(Problem::Refused(Error::Conflict | Error::Other(_))) if group.len() > 1 => {
                    // One of them is at fault: each for itself, in their order.
                    groups.extend(group.into_iter().rev().map(|alone| vec![alone]));
                }
                Err(problem) => self.refuse(group, problem.into()),
            }
        }
    }

    /// Appends a group. Gives the dates of those that found a place.
    async fn try_say(&self, session: &Session, group: &Sayings) -> Result<HashMap<Uuid, Timestamp>, Problem> {
        let sayings: Vec<_> = group.iter().map(|(saying, _)| saying).collect();
        let mut placed = messages::append_all(session, &sayings, self.trusts_caller).await?;
        // An answer whose lease is gone may have been stored by an earlier try that nobody heard of.
        let unplaced = sayings.iter().filter(|saying| saying.answers.is_some());
        let unplaced: Vec<_> = unplaced
            .map(|saying| saying.new.id.as_uuid())
            .filter(|id| !placed.contains_key(id))
            .collect();
        if !unplaced.is_empty() {
            placed.extend(messages::dates(session, &unplaced).await?);
        }
        Ok(placed)
    }

    async fn look_up_messages(
        &self,
        lost: &Session,
        group: &Sayings,
    ) -> Result<HashMap<Uuid, Timestamp>, Problem> {
        let ids: Vec<_> = group.iter().map(|(saying, _)| saying.new.id.as_uuid()).collect();
        let session = self.session_after(lost).await?;
        messages::dates(&session, &ids).await
    }

    /// A session that sees what became of what another was asked to do.
    async fn session_after(&self, lost: &Session) -> Result<Arc<Session>, Problem> {
        let session = self.link.session().await?;
        session.outlive(lost).await?;
        Ok(session)
    }

    /// Answers everybody in the group. Those without a place were refused, unless it is `unknown` what became of them.
    fn answer(&self, group: Sayings, placed: &HashMap<Uuid, Timestamp>, unknown: Option<&str>) {
        let mut wakes = false;
        for (saying, answer) in group {
            let outcome = match (placed.get(&saying.new.id.as_uuid()), unknown) {
                (Some(&at), _) => {
                    match saying.claimant {
                        Some(claimant) => claimant.begin(first_claim(&saying.new)),
                        None => wakes |= saying.new.role == Role::User,
                    }
                    Ok(Some(saying.new.placed(at)))
                }
                (None, None) => Ok(None),
                (None, Some(reason)) => Err(Error::Unavailable(reason.to_owned())),
            };
            // Nobody may be waiting any more; what was written stays written.
            let _ = answer.send(outcome);
        }
        if wakes {
            self.notices.wake();
        }
    }

    /// Tells everybody in a group why nothing of it was written.
    fn refuse<N, T>(&self, group: Vec<(N, oneshot::Sender<Result<T>>)>, error: Error) {
        let requests = group.len();
        if let Some(unsaid) = (requests > 0).then(|| self.complaints.pass()).flatten() {
            tracing::warn!(%error, requests, unsaid, "a group of writes failed");
        }
        let reason = error.to_string();
        let mut error = Some(error);
        for (_, answer) in group {
            let own = match &error {
                Some(Error::Full) => Error::Full,
                Some(Error::Unavailable(reason)) => Error::Unavailable(reason.clone()),
                // What cannot be told twice is told once as what it is; nothing was written for the others either.
                _ => error.take().unwrap_or_else(|| Error::Unavailable(reason.clone())),
            };
            let _ = answer.send(Err(own));
        }
    }
}

/// The claim that is stored together with its message.
fn first_claim(new: &NewMessage) -> ClaimedReply {
    ClaimedReply {
        lease: Lease {
            message: new.id,
            conversation: new.conversation,
            token: 1,
        },
        attempts: 1,
        retries: 0,
        prompt: new.text.clone(),
    }
}
