//! Forgetting the pieces in which old answers were told.

use futures_util::FutureExt;

use super::{PostgresStore, connection::Session, error::Problem};
use crate::{model::Timestamp, store::Result};

/// Replies whose pieces are forgotten in one statement.
const AT_ONCE: i64 = 50;

pub(super) async fn run(store: &PostgresStore, before: Timestamp) -> Result<u32> {
    let before = before.as_micros();
    store.writer.write(move |db| step(db, before).boxed()).await
}

async fn step(db: &Session, before: i64) -> Result<u32, Problem> {
    let row = db
        .row(
            "-- prune_deltas: what somebody else is just changing is left to the next look
             WITH old AS MATERIALIZED (
                 SELECT message_id, final_event
                 FROM replies JOIN conversations ON id = conversation_id
                 WHERE streamed = 1 AND finished_at < $1
                 ORDER BY finished_at LIMIT $2 FOR UPDATE OF conversations SKIP LOCKED
             ), pieces AS (
                 DELETE FROM events USING old
                 WHERE reply_id = old.message_id AND kind IN ('started', 'delta')
                       AND number < final_event
             ), ends AS (
                 -- Also of an answer that later tries have left in its place.
                 UPDATE events SET told = NULL FROM old
                 WHERE reply_id = old.message_id AND number <= final_event AND told IS NOT NULL
             ), whole AS (
                 UPDATE replies SET streamed = 0 FROM old
                 WHERE replies.message_id = old.message_id AND replies.final_event = old.final_event
             )
             SELECT count(*) FROM old",
            &[&before, &AT_ONCE],
        )
        .await?;
    let pruned: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    Ok(u32::try_from(pruned).unwrap_or(u32::MAX))
}
