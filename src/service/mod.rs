//! What the product does, whoever asks: the operations on conversations, messages and replies.
//!
//! No status codes and no wire shapes here, and no SQL. Each operation that changes something logs one line.

mod access;
mod backlog;
mod conversations;
mod error;
mod messages;
mod once;
mod replies;

use std::sync::Arc;

pub use crate::store::{Mark, Once, Remembered};
pub use error::Error;

use self::backlog::Backlog;
use crate::{
    access::Spending,
    clock::Clock,
    config::ServiceSettings,
    ids::IdSource,
    provider::routes::Providers,
    reply::{Intake, Parts},
    store::Store,
};

/// What operations answer.
pub type Result<T> = std::result::Result<T, Error>;

/// The product's operations, over one store.
#[derive(Clone)]
pub struct Service {
    store: Arc<dyn Store>,
    clock: Clock,
    ids: IdSource,
    replies: Intake,
    providers: Arc<Providers>,
    settings: Arc<ServiceSettings>,
    backlog: Arc<Backlog>,
    spending: Spending,
}

impl Service {
    /// The operations over these parts.
    pub fn new(parts: Parts, settings: ServiceSettings) -> Self {
        Self {
            store: parts.store,
            clock: parts.clock,
            ids: parts.ids,
            replies: parts.intake,
            providers: parts.providers,
            spending: parts.spending,
            backlog: Arc::new(Backlog::new(settings.max_pending_replies)),
            settings: Arc::new(settings),
        }
    }

    /// Whether the operations can be expected to work.
    pub async fn check(&self) -> Result<()> {
        Ok(self.store.check().await?)
    }
}
