//! Replies go by the database's clock: nodes need not agree on the time. A `NULL` in the place of the caller's time
//! asks for it; `statement_timestamp` stands still within a statement, so that indexes can be used.

use std::time::Duration;

use futures_util::FutureExt;
use tokio_postgres::Row;

use super::{
    PostgresStore,
    connection::Session,
    error::{Problem, stored},
    messages,
    writer::Saying,
};
use crate::{
    model::{
        ClaimedReply, ConversationId, Failure, Finished, Lease, MessageId, MessageText, NewMessage, Outcome,
        Reply, ReplyState, Role, Swept, Timestamp,
    },
    store::Result,
};

/// What people are told about a reply whose workers vanished too often.
const LOST: (&str, &str) = (
    "worker_lost",
    "The reply was given up: its workers stopped too often while writing it.",
);

/// Removes the replies that are still to be worked on, so that nobody claims or finishes them.
pub(super) async fn call_off(db: &Session, conversation: ConversationId) -> Result<(), Problem> {
    db.execute(
        "-- delete_conversation: by the index of each state, which is as small as the work that is left.
         WITH queued AS (DELETE FROM replies WHERE status = 'queued' AND conversation_id = $1)
         DELETE FROM replies WHERE status = 'running' AND conversation_id = $1",
        &[&conversation.as_uuid()],
    )
    .await?;
    Ok(())
}

