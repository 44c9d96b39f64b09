//! Taking in conversations that come from elsewhere, with their identifiers, their dates and their order.
//!
//! A conversation is cast into rows, portion by portion. Its own row comes last: until that is there, nobody sees any of
//! it. What it takes to tell events is made as it is for messages that were stored before there were events: most is
//! told by messages and replies themselves, and the rest gets rows ([`super::timeline`]).

mod cast;
mod casting;

use std::sync::Arc;

use async_trait::async_trait;

pub use cast::Cast;
pub use casting::{Casting, Misfit};

use super::{Result, copy::Table, export::ExportStore};
use crate::model::ConversationId;

/// The tables that a conversation has rows in, in the order in which rows are added: what others refer to comes first.
pub const TABLES: [Table; 6] = [
    Table::Conversations,
    Table::Options,
    Table::Messages,
    Table::Replies,
    Table::Attempts,
    Table::Events,
];

/// What there is of a conversation already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All of it.
    There,
    /// What an import has left that was cut off, or a deletion that goes on.
    Remains,
}

/// A database that takes conversations in, also while services use it.
#[async_trait]
pub trait ImportStore: ExportStore {
    /// Those of these conversations of which something is there.
    async fn standing(&self, ids: Vec<ConversationId>) -> Result<Vec<(ConversationId, Standing)>>;

    /// Adds all of these rows, or none. [`super::Error::Conflict`] when an identifier is taken.
    async fn add(&self, casts: Arc<Vec<Cast>>) -> Result<()>;

    /// Removes what remains of a conversation that is not there.
    async fn clear(&self, id: ConversationId) -> Result<()>;
}
