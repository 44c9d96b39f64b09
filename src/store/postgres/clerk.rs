//! Who writes what waits, group by group, on one connection.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use super::{
    connection::Session,
    conversations,
    error::Problem,
    link::Link,
    messages::{self, Fate},
    notices::Notices,
    replies::micros,
    telling::{self, Doubts, Telling, Told},
    turns,
    writer::{Creation, Creations, GROUP, Request, Said, Sayings, Tellings, Waiting},
};
use crate::{
    clock::Seldom,
    model::{ClaimedReply, Finished, Lease, NewMessage, Role},
    shutdown::Shutdown,
    store::{Error, Result},
    telemetry::metrics::StoreMetrics,
};

/// How often a group is tried again that a deadlock has rolled back.
const CLASHES: u32 = 5;

/// Who writes groups on one connection.
pub(super) struct Clerk {
    pub(super) link: Link,
    /// Those of all clerks.
    pub(super) all: Vec<Link>,
    pub(super) notices: Notices,
    pub(super) trusts_caller: bool,
    /// While the server is away, groups are small and many.
    pub(super) complaints: Arc<Seldom>,
    pub(super) doubts: Arc<Doubts>,
    pub(super) metrics: StoreMetrics,
}

impl Clerk {
    /// Writes what waits, until the tasks are asked to end.
    pub(super) async fn serve(self, queue: Arc<Mutex<mpsc::Receiver<Waiting>>>, tasks: Shutdown) {
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
            let (mut creations, mut sayings, mut tellings) = (Vec::new(), Vec::new(), Vec::new());
            for Waiting { request, since } in group.drain(..) {
                self.metrics.waited(since.elapsed());
                match request {
                    Request::Create(creation, answer) => creations.push((creation, answer)),
                    Request::Say(saying, answer) => sayings.push((saying, answer)),
                    Request::Tell(telling, answer) => tellings.push((telling, answer)),
                }
            }
            tokio::join!(self.create(creations), self.say(sayings), self.tell(tellings));
        }
    }

    async fn create(&self, group: Creations) {
        let mut groups = vec![group];
        while let Some(group) = groups.pop() {
            if group.is_empty() {
                continue;
            }
            let creations: Vec<_> = group.iter().map(|(creation, _)| creation).collect();
            let created = match self.link.session().await {
                Ok(session) => match self
                    .measured(group.len(), conversations::create_all(&session, &creations))
                    .await
                {
                    Err(Problem::Lost(reason)) => {
                        self.look_up_conversations(&session, &creations, reason).await
                    }
                    created => created.map(|created| (created, None)),
                },
                Err(problem) => Err(problem),
            };
            match created {
                Ok((created, unknown)) => answer_creations(group, created, unknown.as_deref()),
                Err(Problem::Refused(Error::Repeated | Error::Other(_))) if group.len() > 1 => {
                    // One of them is at fault: each for itself, in their order.
                    groups.extend(group.into_iter().rev().map(|alone| vec![alone]));
                }
                Err(problem) => self.refuse(group, problem.into()),
            }
        }
    }

    async fn look_up_conversations(
        &self,
        lost: &Session,
        creations: &[&Creation],
        reason: String,
    ) -> Result<(HashSet<Uuid>, Option<String>), Problem> {
        let ids: Vec<_> = creations
            .iter()
            .map(|creation| creation.new.id.as_uuid())
            .collect();
        let session = self.session_after(lost).await?;
        let created = conversations::existing(&session, &ids).await?;
        Ok((created, Some(reason)))
    }

    async fn say(&self, mut group: Sayings) {
        put_in_order(&mut group);
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
                Ok(fates) => self.answer(group, &fates, None).await,
                Err(Problem::Clash(_)) if clashes < CLASHES => {
                    clashes += 1;
                    groups.push(group);
                }
                Err(Problem::Lost(reason)) => match self.look_up_messages(&session, &group).await {
                    Ok(fates) => self.answer(group, &fates, Some(&reason)).await,
                    Err(problem) => self.refuse(group, problem.into()),
                },
                Err(Problem::Refused(Error::Conflict | Error::Repeated | Error::Other(_)))
                    if group.len() > 1 =>
                {
                    // One of them is at fault: each for itself, in their order.
                    groups.extend(group.into_iter().rev().map(|alone| vec![alone]));
                }
                Err(problem) => self.refuse(group, problem.into()),
            }
        }
    }

    /// Appends a group. Gives what became of those that could be appended.
    async fn try_say(&self, session: &Session, group: &Sayings) -> Result<HashMap<Uuid, Fate>, Problem> {
        let sayings: Vec<_> = group.iter().map(|(saying, _)| saying).collect();
        let append = messages::append_all(session, &sayings, self.trusts_caller);
        self.measured(group.len(), append).await
    }

    async fn look_up_messages(
        &self,
        lost: &Session,
        group: &Sayings,
    ) -> Result<HashMap<Uuid, Fate>, Problem> {
        let ids: Vec<_> = group.iter().map(|(saying, _)| saying.new.id.as_uuid()).collect();
        let leases = group.iter().map(|(saying, _)| saying.claimant.as_ref());
        let leases: Vec<_> = leases
            .map(|claimant| claimant.map(|claimant| micros(claimant.lease())))
            .collect();
        let session = self.session_after(lost).await?;
        messages::placed(&session, &ids, &leases).await
    }

    /// A session that sees what became of what another was asked to do.
    async fn session_after(&self, lost: &Session) -> Result<Arc<Session>, Problem> {
        let session = self.link.session().await?;
        session.outlive(lost).await?;
        Ok(session)
    }

    /// Answers everybody in the group. Those without a place were refused, unless it is `unknown` what became of them.
    async fn answer(&self, group: Sayings, fates: &HashMap<Uuid, Fate>, unknown: Option<&str>) {
        let (mut wakes, mut happened, mut turns) = (false, Vec::with_capacity(group.len()), Vec::new());
        let now = group.iter().map(|(saying, _)| saying.new.now.as_micros()).max();
        let mut last = Vec::new();
        for (saying, answer) in group {
            let fate = fates.get(&saying.new.id.as_uuid());
            let mut takes_turns = false;
            let outcome = match (fate, unknown) {
                (Some(Fate::Placed(place)), _) => {
                    takes_turns = place.turns;
                    happened.push(saying.new.conversation);
                    if place.turns {
                        turns.push(saying.new.conversation.as_uuid());
                    }
                    match saying.claimant {
                        Some(claimant) if !place.turns => claimant.begin(first_claim(&saying.new)),
                        _ => wakes |= saying.new.role == Role::User,
                    }
                    Ok(Said::Stored(saying.new.placed(place.at)))
                }
                (Some(Fate::Behind), _) => Ok(Said::Behind(Box::new(saying))),
                (None, None) => Ok(Said::Nowhere),
                (None, Some(reason)) => Err(Error::Unavailable(reason.to_owned())),
            };
            if takes_turns {
                last.push((answer, outcome));
            } else {
                // Nobody may be waiting any more; what was written stays written.
                let _ = answer.send(outcome);
            }
        }
        if wakes {
            self.notices.wake();
        }
        self.notices.tell(&happened);
        if !turns.is_empty() {
            self.look_for_turns(&turns, now.filter(|_| self.trusts_caller))
                .await;
        }
        for (answer, outcome) in last {
            let _ = answer.send(outcome);
        }
    }

    /// Makes the next replies due in these conversations, now that what was written can be seen by everybody.
    async fn look_for_turns(&self, conversations: &[Uuid], now: Option<i64>) {
        let freed = match self.link.session().await {
            Ok(session) => turns::free(&session, conversations, now).await,
            Err(problem) => Err(problem),
        };
        match freed {
            Ok(0) => {}
            Ok(_) => self.notices.wake(),
            Err(problem) => {
                let error = Error::from(problem);
                if let Some(unsaid) = self.complaints.pass() {
                    tracing::warn!(%error, unsaid, "finding whose turn it is failed, the next sweep does");
                }
            }
        }
    }

    async fn tell(&self, group: Tellings) {
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
            // What is in doubt is told once that is over.
            let leases = group.iter().map(|(telling, _)| telling.lease);
            let group = match self.doubts.resolve(&session, leases).await {
                Ok(resolved) => self.answer_tellings(group, |telling| {
                    resolved.get(&telling.lease).copied().unwrap_or(Told::Again)
                }),
                Err(problem) => {
                    self.refuse(group, problem.into());
                    continue;
                }
            };
            let tellings: Vec<_> = group.iter().map(|(telling, _)| telling).collect();
            let tell = telling::tell_all(&session, &tellings);
            match self.measured(tellings.len(), tell).await {
                Ok(told) => {
                    let again = self.answer_tellings(group, |telling| {
                        let told = told.get(&telling.lease.message.as_uuid()).copied();
                        told.unwrap_or(Told::Lost)
                    });
                    groups.push(again);
                }
                Err(Problem::Clash(_)) if clashes < CLASHES => {
                    clashes += 1;
                    groups.push(group);
                }
                Err(Problem::Lost(_)) => {
                    for (telling, _) in &group {
                        self.doubts.add(telling, &session);
                    }
                    groups.push(group);
                }
                Err(Problem::Refused(Error::Conflict | Error::Other(_))) if group.len() > 1 => {
                    // One of them is at fault: each for itself, in their order.
                    groups.extend(group.into_iter().rev().map(|alone| vec![alone]));
                }
                Err(problem) => self.refuse(group, problem.into()),
            }
        }
    }

    /// Answers those of whom it is known what became of them. Gives the others.
    fn answer_tellings(&self, group: Tellings, told: impl Fn(&Telling) -> Told) -> Tellings {
        let (mut others, mut happened) = (Vec::new(), Vec::with_capacity(group.len()));
        for (telling, answer) in group {
            let finished = match told(&telling) {
                Told::Again => {
                    others.push((telling, answer));
                    continue;
                }
                Told::Stored => {
                    happened.push(telling.lease.conversation);
                    Finished::Stored
                }
                Told::Lost => Finished::LeaseLost,
            };
            // Nobody may be waiting any more; what was told stays told.
            let _ = answer.send(Ok(finished));
        }
        self.notices.tell(&happened);
        others
    }

    /// Tells everybody in a group why nothing of it was written.
    fn refuse<N, T>(&self, group: Vec<(N, oneshot::Sender<Result<T>>)>, error: Error) {
        let requests = group.len();
        // That it was carried out before is nothing to complain about.
        let is_failure = requests > 0 && !matches!(error, Error::Repeated);
        if let Some(unsaid) = is_failure.then(|| self.complaints.pass()).flatten() {
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

fn answer_creations(group: Creations, mut created: HashSet<Uuid>, unknown: Option<&str>) {
    for (creation, answer) in group {
        // Of two with one id, only the first created it.
        let outcome = match (created.remove(&creation.new.id.as_uuid()), unknown) {
            (true, _) => Ok(creation.new.into()),
            (false, None) => Err(Error::Conflict),
            (false, Some(reason)) => Err(Error::Unavailable(reason.to_owned())),
        };
        // Nobody may be waiting any more; what was written stays written.
        let _ = answer.send(outcome);
    }
}

/// Gives those that have to have the dates that they come with the dates that they will have behind the others.
fn put_in_order(group: &mut Sayings) {
    if !group.iter().any(|(saying, _)| saying.once.is_some()) {
        return;
    }
    let mut last = HashMap::with_capacity(group.len());
    for (saying, _) in group {
        let now = last.entry(saying.new.conversation).or_insert(saying.new.now);
        *now = saying.new.now.max(*now);
        if saying.once.is_some() {
            saying.new.now = *now;
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
        lane: new.reply.lane.clone(),
        owner: new.reply.owner,
        trace: new.reply.trace,
    }
}