pub(super) async fn read(
    store: &PostgresStore,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<Reply>> {
    let row = store
        .readers
        .row(
            "-- reply
             SELECT status, attempts, error_code, error_message, replies.created_at, started_at, finished_at, answer.id
             FROM replies LEFT JOIN messages AS answer ON answer.reply_to = replies.message_id
             WHERE message_id = $1 AND replies.conversation_id = $2
                   AND EXISTS (SELECT FROM conversations WHERE id = $2)",
            &[&message.as_uuid(), &conversation.as_uuid()],
        )
        .await?;
    Ok(row.map(|row| from_row(message, &row)).transpose()?)
}

pub(super) async fn claim(
    store: &PostgresStore,
    limit: usize,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<ClaimedReply>> {
    let (limit, now, lease) = (
        i64::try_from(limit).unwrap_or(i64::MAX),
        store.clock(now),
        micros(lease),
    );
    store
        .writer
        .write(move |db| claim_in(db, limit, now, lease).boxed())
        .await
}

async fn claim_in(
    db: &Session,
    limit: i64,
    now: Option<i64>,
    lease: i64,
) -> Result<Vec<ClaimedReply>, Problem> {
    let claimed = db
        .rows(
            "-- claim_replies: what another node is just claiming is passed over, not waited for.
             WITH clock AS MATERIALIZED (
                 SELECT coalesce($2, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
             ), due AS MATERIALIZED (
                 SELECT message_id FROM replies
                 WHERE status = 'queued'
                       AND run_after <= coalesce($2, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
                 ORDER BY run_after LIMIT $1 FOR UPDATE SKIP LOCKED
             ), claimed AS (
                 UPDATE replies
                 SET status = 'running', attempts = attempts + 1, lease_token = lease_token + 1,
                     lease_until = now + $3, started_at = coalesce(started_at, greatest(created_at, now))
                 FROM due CROSS JOIN clock
                 WHERE replies.message_id = due.message_id
                 RETURNING replies.message_id, replies.conversation_id, lease_token, attempts, retries
             )
             SELECT message_id, claimed.conversation_id, lease_token, attempts, retries, text
             FROM claimed JOIN messages ON messages.id = claimed.message_id",
            &[&limit, &now, &lease],
        )
        .await?;
    claimed.iter().map(claimed_from_row).collect()
}

fn claimed_from_row(row: &Row) -> Result<ClaimedReply, Problem> {
    Ok(ClaimedReply {
        lease: Lease {
            message: MessageId::new(row.try_get(0)?),
            conversation: ConversationId::new(row.try_get(1)?),
            token: row.try_get(2)?,
        },
        attempts: count(row, 3)?,
        retries: count(row, 4)?,
        prompt: MessageText::from_stored(row.try_get(5)?),
    })
}

pub(super) async fn renew(
    store: &PostgresStore,
    leases: Vec<Lease>,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Lease>> {
    let (now, lease) = (store.clock(now), micros(lease));
    store
        .writer
        .write(move |db| renew_in(db, leases, now, lease).boxed())
        .await
}

async fn renew_in(
    db: &Session,
    leases: Vec<Lease>,
    now: Option<i64>,
    lease: i64,
) -> Result<Vec<Lease>, Problem> {
    let messages: Vec<_> = leases.iter().map(|lease| lease.message.as_uuid()).collect();
    let tokens: Vec<_> = leases.iter().map(|lease| lease.token).collect();
    let held = db
        .rows(
            "-- renew_leases: what is just being finished is passed over, and still counts as held.
             WITH asked AS MATERIALIZED (
                 SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS asked (message_id, token)
             ), held AS MATERIALIZED (
                 SELECT replies.message_id, token FROM asked JOIN replies
                        ON replies.message_id = asked.message_id AND lease_token = token AND lease_until IS NOT NULL
             ), free AS MATERIALIZED (
                 SELECT replies.message_id FROM held JOIN replies
                        ON replies.message_id = held.message_id AND lease_token = token AND lease_until IS NOT NULL
                 FOR UPDATE OF replies SKIP LOCKED
             ), renewed AS (
                 UPDATE replies
                 SET lease_until = coalesce($3, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) + $4
                 FROM free WHERE replies.message_id = free.message_id
             )
             SELECT message_id FROM held",
            &[&messages, &tokens, &now, &lease],
        )
        .await?;
    let held: Vec<uuid::Uuid> = held.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(leases
        .into_iter()
        .filter(|lease| !held.contains(&lease.message.as_uuid()))
        .collect())
}

pub(super) async fn finish(
    store: &PostgresStore,
    lease: Lease,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Finished> {
    let Outcome::Answered { id, text } = outcome else {
        let clock = store.clock(now);
        return store
            .writer
            .write(move |db| close(db, lease, outcome, clock).boxed())
            .await
            .inspect(|(_, due)| {
                if *due {
                    store.notices.wake();
                }
            })
            .map(|(finished, _)| finished);
    };
    let folded = messages::folded(&text);
    let answer = Saying {
        new: NewMessage {
            id,
            conversation: lease.conversation,
            role: Role::Assistant,
            text,
            now,
        },
        folded,
        answers: Some(lease),
        claimant: None,
    };
    Ok(match store.writer.say(answer).await? {
        Some(_) => Finished::Stored,
        None => Finished::LeaseLost,
    })
}

/// Ends work on a reply without an answer. Gives what came of it, and whether the reply is due again.
async fn close(
    db: &Session,
    lease: Lease,
    outcome: Outcome,
    now: Option<i64>,
) -> Result<(Finished, bool), Problem> {
    let (message, token) = (lease.message.as_uuid(), lease.token);
    let (touched, due) = match outcome {
        Outcome::Answered { .. } => return Ok((Finished::LeaseLost, false)),
        Outcome::Failed(Failure { code, message: text }) => (
            db.execute(
                "-- finish_reply: failed
                 UPDATE replies
                 SET status = 'failed', lease_until = NULL, error_code = $4, error_message = $5,
                     finished_at = greatest(started_at, coalesce($3, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint))
                 WHERE message_id = $1 AND lease_token = $2 AND lease_until IS NOT NULL",
                &[&message, &token, &now, &code, &text],
            )
            .await?,
            false,
        ),
        Outcome::Retry { after } => (
            db.execute(
                "-- finish_reply: to be tried again
                 UPDATE replies
                 SET status = 'queued', lease_until = NULL, retries = retries + 1,
                     run_after = coalesce($3, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) + $4
                 WHERE message_id = $1 AND lease_token = $2 AND lease_until IS NOT NULL",
                &[&message, &token, &now, &micros(after)],
            )
            .await?,
            true,
        ),
        Outcome::Released => (
            db.execute(
                "-- finish_reply: released
                 UPDATE replies
                 SET status = 'queued', lease_until = NULL,
                     run_after = coalesce($3, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
                 WHERE message_id = $1 AND lease_token = $2 AND lease_until IS NOT NULL",
                &[&message, &token, &now],
            )
            .await?,
            true,
        ),
    };
    Ok(match touched {
        1 => (Finished::Stored, due),
        _ => (Finished::LeaseLost, false),
    })
}

pub(super) async fn sweep(
    store: &PostgresStore,
    now: Timestamp,
    most_lost: u32,
    longest_pause: Duration,
) -> Result<Swept> {
    let (now, longest_pause) = (store.clock(now), micros(longest_pause));
    let (swept, pulled) = store
        .writer
        .write(move |db| {
            let sweep = async move {
                let pulled = db
                    .execute(
                        "-- sweep_replies: retries that a clock set back has put out of reach
                         WITH clock AS MATERIALIZED (
                             SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
                         ), far AS MATERIALIZED (
                             SELECT message_id FROM replies
                             WHERE status = 'queued' AND run_after > (SELECT now FROM clock) + $2
                             FOR UPDATE SKIP LOCKED
                         )
                         UPDATE replies SET run_after = now FROM far CROSS JOIN clock
                         WHERE replies.message_id = far.message_id",
                        &[&now, &longest_pause],
                    )
                    .await?;
                Ok((take_back(db, now, false, most_lost).await?, pulled))
            };
            sweep.boxed()
        })
        .await?;
    if pulled > 0 || swept.requeued > 0 {
        store.notices.wake();
    }
    Ok(swept)
}

pub(super) async fn reclaim(store: &PostgresStore, now: Timestamp, most_lost: u32) -> Result<Swept> {
    let now = store.clock(now);
    let swept = store
        .writer
        .write(move |db| take_back(db, now, true, most_lost).boxed())
        .await?;
    if swept.requeued > 0 {
        store.notices.wake();
    }
    Ok(swept)
}

/// Takes back the leases that have run out, or all of them. What somebody else is just changing is passed over.
async fn take_back(db: &Session, now: Option<i64>, all: bool, most_lost: u32) -> Result<Swept, Problem> {
    let row = db
        .row(
            "-- sweep_replies, reclaim_replies
             WITH clock AS MATERIALIZED (
                 SELECT coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
             ), lost AS MATERIALIZED (
                 SELECT message_id, lost_leases + 1 >= $3 AS is_over FROM replies
                 WHERE status = 'running' AND ($2 OR lease_until < (SELECT now FROM clock))
                 FOR UPDATE SKIP LOCKED
             ), failed AS (
                 UPDATE replies
                 SET status = 'failed', lost_leases = lost_leases + 1, lease_until = NULL,
                     finished_at = greatest(started_at, now), error_code = $4, error_message = $5
                 FROM lost CROSS JOIN clock
                 WHERE replies.message_id = lost.message_id AND is_over
                 RETURNING 1
             ), requeued AS (
                 UPDATE replies
                 SET status = 'queued', lost_leases = lost_leases + 1, lease_until = NULL, run_after = now
                 FROM lost CROSS JOIN clock
                 WHERE replies.message_id = lost.message_id AND NOT is_over
                 RETURNING 1
             )
             SELECT (SELECT count(*) FROM requeued), (SELECT count(*) FROM failed)",
            &[&now, &all, &i64::from(most_lost), &LOST.0, &LOST.1],
        )
        .await?;
    let Some(row) = row else {
        return Ok(Swept::default());
    };
    Ok(Swept {
        requeued: count(&row, 0)?,
        failed: count(&row, 1)?,
    })
}

pub(super) async fn until_due(store: &PostgresStore, now: Timestamp) -> Result<Option<Duration>> {
    let row = store
        .readers
        .row(
            "-- until_due
             SELECT min(run_after) - coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
             FROM replies WHERE status = 'queued'",
            &[&store.clock(now)],
        )
        .await?;
    let micros: Option<i64> = match row {
        Some(row) => row.try_get(0).map_err(Problem::from)?,
        None => None,
    };
    Ok(micros.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
}

fn from_row(message: MessageId, row: &Row) -> Result<Reply, Problem> {
    let state = match row.try_get(0)? {
        "queued" => ReplyState::Queued,
        "running" => ReplyState::Running,
        "succeeded" => ReplyState::Succeeded(row.try_get::<_, Option<_>>(7)?.map(MessageId::new)),
        "failed" => ReplyState::Failed(Failure {
            code: stored(row.try_get(2)?, "replies", "error_code")?,
            message: stored(row.try_get(3)?, "replies", "error_message")?,
        }),
        "cancelled" => ReplyState::Cancelled,
        _ => return Ok(stored(None, "replies", "status")?),
    };
    Ok(Reply {
        message,
        state,
        attempts: count(row, 1)?,
        created: Timestamp::from_micros(row.try_get(4)?),
        started: row.try_get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
        finished: row.try_get::<_, Option<i64>>(6)?.map(Timestamp::from_micros),
    })
}

fn count(row: &Row, at: usize) -> Result<u32, Problem> {
    Ok(u32::try_from(row.try_get::<_, i64>(at)?).unwrap_or(u32::MAX))
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
