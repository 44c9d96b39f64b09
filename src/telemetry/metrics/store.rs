//! What is measured of the database: groups of writes, and waits for connections.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{Histogram, HistogramVec, Registry, Result, core::Number};

use super::{
    Each, Metric, cases,
    cells::{GROUPS, SHORT, histogram, histograms},
};

cases! {
    /// Connections that are waited for.
    Pool {
        /// For reads that can be long.
        Scans: "scans",
        /// On PostgreSQL, for writes that are not grouped.
        Desk: "desk",
    }
}

/// What is measured of the database; nothing, unless it was made by [`StoreMetrics::on`].
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics(Option<Arc<Cells>>);

#[derive(Debug)]
struct Cells {
    group: Histogram,
    waited: Histogram,
    commit: Histogram,
    pool_waits: HistogramVec,
    /// Those that were ever waited for: SQLite has no desk.
    pools: Each<OnceLock<Histogram>>,
}

impl StoreMetrics {
    /// Measures.
    pub(super) fn on(registry: &Registry) -> Result<Self> {
        Ok(Self(Some(Arc::new(Cells {
            group: histogram(registry, Metric::WriteGroup, GROUPS)?,
            waited: histogram(registry, Metric::WriteWait, SHORT)?,
            commit: histogram(registry, Metric::Commit, SHORT)?,
            pool_waits: histograms(registry, Metric::PoolWait, SHORT)?,
            pools: Pool::each(|_| OnceLock::new()),
        }))))
    }

    /// A write has waited so long for its group.
    pub fn waited(&self, time: Duration) {
        if let Some(cells) = &self.0 {
            cells.waited.observe(time.as_secs_f64());
        }
    }

    /// So many writes were committed together, in so much time.
    pub fn committed(&self, writes: usize, took: Duration) {
        if let Some(cells) = &self.0 {
            cells
                .group
                .observe(u64::try_from(writes).unwrap_or(u64::MAX).into_f64());
            cells.commit.observe(took.as_secs_f64());
        }
    }

    /// Something has waited so long for a connection.
    pub fn pool_waited(&self, pool: Pool, time: Duration) {
        let Some(cells) = &self.0 else { return };
        if let Some(cell) = cells.pools.at(pool as usize) {
            cell.get_or_init(|| cells.pool_waits.with_label_values(&[pool.name()]))
                .observe(time.as_secs_f64());
        }
    }
}
