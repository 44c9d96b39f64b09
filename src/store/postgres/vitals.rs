//! How the database is.

use std::time::Duration;

use async_trait::async_trait;

use super::PostgresStore;
use crate::{
    model::Timestamp,
    store::{
        Result,
        postgres::error::Problem,
        vitals::{Gauged, Vitals},
    },
};

/// Indexes hold the work that is left, and nothing else. The size is that of the files.
const VITALS: &str = "-- vitals
    WITH clock AS MATERIALIZED (
        SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
    )
    SELECT count(*), count(*) FILTER (WHERE run_after <= (SELECT now FROM clock)),
           (SELECT now FROM clock) - min(run_after),
           (SELECT count(*) FROM replies WHERE status = 'running'), pg_database_size(current_database())
    FROM replies WHERE status = 'queued'";

#[async_trait]
impl Gauged for PostgresStore {
    async fn vitals(&self, now: Timestamp) -> Result<Vitals> {
        let row = self.readers.row(VITALS, &[&self.clock(now)]).await?;
        let row = row.ok_or_else(|| Problem::unavailable("the server answers nothing"))?;
        let number = |at: usize| {
            row.try_get::<_, i64>(at)
                .map(|number| u64::try_from(number).unwrap_or(0))
        };
        let late: Option<i64> = row.try_get(2).map_err(Problem::from)?;
        let mut pools = self.writer.connections().to_vec();
        pools.extend(self.readers.connections("readers", "scans"));
        if let Some(replica) = &self.replica {
            pools.extend(replica.connections("replica", "replica_scans"));
        }
        Ok(Vitals {
            queued: number(0).map_err(Problem::from)?,
            due: number(1).map_err(Problem::from)?,
            oldest_due: Duration::from_micros(u64::try_from(late.unwrap_or(0)).unwrap_or(0)),
            running: number(3).map_err(Problem::from)?,
            bytes: number(4).map_err(Problem::from)?,
            log_bytes: None,
            pools,
        })
    }
}
