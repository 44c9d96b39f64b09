//! Figures of a store, for whoever looks after it. They are no facts of the business, so no operation needs them.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::model::Timestamp;

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vitals {
    /// Replies that wait for a worker, for their time or for their turn.
    pub queued: u64,
    /// Those of them that only wait for a worker.
    pub due: u64,
    /// For how long the first of these could have been worked on.
    pub oldest_due: Duration,
    /// Replies that somebody works on.
    pub running: u64,
    /// What the database takes on the disk.
    pub bytes: u64,
    /// What the write-ahead log takes, if that is a file of the service's own.
    pub log_bytes: Option<u64>,
    /// Connections to a server.
    pub pools: Vec<Connections>,
}

/// Connections for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// What they are for.
    pub name: &'static str,
    /// How many there should be.
    pub connections: usize,
    /// How many there are.
    pub up: usize,
}

/// A store that can be asked how it is.
#[async_trait]
pub trait Gauged: Send + Sync {
    /// Finds out, at a cost that is bounded by the work that is left.
    async fn vitals(&self, now: Timestamp) -> Result<Vitals>;
}
