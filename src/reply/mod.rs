//! The life of a reply.
//!
//! ```text
//! queued ──claim──▶ running ──finish──▶ succeeded | failed          queued, running ──cancel──▶ cancelled
//!   ▲                  │
//!   └── retry, release, lost lease
//! ```
//!
//! The queue is the store's; nothing here is remembered across a crash. Whoever stores a message asks the `intake` for
//! a free hand, which the store may claim the reply for at once. The `pool` claims what else is due and `run`s it; the
//! `sweeper` renews the leases of what runs and takes back what others lost; the `pruner` forgets pieces that are old. A
//! reply is finished under the lease it was claimed with, so however often it is worked on, it is answered once.

mod ask;
mod backoff;
mod hands;
mod history;
mod intake;
mod meter;
mod pool;
mod pruner;
mod run;
mod sweeper;
mod teller;
mod work;

use std::{sync::Arc, time::Duration};

pub use intake::Intake;

use self::hands::Hands;

use crate::{
    access::Spending,
    clock::{Clock, Seldom},
    config::ReplySettings,
    ids::IdSource,
    provider::routes::Providers,
    shutdown::Shutdown,
    store::Store,
    telemetry::{metrics::ReplyMetrics, traces::Traces},
};

/// What replies are made of, and the operations that ask for them.
#[derive(Clone)]
pub struct Parts {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// Who writes replies.
    pub providers: Arc<Providers>,
    /// What time it is.
    pub clock: Clock,
    /// New identifiers.
    pub ids: IdSource,
    /// The replies that this process works on.
    pub intake: Intake,
    /// What they cost.
    pub spending: Spending,
    /// What is counted of them.
    pub metrics: ReplyMetrics,
    /// Where work on them is traced.
    pub traces: Traces,
}

impl Parts {
    /// Over this store and these providers, by the system's clock, with ids of chance. Nothing is traced.
    pub fn over(store: Arc<dyn Store>, providers: Providers) -> Self {
        Self {
            store,
            providers: Arc::new(providers),
            clock: Clock::system(),
            ids: IdSource::random(),
            intake: Intake::default(),
            spending: Spending::default(),
            metrics: ReplyMetrics::default(),
            traces: Traces::default(),
        }
    }
}

/// Everything that working on replies takes.
pub(crate) struct Engine {
    store: Arc<dyn Store>,
    providers: Arc<Providers>,
    clock: Clock,
    ids: IdSource,
    spending: Spending,
    metrics: ReplyMetrics,
    traces: Traces,
    settings: ReplySettings,
    intake: Intake,
    hands: Hands,
    /// Keeps replies that wait for the same store from telling it one by one.
    complaints: Seldom,
    shutdown: Shutdown,
}

/// Starts working on replies, until shutdown.
pub fn start(parts: Parts, settings: ReplySettings, shutdown: &Shutdown) {
    let engine = Arc::new(Engine {
        store: parts.store,
        providers: parts.providers,
        clock: parts.clock,
        ids: parts.ids,
        spending: parts.spending,
        metrics: parts.metrics,
        traces: parts.traces,
        hands: Hands::new(settings.workers),
        settings,
        intake: parts.intake,
        complaints: Seldom::every(Duration::from_secs(1)),
        shutdown: shutdown.clone(),
    });
    engine.intake.staff(&engine);
    shutdown.spawn(pool::run(Arc::clone(&engine)));
    shutdown.spawn(pruner::run(Arc::clone(&engine)));
    shutdown.spawn(sweeper::run(engine));
}
