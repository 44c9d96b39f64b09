//! Replies go by the database's clock: nodes need not agree on the time. A `NULL` in the place of the caller's time
//! asks for it; `statement_timestamp` stands still within a statement, so that indexes can be used.

use std::time::Duration;

use futures_util::FutureExt;
use tokio_postgres::Row;

use super::{
    PostgresStore,
    connection::Session,
    error::{Problem, stored},
    events,
    keys::unsigned,
    telling::Telling,
    tx::Tx,
};
use crate::{
    model::{
        ClaimedReply, ConversationId, Failure, Finished, Lease, MessageId, MessageText, Owner, Progress,
        Reply, ReplyOptions, ReplyState, Timestamp,
    },
    store::{NEVER, Result, codec, keys},
};

/// Removes the replies that are still to be worked on, so that nobody claims or finishes them.
pub(super) async fn call_off(tx: &Tx<'_>, conversation: ConversationId) -> Result<(), Problem> {
    let running = tx
        .execute(
            "-- delete_conversation: by the index of each state, which is as small as the work that is left.
             WITH queued AS (DELETE FROM replies WHERE status = 'queued' AND conversation_id = $1)
             DELETE FROM replies WHERE status = 'running' AND conversation_id = $1",
            &[&conversation.as_uuid()],
        )
        .await?;
    if running > 0 {
        tx.call_off();
    }
    Ok(())
}

const READ: &str = "-- reply, cancel_reply, retry_reply
    SELECT status, attempts, error_code, error_message, replies.created_at, started_at, finished_at, answer.id, queued_event
    FROM replies LEFT JOIN messages AS answer ON answer.reply_to = replies.message_id
    WHERE message_id = $1 AND replies.conversation_id = $2
          AND EXISTS (SELECT FROM conversations WHERE id = $2)";

