//! Transactions over one conversation, and what is to be told of them afterwards.

use std::{
    ops::Deref,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{FutureExt, future::BoxFuture};

use super::{connection::Session, desk::Desk, error::Problem, notices::Notices};
use crate::{model::ConversationId, store::Result};

/// The transaction that a request writes in.
pub(super) struct Tx<'a> {
    db: &'a Session,
    wakes: AtomicBool,
    calls_off: AtomicBool,
    happened: Mutex<Vec<ConversationId>>,
}

impl Tx<'_> {
    /// Makes the workers look into the queue of replies, once this is committed.
    pub(super) fn wake_workers(&self) {
        self.wakes.store(true, Ordering::Relaxed);
    }

    /// Makes those who work on replies look whether they still should, once this is committed.
    pub(super) fn call_off(&self) {
        self.calls_off.store(true, Ordering::Relaxed);
    }

    /// Tells whoever waits that something happened in this conversation, once this is committed.
    pub(super) fn tell(&self, conversation: ConversationId) {
        let mut happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        if happened.last() != Some(&conversation) {
            happened.push(conversation);
        }
    }

    fn announce(self, notices: &Notices) {
        if self.wakes.into_inner() {
            notices.wake();
        }
        if self.calls_off.into_inner() {
            notices.call_off();
        }
        notices.tell(&self.happened.into_inner().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Deref for Tx<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.db
    }
}

/// Runs this work in a transaction, and tells of it whether or not anybody still waits for it.
pub(super) async fn run<T, F>(desk: &Desk, notices: &Notices, work: F) -> Result<T>
where
    T: Send + 'static,
    F: for<'a> FnOnce(&'a Tx<'a>) -> BoxFuture<'a, Result<T, Problem>> + Send + 'static,
{
    let notices = notices.clone();
    desk.run(move |db| {
        async move {
            let tx = Tx {
                db,
                wakes: AtomicBool::new(false),
                calls_off: AtomicBool::new(false),
                happened: Mutex::default(),
            };
            let outcome = db.transaction(work(&tx)).await;
            // What comes in vain does no harm, and what a lost connection was asked to do may have been done.
            tx.announce(&notices);
            outcome
        }
        .boxed()
    })
    .await
}
