//! What the database has to tell whoever reads the metrics.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    clock::{Clock, Stopwatch},
    store::vitals::{Gauged, Vitals},
    telemetry::metrics::{Metric, Page, Source},
};

/// How old figures may be: however many read the metrics, the database is asked no more often.
const FRESH: Duration = Duration::from_secs(5);

/// How long the database may take to give them. Whoever reads the metrics is not to wait for one that is away.
const PATIENCE: Duration = Duration::from_secs(1);

/// The database's figures, as they were when it was last asked.
pub(super) struct Figures {
    gauged: Arc<dyn Gauged>,
    clock: Clock,
    last: Mutex<Option<(Stopwatch, Option<Vitals>)>>,
}

impl Figures {
    pub(super) fn of(gauged: Arc<dyn Gauged>, clock: Clock) -> Self {
        Self {
            gauged,
            clock,
            last: Mutex::default(),
        }
    }

    /// The figures; `None` if the database does not answer. Who comes while it is asked waits for the same answer.
    async fn get(&self) -> Option<Vitals> {
        let mut last = self.last.lock().await;
        if let Some((asked, vitals)) = &*last
            && asked.elapsed() < FRESH
        {
            return vitals.clone();
        }
        let vitals = match timeout(PATIENCE, self.gauged.vitals(self.clock.now())).await {
            Ok(Ok(vitals)) => Some(vitals),
            // That the database is away is told by the figure that says so, and by those who need it.
            Ok(Err(_)) | Err(_) => None,
        };
        *last = Some((Stopwatch::start(), vitals.clone()));
        vitals
    }
}

#[async_trait]
impl Source for Figures {
    async fn tell(&self, page: &mut Page) {
        let vitals = self.get().await;
        page.tell(Metric::DatabaseUp, &[], vitals.is_some());
        let Some(vitals) = vitals else { return };
        page.tell(Metric::RepliesQueued, &[], vitals.queued);
        page.tell(Metric::RepliesDue, &[], vitals.due);
        page.tell(Metric::RepliesRunning, &[], vitals.running);
        page.tell(Metric::OldestDue, &[], vitals.oldest_due.as_secs_f64());
        page.tell(Metric::DatabaseSize, &[], vitals.bytes);
        if let Some(bytes) = vitals.log_bytes {
            page.tell(Metric::WalSize, &[], bytes);
        }
        for pool in &vitals.pools {
            let (up, down) = (pool.up, pool.connections.saturating_sub(pool.up));
            page.tell(Metric::DatabaseConnections, &[pool.name, "up"], up);
            page.tell(Metric::DatabaseConnections, &[pool.name, "down"], down);
        }
    }
}
