//! What the rest of the program may ask of the engine, and what it is working on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use tokio_util::sync::CancellationToken;

use super::{Engine, run};
use crate::{
    model::{ConversationId, Lease, MessageId},
    store::Claimant,
};

/// A handle to the replies that this process is working on.
#[derive(Clone, Default)]
pub struct Intake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    running: Mutex<HashMap<Lease, CancellationToken>>,
    /// Who works on replies, if this process does.
    engine: OnceLock<Weak<Engine>>,
}

impl Intake {
    /// Somebody who could begin on one more reply, at the provider that this lane leads to; `None` when all hands or
    /// places are taken, or replies are left to others.
    pub fn claimant(&self, lane: Option<&str>) -> Option<Claimant> {
        let engine = self.0.engine.get()?.upgrade()?;
        if engine.shutdown.has_begun() {
            return None;
        }
        if lane.is_some_and(|lane| engine.providers.full().iter().any(|full| full == lane)) {
            return None;
        }
        let hands = engine.hands.try_take()?;
        let lease = engine.settings.lease;
        Some(Claimant::new(lease, move |claimed| {
            let engine_of_run = Arc::clone(&engine);
            engine.shutdown.spawn(run::run(engine_of_run, claimed, hands));
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
        self.call_off(|lease| lease.conversation == conversation);
    }

    /// The user message is gone: nobody waits for its reply any more.
    pub fn call_off_message(&self, message: MessageId) {
        self.call_off(|lease| lease.message == message);
    }

    /// These leases were lost: somebody else works on the replies, or nobody should.
    pub(super) fn call_off_leases(&self, lost: &[Lease]) {
        self.call_off(|lease| lost.contains(lease));
    }

    /// The leases that are held now.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.running().keys().copied().collect()
    }

    /// Counts a reply as being worked on, until the guard is dropped.
    pub(super) fn enter(&self, lease: Lease) -> Running {
        let called_off = CancellationToken::new();
        self.running().insert(lease, called_off.clone());
        Running {
            lease,
            called_off,
            intake: self.clone(),
        }
    }

    fn call_off(&self, which: impl Fn(&Lease) -> bool) {
        for (lease, token) in self.running().iter() {
            if which(lease) {
                token.cancel();
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Lease, CancellationToken>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reply that is being worked on.
pub(super) struct Running {
    lease: Lease,
    called_off: CancellationToken,
    intake: Intake,
}

impl Running {
    /// Answers when the reply is not wanted any more.
    pub(super) async fn called_off(&self) {
        self.called_off.cancelled().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.intake.running().remove(&self.lease);
    }
}
