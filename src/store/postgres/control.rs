//! What people do about replies: calling off, asking again, looking at earlier tries, deleting.

use futures_util::FutureExt;

use super::{
    PostgresStore, conversations,
    error::Problem,
    events, keys, once,
    replies::{count, read_in, state},
    settle,
    tx::Tx,
};
use crate::{
    model::{Attempt, ConversationId, MessageId, MessageText, NewReply, Reply, Retried, Role, Timestamp},
    store::{NEVER, Once, Result, codec, timeline::Kind},
};

pub(super) async fn cancel(
    store: &PostgresStore,
    conversation: ConversationId,
    message: MessageId,
    partial: MessageId,
    now: Timestamp,
    once: Option<Once<Reply>>,
) -> Result<Option<Reply>> {
    let clock = store.clock(now);
    store
        .transact(move |tx| {
            async move {
                if !conversations::lock(tx, conversation).await? {
                    return Ok(None);
                }
                settle::cancel(tx, conversation, message, partial, now, clock).await?;
                let reply = read_in(tx, conversation, message).await?;
                if let Some(reply) = &reply {
                    once::remember(tx, once, reply).await?;
                }
                Ok(reply)
            }
            .boxed()
        })
        .await
}

pub(super) async fn retry(
    store: &PostgresStore,
    conversation: ConversationId,
    message: MessageId,
    asked: NewReply,
    now: Timestamp,
    once: Option<Once<Reply>>,
) -> Result<Retried> {
    let clock = store.clock(now);
    store
        .transact(move |tx| {
            async move {
                let is_there = conversations::lock(tx, conversation).await?;
                // What is unfinished may be its own try.
                once::refuse_repeated(tx, once.as_ref()).await?;
                if !is_there {
                    return Ok(Retried::NoReply);
                }
                let retried = retry_in(tx, (conversation, message), asked, now, clock).await?;
                if let Retried::Queued(reply) = &retried {
                    once::remember(tx, once, reply).await?;
                }
                Ok(retried)
            }
            .boxed()
        })
        .await
}

/// The conversation is taken.
async fn retry_in(
    tx: &Tx<'_>,
    (conversation, message): (ConversationId, MessageId),
    asked: NewReply,
    now: Timestamp,
    clock: Option<i64>,
) -> Result<Retried, Problem> {
    match read_in(tx, conversation, message).await? {
        None => return Ok(Retried::NoReply),
        Some(reply) if !reply.state.is_final() => return Ok(Retried::Unfinished),
        Some(_) => {}
    }
    settle::write_down(tx, conversation, message).await?;
    let Some(number) = events::take_number(tx, conversation, Kind::Queued).await? else {
        return Ok(Retried::NoReply);
    };
    let mut row = events::row(Kind::Queued, now, Some(message), None);
    row.number = number;
    events::insert(tx, conversation, &row).await?;
    tx.execute(
        "-- retry_reply: what it had come to is kept
         INSERT INTO reply_attempts (message_id, number, status, answer_id, error_code, error_message, account,
                                     started_at, finished_at)
         SELECT message_id, tries + 1, status, (SELECT id FROM messages WHERE reply_to = $1), error_code, error_message,
                account, started_at, finished_at
         FROM replies WHERE message_id = $1",
        &[&message.as_uuid()],
    )
    .await?;
    tx.execute(
        "-- retry_reply
         UPDATE replies
         SET status = 'queued', lost_leases = 0, retries = 0, error_code = NULL, error_message = NULL, account = NULL,
             started_at = NULL, finished_at = NULL, tries = tries + 1, queued_event = $4, lane = $3,
             owner_id = $7, trace = $8,
             turn = CASE WHEN $3::text IS NOT NULL THEN (SELECT seq FROM messages WHERE id = $1) END,
             run_after = CASE WHEN $3 IS NOT NULL
                                   AND EXISTS (SELECT FROM replies AS others
                                               WHERE others.conversation_id = $2 AND others.turn IS NOT NULL
                                                     AND others.finished_at IS NULL AND others.run_after <> $6)
                              THEN $6::bigint
                              ELSE coalesce($5, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) END
         WHERE message_id = $1",
        &[
            &message.as_uuid(),
            &conversation.as_uuid(),
            &asked.lane,
            &events::signed(number),
            &clock,
            &NEVER,
            &keys::owner_column(asked.owner),
            &codec::trace_to_text(asked.trace),
        ],
    )
    .await?;
    tx.wake_workers();
    let reply = read_in(tx, conversation, message).await?;
    Ok(reply.map_or(Retried::NoReply, Retried::Queued))
}

pub(super) async fn attempts(
    store: &PostgresStore,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<Vec<Attempt>>> {
    let rows = store
        .readers
        .rows(
            "-- attempts: a reply without any has a row all the same
             SELECT number, status, error_code, error_message, answer_id, coalesce(tries.text, messages.text),
                    tries.started_at, tries.finished_at
             FROM (SELECT FROM replies WHERE message_id = $1 AND conversation_id = $2
                                             AND EXISTS (SELECT FROM conversations WHERE id = $2)) AS reply
                  LEFT JOIN (reply_attempts AS tries LEFT JOIN messages ON messages.id = answer_id)
                       ON tries.message_id = $1
             ORDER BY number",
            &[&message.as_uuid(), &conversation.as_uuid()],
        )
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut attempts = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.try_get::<_, Option<i64>>(0).map_err(Problem::from)?.is_some() {
            attempts.push(attempt(row)?);
        }
    }
    Ok(Some(attempts))
}

fn attempt(row: &tokio_postgres::Row) -> Result<Attempt, Problem> {
    Ok(Attempt {
        number: count(row, 0)?,
        state: state(row, 1)?,
        answer: row.try_get::<_, Option<_>>(4)?.map(MessageId::new),
        text: row.try_get::<_, Option<String>>(5)?.map(MessageText::from_stored),
        started: row.try_get::<_, Option<i64>>(6)?.map(Timestamp::from_micros),
        finished: Timestamp::from_micros(row.try_get(7)?),
    })
}

/// Forgets what is told of a message that is about to be deleted: of a user's the whole reply, but for what became of its
/// answers, of an answer its text. The conversation is taken.
pub(super) async fn forget(
    tx: &Tx<'_>,
    conversation: ConversationId,
    id: MessageId,
    role: Role,
    reply_to: Option<MessageId>,
) -> Result<(), Problem> {
    match (role, reply_to) {
        (Role::User, _) => {
            let running = tx
                .row(
                    "-- delete_message: what was told of its reply; the answers stay where they were told
                     WITH told AS (
                         DELETE FROM events
                         WHERE reply_id = $1 AND (kind NOT IN ('succeeded', 'cancelled') OR message_id IS NULL)
                     ), answers AS (
                         UPDATE events SET reply_id = NULL
                         WHERE reply_id = $1 AND kind IN ('succeeded', 'cancelled') AND message_id IS NOT NULL
                     )
                     SELECT FROM replies WHERE message_id = $1 AND status = 'running'",
                    &[&id.as_uuid()],
                )
                .await?;
            if running.is_some() {
                tx.call_off();
            }
        }
        (Role::Assistant, Some(reply)) => {
            settle::write_down(tx, conversation, reply).await?;
            // What is written anew at the moment is not the answer's.
            events::forget(tx, reply).await?;
        }
        (Role::Assistant, None) => {}
    }
    Ok(())
}
