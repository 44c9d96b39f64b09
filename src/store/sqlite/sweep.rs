//! Taking back replies that nobody works on any more.

use std::time::Duration;

use super::{
    SqliteStore,
    settle::{self, Settled},
    writer::Tx,
};
use crate::{
    model::{ConversationId, Failure, MessageId, Swept, Timestamp},
    store::{NEVER, Result, timeline::Kind},
};

/// What people are told about a reply whose workers vanished too often.
const LOST: (&str, &str) = (
    "worker_lost",
    "The reply was given up: its workers stopped too often while writing it.",
);

pub(super) async fn sweep(
    store: &SqliteStore,
    now: Timestamp,
    most_lost: u32,
    longest_pause: Duration,
) -> Result<Swept> {
    store
        .writer
        .write(move |tx| {
            // sweep_replies: retries that a clock set back has put out of reach
            let pulled = tx
                .prepare_cached(
                    "UPDATE replies SET run_after = ?1 WHERE status = 'queued' AND run_after > ?2 AND run_after < ?3",
                )?
                .execute((now.as_micros(), now.after(longest_pause).as_micros(), NEVER))?;
            if pulled > 0 {
                tx.wake_workers();
            }
            take_back(tx, now, now, most_lost)
        })
        .await
}

pub(super) async fn reclaim(store: &SqliteStore, now: Timestamp, most_lost: u32) -> Result<Swept> {
    store
        .writer
        .write(move |tx| take_back(tx, Timestamp::from_micros(i64::MAX), now, most_lost))
        .await
}

/// Takes back the leases that ran out before `expired`.
fn take_back(tx: &Tx<'_>, expired: Timestamp, now: Timestamp, most_lost: u32) -> Result<Swept> {
    // sweep_replies, reclaim_replies: give up
    let failed: Vec<Settled> = tx
        .prepare_cached(
            "UPDATE replies
             SET status = 'failed', lost_leases = lost_leases + 1, lease_until = NULL, finished_at = ?2, error_code = ?4,
                 error_message = ?5,
                 streamed = EXISTS (SELECT * FROM events WHERE reply_id = replies.message_id AND kind = 'started')
             WHERE status = 'running' AND lease_until < ?1 AND lost_leases + 1 >= ?3
             RETURNING attempts, tries, turn IS NOT NULL, conversation_id, message_id",
        )?
        .query_map((expired.as_micros(), now.as_micros(), most_lost, LOST.0, LOST.1), |row| {
            let conversation = ConversationId::from(row.get::<_, [u8; 16]>(3)?);
            Settled::from_row(conversation, MessageId::from(row.get::<_, [u8; 16]>(4)?), row)
        })?
        .collect::<rusqlite::Result<_>>()?;
    for settled in &failed {
        let failure = Failure::new(LOST.0, LOST.1);
        settle::without_answer(tx, settled, Kind::Failed, Some(failure), now)?;
    }
    // sweep_replies, reclaim_replies: put back
    let requeued = tx
        .prepare_cached(
            "UPDATE replies SET status = 'queued', lost_leases = lost_leases + 1, lease_until = NULL, run_after = ?2
             WHERE status = 'running' AND lease_until < ?1",
        )?
        .execute((expired.as_micros(), now.as_micros()))?;
    if requeued > 0 {
        tx.wake_workers();
    }
    let number = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
    Ok(Swept {
        requeued: number(requeued),
        failed: number(failed.len()),
    })
}
