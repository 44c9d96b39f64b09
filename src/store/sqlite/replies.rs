use std::time::Duration;

use rusqlite::{OptionalExtension, Row};

use super::{SqliteStore, conversations, error::stored, messages, writer::Tx};
use crate::{
    model::{
        ClaimedReply, ConversationId, Failure, Finished, Lease, Message, MessageId, MessageText, Outcome,
        Reply, ReplyState, Role, Swept, Timestamp,
    },
    store::Result,
};

/// What people are told about a reply whose workers vanished too often.
const LOST: (&str, &str) = (
    "worker_lost",
    "The reply was given up: its workers stopped too often while writing it.",
);

pub(super) fn enqueue(tx: &Tx<'_>, message: &Message) -> Result<()> {
    // append_message
    tx.prepare_cached(
        "INSERT INTO replies (message_id, conversation_id, run_after, created_at) VALUES (?1, ?2, ?3, ?3)",
    )?
    .execute((
        message.id.as_bytes(),
        message.conversation.as_bytes(),
        message.created.as_micros(),
    ))?;
    tx.wake_workers();
    Ok(())
}

/// Removes the replies that are still to be worked on, so that nobody claims or finishes them.
pub(super) fn call_off(tx: &Tx<'_>, conversation: ConversationId) -> Result<()> {
    // delete_conversation: by the index of each state, which is as small as the work that is left.
    tx.prepare_cached("DELETE FROM replies WHERE status = 'queued' AND conversation_id = ?")?
        .execute([conversation.as_bytes()])?;
    tx.prepare_cached("DELETE FROM replies WHERE status = 'running' AND conversation_id = ?")?
        .execute([conversation.as_bytes()])?;
    Ok(())
}

