//! What the product does, whoever asks: the operations on conversations, messages and replies.
//!
//! No status codes and no wire shapes here, and no SQL. Each operation that changes something logs one line.

mod conversations;
mod error;
mod messages;
mod replies;

use std::sync::Arc;

pub use error::Error;

use crate::{clock::Clock, ids::IdSource, provider::routes::Providers, reply::Intake, store::Store};

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
}

impl Service {
    /// The operations over this store.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Clock,
        ids: IdSource,
        replies: Intake,
        providers: Arc<Providers>,
    ) -> Self {
        Self {
            store,
            clock,
            ids,
            replies,
            providers,
        }
    }

    /// Whether the operations can be expected to work.
    pub async fn check(&self) -> Result<()> {
        Ok(self.store.check().await?)
    }
}
