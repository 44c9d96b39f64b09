//! A reply that is being worked on, and what is stored of it, again and again while the store is away: until then its lease
//! keeps others off.

use std::{future::Future, time::Duration};

use tokio::time::sleep;

use super::{Engine, intake::Running};
use crate::{
    model::{Context, Finished, Lease, Outcome, Owner, Progress, ReplyState, Told},
    store,
    telemetry::ids::Logged,
};

/// Nothing more is to be done about a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nobody wants it any more.
    CalledOff,
    /// Its lease is gone: somebody else works on it, or nobody should.
    Lease,
    /// The process stops.
    Forced,
    /// It cannot be stored, and another try cannot help.
    Unstorable,
}

/// A reply that is being worked on.
pub(super) struct Work<'a> {
    pub(super) engine: &'a Engine,
    pub(super) lease: Lease,
    pub(super) attempts: u32,
    /// Who pays for it.
    pub(super) owner: Owner,
    pub(super) running: &'a Running,
}

impl Work<'_> {
    /// What the reply is written from.
    pub(super) async fn context(&self, bytes: usize) -> Result<Context, Lost> {
        let store = &self.engine.store;
        let context = self
            .insist(|| store.context(self.lease.conversation, self.lease.message, bytes))
            .await?;
        context.ok_or(Lost::CalledOff)
    }

    pub(super) async fn tell(&self, progress: Vec<Progress>) -> Result<(), Lost> {
        let engine = self.engine;
        let told = self
            .insist(|| {
                engine
                    .store
                    .tell(self.lease, progress.clone(), engine.clock.now())
            })
            .await?;
        match told {
            Finished::Stored => Ok(()),
            Finished::LeaseLost => Err(Lost::Lease),
        }
    }

    /// Why a lease was lost: whoever cancels or deletes a reply takes it, too, and only the store knows of it if that
    /// happened elsewhere.
    pub(super) async fn why_lease_was_lost(&self) -> Lost {
        let Lease {
            conversation,
            message,
            ..
        } = self.lease;
        match self.engine.store.reply(conversation, message).await {
            Ok(None) => Lost::CalledOff,
            Ok(Some(reply)) if reply.state == ReplyState::Cancelled => Lost::CalledOff,
            Ok(Some(_)) | Err(_) => Lost::Lease,
        }
    }

    pub(super) async fn finish(&self, outcome: Outcome, told: Told) -> Result<(), Lost> {
        let engine = self.engine;
        let finished = self
            .insist(|| {
                engine
                    .store
                    .finish_reply(self.lease, outcome.clone(), told, engine.clock.now())
            })
            .await?;
        match finished {
            Finished::Stored => Ok(()),
            Finished::LeaseLost => Err(Lost::Lease),
        }
    }

    async fn insist<T, F>(&self, act: impl Fn() -> F) -> Result<T, Lost>
    where
        F: Future<Output = store::Result<T>>,
    {
        let (engine, conversation) = (self.engine, self.lease.conversation);
        let mut pause = Duration::from_millis(50);
        loop {
            match act().await {
                Ok(done) => return Ok(done),
                Err(error @ (store::Error::Unavailable(_) | store::Error::Full)) => {
                    if let Some(unsaid) = engine.complaints.pass() {
                        tracing::warn!(%error, conversation = %Logged(conversation), unsaid, "storing a reply failed, trying again");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, conversation = %Logged(conversation), "storing a reply failed");
                    return Err(Lost::Unstorable);
                }
            }
            tokio::select! {
                why = self.running.lost() => return Err(why),
                () = engine.shutdown.forced() => return Err(Lost::Forced),
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(2)),
            }
        }
    }
}
