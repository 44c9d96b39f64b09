//! What workers tell while they write, grouped like appends: one statement and one commit for whatever waits.
//!
//! A piece must never be there twice, and a worker that hears of a failure tells it again. So when the connection ends
//! before the answer, it is remembered which tellings are in doubt, and nothing of theirs is told before it is known what
//! became of them: once the server has done with the lost session, their last piece is there or it is not. A session that
//! the server does not want to be done with is not waited for: the lease is given back, so that what it may still do comes
//! before a new beginning or finds the lease gone.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::{
    connection::Session,
    error::Problem,
    events::{OWN, PER_MESSAGE},
};
use crate::model::{Lease, Progress, Timestamp};

/// What a worker has to tell of a reply.
pub(super) struct Telling {
    pub(super) lease: Lease,
    pub(super) progress: Vec<Progress>,
    pub(super) now: Timestamp,
}

impl Telling {
    /// What tells its last row from every other of its reply.
    fn mark(&self) -> Mark {
        Mark {
            at: self.now.as_micros(),
            text: match self.progress.last() {
                Some(Progress::Delta(text)) => Some(text.clone()),
                Some(Progress::Started { .. }) | None => None,
            },
        }
    }
}

/// The last row of a telling.
#[derive(Debug, Clone)]
struct Mark {
    at: i64,
    text: Option<String>,
}

/// What became of a telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is stored.
    Stored,
    /// The lease is gone.
    Lost,
    /// Nothing of it is stored, and it may be told again.
    Again,
}

/// Tellings of which nobody knows what became of them.
#[derive(Default)]
pub(super) struct Doubts(Mutex<HashMap<Lease, Doubt>>);

#[derive(Clone)]
struct Doubt {
    mark: Mark,
    /// The session that was asked.
    lost: Arc<Session>,
}

impl Doubts {
    /// Remembers that this session may have stored a telling.
    pub(super) fn add(&self, telling: &Telling, lost: &Arc<Session>) {
        let doubt = Doubt {
            mark: telling.mark(),
            lost: Arc::clone(lost),
        };
        self.all().insert(telling.lease, doubt);
    }

    /// Forgets those of leases that nobody holds any more.
    pub(super) fn keep(&self, leases: &[Lease]) {
        let mut all = self.all();
        if !all.is_empty() {
            let held: HashSet<_> = leases.iter().collect();
            all.retain(|lease, _| held.contains(lease));
        }
    }

    /// Finds out what became of those that are in doubt. The rest has no entry.
    pub(super) async fn resolve(
        &self,
        db: &Session,
        leases: impl Iterator<Item = Lease>,
    ) -> Result<HashMap<Lease, Told>, Problem> {
        let doubts: Vec<(Lease, Doubt)> = {
            let all = self.all();
            leases
                .filter_map(|lease| all.get(&lease).map(|doubt| (lease, doubt.clone())))
                .collect()
        };
        if doubts.is_empty() {
            return Ok(HashMap::new());
        }
        // First the end of the session, then the look: what it stores comes before.
        let mut over: Vec<(&Arc<Session>, bool)> = Vec::new();
        for (_, doubt) in &doubts {
            if !over.iter().any(|(session, _)| Arc::ptr_eq(session, &doubt.lost)) {
                over.push((&doubt.lost, db.outlive(&doubt.lost).await?));
            }
        }
        let stored = stored(db, &doubts).await?;
        let told = doubts.iter().map(|(lease, doubt)| {
            let is_over = over
                .iter()
                .any(|(session, is_over)| *is_over && Arc::ptr_eq(session, &doubt.lost));
            let told = match (stored.contains(&lease.message.as_uuid()), is_over) {
                (true, _) => Told::Stored,
                (false, true) => Told::Again,
                (false, false) => Told::Lost,
            };
            (*lease, told)
        });
        let told: HashMap<Lease, Told> = told.collect();
        let lost = told.iter().filter(|(_, told)| **told == Told::Lost);
        let lost: Vec<Lease> = lost.map(|(lease, _)| *lease).collect();
        if !lost.is_empty() {
            give_back(db, &lost).await?;
        }
        self.all().retain(|lease, _| !told.contains_key(lease));
        Ok(told)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Lease, Doubt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The replies whose last row is that which is in doubt.
async fn stored(db: &Session, doubts: &[(Lease, Doubt)]) -> Result<HashSet<Uuid>, Problem> {
    let replies: Vec<_> = doubts.iter().map(|(lease, _)| lease.message.as_uuid()).collect();
    let dates: Vec<_> = doubts.iter().map(|(_, doubt)| doubt.mark.at).collect();
    let texts: Vec<_> = doubts
        .iter()
        .map(|(_, doubt)| doubt.mark.text.as_deref())
        .collect();
    let found = db
        .rows(
            "-- tell: when it is unknown what became of it
             SELECT asked.reply_id
             FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS asked (reply_id, at, text) CROSS JOIN LATERAL (
                 SELECT kind, at, text FROM events
                 WHERE reply_id = asked.reply_id
                 ORDER BY number DESC LIMIT 1) AS last
             WHERE kind IN ('started', 'delta') AND last.at = asked.at AND last.text IS NOT DISTINCT FROM asked.text",
            &[&replies, &dates, &texts],
        )
        .await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Gives leases back under which something may still be stored.
async fn give_back(db: &Session, leases: &[Lease]) -> Result<(), Problem> {
    let replies: Vec<_> = leases.iter().map(|lease| lease.message.as_uuid()).collect();
    let tokens: Vec<_> = leases.iter().map(|lease| lease.token).collect();
    db.execute(
        "-- tell: the reply is begun anew
         UPDATE replies SET status = 'queued', lease_until = NULL
         FROM unnest($1::uuid[], $2::bigint[]) AS asked (reply_id, token)
         WHERE message_id = reply_id AND lease_token = token AND lease_until IS NOT NULL",
        &[&replies, &tokens],
    )
    .await?;
    Ok(())
}

/// Tells a group in one statement.
pub(super) async fn tell_all(db: &Session, group: &[&Telling]) -> Result<HashMap<Uuid, Told>, Problem> {
    let (mut replies, mut conversations, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    let (mut attempts, mut texts, mut dates) = (Vec::new(), Vec::new(), Vec::new());
    for telling in group {
        for progress in &telling.progress {
            replies.push(telling.lease.message.as_uuid());
            conversations.push(telling.lease.conversation.as_uuid());
            tokens.push(telling.lease.token);
            dates.push(telling.now.as_micros());
            let (attempt, text) = match progress {
                Progress::Started { attempt } => (Some(i64::from(*attempt)), None),
                Progress::Delta(text) => (None, Some(text.as_str())),
            };
            attempts.push(attempt);
            texts.push(text);
        }
    }
    let rows = db
        .rows(
            include_str!("tell.sql"),
            &[
                &replies,
                &conversations,
                &tokens,
                &attempts,
                &texts,
                &dates,
                &PER_MESSAGE,
                &OWN,
            ],
        )
        .await?;
    let mut told: HashMap<_, _> = replies.into_iter().map(|reply| (reply, Told::Lost)).collect();
    for row in &rows {
        let is_stored: bool = row.try_get(1)?;
        told.insert(
            row.try_get(0)?,
            if is_stored { Told::Stored } else { Told::Again },
        );
    }
    Ok(told)
}
