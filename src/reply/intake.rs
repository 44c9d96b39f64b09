//! What the rest of the program may ask of the engine, and what it is working on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use tokio_util::sync::CancellationToken;

use super::{Engine, run, work::Lost};
use crate::{
    model::{ConversationId, Lease, MessageId},
    store::Claimant,
};

/// A handle to the replies that this process is working on.
#[derive(Clone, Default)]
pub struct Intake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    running: Mutex<HashMap<Lease, Run>>,
    /// Who works on replies, if this process does.
    engine: OnceLock<Weak<Engine>>,
}

/// Which attempt at a reply it is, and how it is ended from outside.
struct Run {
    attempts: u32,
    ends: Ends,
}

/// The two ways in which work on a reply is ended from outside.
#[derive(Clone, Default)]
struct Ends {
    called_off: CancellationToken,
    lease_lost: CancellationToken,
}

impl Intake {
    /// Somebody who could begin on one more reply, at the provider that this lane leads to; `None` when all hands or
    /// places are taken, or replies are left to others.
    pub fn claimant(&self, lane: Option<&str>) -> Option<Claimant> {
        let engine = self.0.engine.get()?.upgrade()?;
        if engine.shutdown.has_begun() {
            return None;
        }
        let hands = engine.hands.try_take()?;
        let place = match lane {
            Some(lane) => Some(engine.providers.try_enter(lane)?),
            None => None,
        };
        let lease = engine.settings.lease;
        Some(Claimant::new(lease, move |claimed| {
            let engine_of_run = Arc::clone(&engine);
            engine
                .shutdown
                .spawn(run::run(engine_of_run, claimed, hands, place));
        }))
    }

    /// From now on there is somebody to work on replies.
    pub(super) fn staff(&self, engine: &Arc<Engine>) {
        // A second engine would have an intake of its own.
        let _ = self.0.engine.set(Arc::downgrade(engine));
    }

    /// Somebody may have taken a lease from this process: finds out soon.
    pub fn look_for_call_offs(&self) {
        if let Some(engine) = self.0.engine.get().and_then(Weak::upgrade) {
            engine.store.call_offs().notify_one();
        }
    }

    /// The conversation is gone: nobody waits for its replies any more.
    pub fn call_off_conversation(&self, conversation: ConversationId) {
        self.call_off(|lease, _| lease.conversation == conversation);
    }

    /// The user message is gone: nobody waits for its reply any more.
    pub fn call_off_message(&self, message: MessageId) {
        self.call_off(|lease, _| lease.message == message);
    }

    /// The reply was called off while it was at this attempt. A later one, which somebody has asked for since, goes on.
    pub fn call_off_attempt(&self, message: MessageId, attempts: u32) {
        self.call_off(|lease, run| lease.message == message && run.attempts <= attempts);
    }

    /// These leases were lost: somebody else works on the replies, or nobody should.
    pub(super) fn lose_leases(&self, lost: &[Lease]) {
        let running = self.running();
        for run in lost.iter().filter_map(|lease| running.get(lease)) {
            run.ends.lease_lost.cancel();
        }
    }

    /// The leases that are held now.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.running().keys().copied().collect()
    }

    /// Counts a reply as being worked on, until the guard is dropped.
    pub(super) fn enter(&self, lease: Lease, attempts: u32) -> Running {
        let ends = Ends::default();
        let run = Run {
            attempts,
            ends: ends.clone(),
        };
        self.running().insert(lease, run);
        Running {
            lease,
            ends,
            intake: self.clone(),
        }
    }

    fn call_off(&self, which: impl Fn(&Lease, &Run) -> bool) {
        for (lease, run) in self.running().iter() {
            if which(lease, run) {
                run.ends.called_off.cancel();
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Lease, Run>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reply that is being worked on.
pub(super) struct Running {
    lease: Lease,
    ends: Ends,
    intake: Intake,
}

impl Running {
    /// Answers when nothing more is to be done about the reply, and why.
    pub(super) async fn lost(&self) -> Lost {
        tokio::select! {
            biased;
            () = self.ends.called_off.cancelled() => Lost::CalledOff,
            () = self.ends.lease_lost.cancelled() => Lost::Lease,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.intake.running().remove(&self.lease);
    }
}
