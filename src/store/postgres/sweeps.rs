//! Taking back the leases of those who are gone, and whatever else nobody sees to but a look now and then.

use std::time::Duration;

use futures_util::FutureExt;

use super::{
    PostgresStore,
    connection::Session,
    conversations,
    error::Problem,
    replies::micros,
    settle::{self, Settled},
    turns,
    tx::Tx,
};
use crate::{
    model::{ConversationId, Failure, Lease, MessageId, Swept, Timestamp},
    store::{NEVER, Result, timeline::Kind},
};

/// What people are told about a reply whose workers vanished too often.
const LOST: (&str, &str) = (
    "worker_lost",
    "The reply was given up: its workers stopped too often while writing it.",
);

pub(super) async fn sweep(
    store: &PostgresStore,
    now: Timestamp,
    most_lost: u32,
    longest_pause: Duration,
) -> Result<Swept> {
    let (clock, longest_pause) = (store.clock(now), micros(longest_pause));
    let pulled = store
        .writer
        .write(move |db| pull_in(db, clock, longest_pause).boxed())
        .await?;
    let swept = take_back(store, now, false, most_lost).await?;
    // What a node left that ended between its commit and its look for the next turn.
    let freed = store
        .writer
        .write(move |db| {
            let free = async move { turns::free(db, &turns::waiting(db).await?, clock).await };
            free.boxed()
        })
        .await?;
    if pulled > 0 || freed > 0 {
        store.notices.wake();
    }
    Ok(swept)
}

async fn pull_in(db: &Session, clock: Option<i64>, longest_pause: i64) -> Result<u64, Problem> {
    db.execute(
        "-- sweep_replies: retries that a clock set back has put out of reach
         WITH clock AS MATERIALIZED (
             SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
         ), far AS MATERIALIZED (
             SELECT message_id FROM replies
             WHERE status = 'queued' AND run_after > (SELECT now FROM clock) + $2 AND run_after < $3
             FOR UPDATE SKIP LOCKED
         )
         UPDATE replies SET run_after = now FROM far CROSS JOIN clock
         WHERE replies.message_id = far.message_id",
        &[&clock, &longest_pause, &NEVER],
    )
    .await
}

pub(super) async fn reclaim(store: &PostgresStore, now: Timestamp, most_lost: u32) -> Result<Swept> {
    take_back(store, now, true, most_lost).await
}

/// Takes back the leases that have run out, or all of them. What somebody else is just changing is passed over.
async fn take_back(store: &PostgresStore, now: Timestamp, all: bool, most_lost: u32) -> Result<Swept> {
    let clock = store.clock(now);
    let most_lost = i64::from(most_lost);
    let (requeued, over) = store
        .writer
        .write(move |db| {
            let look = async move {
                Ok((
                    put_back(db, clock, all, most_lost).await?,
                    lost_too_often(db, clock, all, most_lost).await?,
                ))
            };
            look.boxed()
        })
        .await?;
    let mut failed = 0;
    // Each for itself: its conversation is taken first, as by everybody.
    for lease in over {
        let given_up = store
            .transact(move |tx| async move { give_up(tx, lease, all, now, clock).await }.boxed())
            .await?;
        failed += u32::from(given_up);
    }
    if requeued > 0 {
        store.notices.wake();
    }
    Ok(Swept { requeued, failed })
}

/// Puts back what may be tried again. Gives how many replies that were.
async fn put_back(db: &Session, clock: Option<i64>, all: bool, most_lost: i64) -> Result<u32, Problem> {
    let requeued = db
        .execute(
            "-- sweep_replies, reclaim_replies: put back
             WITH clock AS MATERIALIZED (
                 SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
             ), lost AS MATERIALIZED (
                 SELECT message_id FROM replies
                 WHERE status = 'running' AND ($2 OR lease_until < (SELECT now FROM clock)) AND lost_leases + 1 < $3
                 FOR UPDATE SKIP LOCKED
             )
             UPDATE replies
             SET status = 'queued', lost_leases = lost_leases + 1, lease_until = NULL, run_after = now
             FROM lost CROSS JOIN clock
             WHERE replies.message_id = lost.message_id",
            &[&clock, &all, &most_lost],
        )
        .await?;
    Ok(u32::try_from(requeued).unwrap_or(u32::MAX))
}

/// Those that have lost so many leases that they are given up.
async fn lost_too_often(
    db: &Session,
    clock: Option<i64>,
    all: bool,
    most_lost: i64,
) -> Result<Vec<Lease>, Problem> {
    let found = db
        .rows(
            "-- sweep_replies, reclaim_replies: to be given up
             WITH clock AS MATERIALIZED (
                 SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
             )
             SELECT message_id, conversation_id, lease_token FROM replies
             WHERE status = 'running' AND ($2 OR lease_until < (SELECT now FROM clock)) AND lost_leases + 1 >= $3",
            &[&clock, &all, &most_lost],
        )
        .await?;
    let leases = found.iter().map(|row| {
        Ok(Lease {
            message: MessageId::new(row.try_get(0)?),
            conversation: ConversationId::new(row.try_get(1)?),
            token: row.try_get(2)?,
        })
    });
    leases.collect()
}

/// Gives a reply up whose lease has run out, unless it was renewed or taken meanwhile; whether it was.
async fn give_up(
    tx: &Tx<'_>,
    lease: Lease,
    all: bool,
    now: Timestamp,
    clock: Option<i64>,
) -> Result<bool, Problem> {
    if !conversations::lock(tx, lease.conversation).await? {
        return Ok(false);
    }
    let row = tx
        .row(
            "-- sweep_replies, reclaim_replies: give up
             UPDATE replies
             SET status = 'failed', lost_leases = lost_leases + 1, lease_until = NULL, error_code = $4, error_message = $5,
                 finished_at = greatest(started_at, coalesce($3, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)),
                 final_event = 0, streamed = EXISTS (SELECT FROM events WHERE reply_id = $1 AND kind = 'started')::int
             WHERE message_id = $1 AND lease_token = $2
                   AND ($6 AND lease_until IS NOT NULL
                        OR lease_until < coalesce($3, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint))
             RETURNING attempts, tries, turn IS NOT NULL",
            &[&lease.message.as_uuid(), &lease.token, &clock, &LOST.0, &LOST.1, &all],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    let settled = Settled::from_row(lease.conversation, lease.message, &row)?;
    let failure = Failure::new(LOST.0, LOST.1);
    settle::without_answer(tx, &settled, Kind::Failed, Some(failure), now, clock).await?;
    Ok(true)
}