pub(super) fn read(
    store: &SqliteStore,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<Reply>> {
    store.readers.read(|db| {
        // reply
        let mut select = db.prepare_cached(
            "SELECT status, attempts, error_code, error_message, replies.created_at, started_at, finished_at, answer.id
             FROM replies LEFT JOIN messages AS answer ON answer.reply_to = replies.message_id
             WHERE message_id = ?1 AND replies.conversation_id = ?2
                   AND EXISTS (SELECT * FROM conversations WHERE id = ?2)",
        )?;
        let mut rows = select.query((message.as_bytes(), conversation.as_bytes()))?;
        rows.next()?.map(|row| from_row(message, row)).transpose()
    })
}

pub(super) async fn claim(
    store: &SqliteStore,
    limit: usize,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<ClaimedReply>> {
    store
        .writer
        .write(move |tx| {
            // claim_replies
            let mut update = tx.prepare_cached(
                "UPDATE replies
             SET status = 'running', attempts = attempts + 1, lease_token = lease_token + 1, lease_until = ?2,
                 started_at = coalesce(started_at, ?1)
             WHERE message_id IN (SELECT message_id FROM replies WHERE status = 'queued' AND run_after <= ?1
                                  ORDER BY run_after, rowid LIMIT ?3)
             RETURNING message_id, conversation_id, lease_token, attempts, retries,
                       (SELECT text FROM messages WHERE id = message_id)",
            )?;
            let claimed =
                update.query_map((now.as_micros(), now.after(lease).as_micros(), limit), |row| {
                    Ok(ClaimedReply {
                        lease: Lease {
                            message: MessageId::from(row.get::<_, [u8; 16]>(0)?),
                            conversation: ConversationId::from(row.get::<_, [u8; 16]>(1)?),
                            token: row.get(2)?,
                        },
                        attempts: row.get(3)?,
                        retries: row.get(4)?,
                        prompt: MessageText::from_stored(row.get(5)?),
                    })
                })?;
            Ok(claimed.collect::<rusqlite::Result<_>>()?)
        })
        .await
}

pub(super) async fn renew(
    store: &SqliteStore,
    leases: Vec<Lease>,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Lease>> {
    store.writer.write(move |tx| {
        // renew_leases
        let mut update = tx.prepare_cached(
            "UPDATE replies SET lease_until = ?3 WHERE message_id = ?1 AND lease_token = ?2 AND status = 'running'",
        )?;
        let until = now.after(lease).as_micros();
        let mut lost = Vec::new();
        for lease in leases {
            if update.execute((lease.message.as_bytes(), lease.token, until))? == 0 {
                lost.push(lease);
            }
        }
        Ok(lost)
    })
    .await
}

pub(super) async fn finish(
    store: &SqliteStore,
    lease: Lease,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Finished> {
    let folded = match &outcome {
        Outcome::Answered { text, .. } => messages::folded(text),
        _ => None,
    };
    store
        .writer
        .write(move |tx| {
            if !close(tx, lease, &outcome, now)? {
                return Ok(Finished::LeaseLost);
            }
            if let Outcome::Answered { id, text } = outcome {
                let Some(place) = conversations::take_place(tx, lease.conversation, 0, 1, now)? else {
                    return Ok(Finished::LeaseLost);
                };
                let role = Role::Assistant;
                messages::insert(
                    tx,
                    &place,
                    id,
                    lease.conversation,
                    role,
                    text,
                    folded.as_deref(),
                    Some(lease.message),
                )?;
            }
            Ok(Finished::Stored)
        })
        .await
}

/// Gives the lease back and writes down what came of it; `false` when the lease was lost.
fn close(tx: &Tx<'_>, lease: Lease, outcome: &Outcome, now: Timestamp) -> Result<bool> {
    let (message, token) = (lease.message, lease.token);
    let touched = match outcome {
        // finish_reply: answered
        Outcome::Answered { .. } => tx
            .prepare_cached(
                "UPDATE replies SET status = 'succeeded', lease_until = NULL, finished_at = ?3
                 WHERE message_id = ?1 AND lease_token = ?2 AND status = 'running'",
            )?
            .execute((message.as_bytes(), token, now.as_micros()))?,
        // finish_reply: failed
        Outcome::Failed(Failure { code, message: text }) => tx
            .prepare_cached(
                "UPDATE replies SET status = 'failed', lease_until = NULL, finished_at = ?3, error_code = ?4,
                                    error_message = ?5
                 WHERE message_id = ?1 AND lease_token = ?2 AND status = 'running'",
            )?
            .execute((message.as_bytes(), token, now.as_micros(), code, text))?,
        // finish_reply: to be tried again
        Outcome::Retry { after } => {
            tx.wake_workers();
            tx.prepare_cached(
                "UPDATE replies SET status = 'queued', lease_until = NULL, run_after = ?3, retries = retries + 1
                 WHERE message_id = ?1 AND lease_token = ?2 AND status = 'running'",
            )?
            .execute((message.as_bytes(), token, now.after(*after).as_micros()))?
        }
        // finish_reply: released
        Outcome::Released => {
            tx.wake_workers();
            tx.prepare_cached(
                "UPDATE replies SET status = 'queued', lease_until = NULL, run_after = ?3
                 WHERE message_id = ?1 AND lease_token = ?2 AND status = 'running'",
            )?
            .execute((message.as_bytes(), token, now.as_micros()))?
        }
    };
    Ok(touched == 1)
}

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
                    "UPDATE replies SET run_after = ?1 WHERE status = 'queued' AND run_after > ?2",
                )?
                .execute((now.as_micros(), now.after(longest_pause).as_micros()))?;
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
    let failed = tx
        .prepare_cached(
            "UPDATE replies SET status = 'failed', lost_leases = lost_leases + 1, lease_until = NULL, finished_at = ?2,
                                error_code = ?4, error_message = ?5
             WHERE status = 'running' AND lease_until < ?1 AND lost_leases + 1 >= ?3",
        )?
        .execute((expired.as_micros(), now.as_micros(), most_lost, LOST.0, LOST.1))?;
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
        failed: number(failed),
    })
}

pub(super) fn until_due(store: &SqliteStore, now: Timestamp) -> Result<Option<Duration>> {
    store.readers.read(|db| {
        // until_due
        let mut select = db.prepare_cached("SELECT min(run_after) FROM replies WHERE status = 'queued'")?;
        let due: Option<Option<i64>> = select.query_row((), |row| row.get(0)).optional()?;
        Ok(due.flatten().map(|due| now.until(Timestamp::from_micros(due))))
    })
}

fn from_row(message: MessageId, row: &Row<'_>) -> Result<Reply> {
    let status = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    let state = match status {
        "queued" => ReplyState::Queued,
        "running" => ReplyState::Running,
        "succeeded" => ReplyState::Succeeded(row.get::<_, Option<[u8; 16]>>(7)?.map(MessageId::from)),
        "failed" => ReplyState::Failed(Failure {
            code: stored(row.get(2)?, "replies", "error_code")?,
            message: stored(row.get(3)?, "replies", "error_message")?,
        }),
        "cancelled" => ReplyState::Cancelled,
        _ => return stored(None, "replies", "status"),
    };
    Ok(Reply {
        message,
        state,
        attempts: row.get(1)?,
        created: Timestamp::from_micros(row.get(4)?),
        started: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
        finished: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_micros),
    })
}