pub(super) async fn read(
    store: &PostgresStore,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<Reply>> {
    let row = store
        .readers
        .row(READ, &[&message.as_uuid(), &conversation.as_uuid()])
        .await?;
    Ok(row.map(|row| from_row(message, &row)).transpose()?)
}

pub(super) async fn read_in(
    db: &Session,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<Reply>, Problem> {
    let row = db
        .row(READ, &[&message.as_uuid(), &conversation.as_uuid()])
        .await?;
    row.map(|row| from_row(message, &row)).transpose()
}

pub(super) async fn pending(store: &PostgresStore) -> Result<Vec<(Owner, u64)>> {
    let rows = store
        .readers
        .rows(
            "-- pending_replies: by the index of each state, which is as small as the work that is left.
             SELECT owner_id, count(*)
             FROM (SELECT owner_id FROM replies WHERE status = 'queued'
                   UNION ALL
                   SELECT owner_id FROM replies WHERE status = 'running') AS pending
             GROUP BY owner_id",
            &[],
        )
        .await?;
    let pending = rows.iter().map(|row| {
        let owner = row.try_get(0).map_err(Problem::from)?;
        Ok((keys::owner(owner), unsigned(row, 1)?))
    });
    pending.collect()
}

pub(super) async fn options(
    store: &PostgresStore,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<ReplyOptions>> {
    let row = store
        .readers
        .row(
            "-- reply_options
             SELECT options FROM replies
             WHERE message_id = $1 AND conversation_id = $2 AND EXISTS (SELECT FROM conversations WHERE id = $2)",
            &[&message.as_uuid(), &conversation.as_uuid()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(parse_options(row.try_get(0).map_err(Problem::from)?)?))
}

pub(super) fn parse_options(text: Option<String>) -> Result<ReplyOptions> {
    match text {
        Some(text) => stored(codec::options_from_text(&text), "replies", "options"),
        None => Ok(ReplyOptions::default()),
    }
}

pub(super) async fn claim(
    store: &PostgresStore,
    limit: usize,
    room: Vec<(String, usize)>,
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
        .write(move |db| claim_in(db, limit, room, now, lease).boxed())
        .await
}

async fn claim_in(
    db: &Session,
    limit: i64,
    room: Vec<(String, usize)>,
    now: Option<i64>,
    lease: i64,
) -> Result<Vec<ClaimedReply>, Problem> {
    let (lanes, places): (Vec<String>, Vec<i64>) = room
        .into_iter()
        .map(|(lane, places)| (lane, i64::try_from(places).unwrap_or(i64::MAX)))
        .unzip();
    let claimed = db
        .rows(
            "-- claim_replies: what another node is just claiming is passed over, not waited for.
             WITH clock AS MATERIALIZED (
                 SELECT coalesce($2, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now
             ), room AS MATERIALIZED (
                 SELECT * FROM unnest($4::text[], $5::bigint[]) AS room (lane, places)
             ), due AS MATERIALIZED (
                 SELECT message_id, lane, run_after FROM replies
                 WHERE status = 'queued'
                       AND run_after <= coalesce($2, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
                       AND (lane IS NULL OR lane <> ALL (ARRAY (SELECT lane FROM room WHERE places = 0)))
                 ORDER BY run_after LIMIT $1 FOR UPDATE SKIP LOCKED
             ), counted AS (
                 SELECT message_id, lane, row_number() OVER (PARTITION BY lane ORDER BY run_after) AS nth FROM due
             ), fitting AS MATERIALIZED (
                 SELECT message_id FROM counted LEFT JOIN room USING (lane) WHERE places IS NULL OR nth <= places
             ), claimed AS (
                 UPDATE replies
                 SET status = 'running', attempts = attempts + 1, lease_token = lease_token + 1,
                     lease_until = now + $3, started_at = coalesce(started_at, greatest(created_at, now))
                 FROM fitting CROSS JOIN clock
                 WHERE replies.message_id = fitting.message_id
                 RETURNING replies.message_id, replies.conversation_id, lease_token, attempts, retries, lane,
                           owner_id, trace
             )
             SELECT message_id, claimed.conversation_id, lease_token, attempts, retries, text, lane, owner_id, trace
             FROM claimed JOIN messages ON messages.id = claimed.message_id",
            &[&limit, &now, &lease, &lanes, &places],
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
        lane: row.try_get(6)?,
        owner: keys::owner(row.try_get(7)?),
        trace: codec::trace_from_text(row.try_get(8)?),
    })
}

pub(super) async fn renew(
    store: &PostgresStore,
    leases: Vec<Lease>,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Lease>> {
    store.writer.hold(&leases);
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

pub(super) async fn tell(
    store: &PostgresStore,
    lease: Lease,
    progress: Vec<Progress>,
    now: Timestamp,
) -> Result<Finished> {
    store.writer.tell(Telling { lease, progress, now }).await
}

pub(super) async fn until_due(
    store: &PostgresStore,
    full: Vec<String>,
    now: Timestamp,
) -> Result<Option<Duration>> {
    let row = store
        .readers
        .row(
            "-- until_due
             SELECT run_after - coalesce($1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
             FROM replies WHERE status = 'queued' AND run_after < $2 AND (lane IS NULL OR lane <> ALL ($3))
             ORDER BY run_after LIMIT 1",
            &[&store.clock(now), &NEVER, &full],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let micros: i64 = row.try_get(0).map_err(Problem::from)?;
    Ok(Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
}

fn from_row(message: MessageId, row: &Row) -> Result<Reply, Problem> {
    Ok(Reply {
        message,
        state: state(row, 0)?,
        answer: row.try_get::<_, Option<_>>(7)?.map(MessageId::new),
        queued: events::number(row, 8)?,
        attempts: count(row, 1)?,
        created: Timestamp::from_micros(row.try_get(4)?),
        started: row.try_get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
        finished: row.try_get::<_, Option<i64>>(6)?.map(Timestamp::from_micros),
    })
}

/// Reads a status; of a failure, `error_code, error_message` are at 2 and 3.
pub(super) fn state(row: &Row, at: usize) -> Result<ReplyState, Problem> {
    Ok(match row.try_get(at)? {
        "queued" => ReplyState::Queued,
        "running" => ReplyState::Running,
        "succeeded" => ReplyState::Succeeded,
        "failed" => ReplyState::Failed(Failure {
            code: stored(row.try_get(2)?, "replies", "error_code")?,
            message: stored(row.try_get(3)?, "replies", "error_message")?,
        }),
        "cancelled" => ReplyState::Cancelled,
        _ => return Ok(stored(None, "replies", "status")?),
    })
}

pub(super) fn count(row: &Row, at: usize) -> Result<u32, Problem> {
    Ok(u32::try_from(row.try_get::<_, i64>(at)?).unwrap_or(u32::MAX))
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
