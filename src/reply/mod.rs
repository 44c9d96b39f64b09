//! The life of a reply.
//!
//! ```text
//! queued ──claim──▶ running ──finish──▶ succeeded | failed
//!   ▲                  │
//!   └── retry, release, lost lease
//! ```
//!
//! The queue is the store's; nothing here is remembered across a crash. The `pool` claims what is due
//! and `run`s it; the `sweeper` renews the leases of what runs and takes back what others lost. A
//! reply is finished under the lease it was claimed with, so however often it is worked on, it is
//! answered once.

mod backoff;
mod intake;
mod pool;
mod run;
mod sweeper;

use std::sync::Arc;

pub use intake::Intake;

use crate::{
    clock::Clock, config::ReplySettings, ids::IdSource, provider::Provider, shutdown::Shutdown, store::Store,
};

/// Everything that working on replies takes.
pub(crate) struct Engine {
    store: Arc<dyn Store>,
    provider: Arc<dyn Provider>,
    clock: Clock,
    ids: IdSource,
    settings: ReplySettings,
    intake: Intake,
    shutdown: Shutdown,
}

/// Starts working on replies, until shutdown.
pub fn start(
    store: Arc<dyn Store>,
    provider: Arc<dyn Provider>,
    clock: Clock,
    ids: IdSource,
    settings: ReplySettings,
    intake: Intake,
    shutdown: &Shutdown,
) {
    let shutdown_for_engine = shutdown.clone();
    let engine = Arc::new(Engine {
        store,
        provider,
        clock,
        ids,
        settings,
        intake,
        shutdown: shutdown_for_engine,
    });
    shutdown.spawn(pool::run(Arc::clone(&engine)));
    shutdown.spawn(sweeper::run(engine));
}
