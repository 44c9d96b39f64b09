//! What the rest of the program may ask of the engine, and what it is working on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::model::{ConversationId, Lease, MessageId};

/// A handle to the replies that this process is working on.
#[derive(Debug, Clone, Default)]
pub struct Intake(Arc<Mutex<HashMap<Lease, CancellationToken>>>);

impl Intake {
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
