use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    SqliteStore,
    conversations::Place,
    error::stored,
    events, keys, messages,
    settle::{self, Settled},
    turns,
    writer::Tx,
};
use crate::{
    model::{
        ClaimedReply, ConversationId, Failure, Finished, Lease, Message, MessageId, MessageText, NewReply,
        Outcome, Owner, Progress, Reply, ReplyOptions, ReplyState, Timestamp, Told,
    },
    store::{
        NEVER, Result, codec,
        timeline::{self, Kind},
    },
};

pub(super) fn enqueue(tx: &Tx<'_>, message: &Message, place: &Place, reply: &NewReply) -> Result<()> {
    let (turn, due) = match reply.lane {
        None => (None, message.created.as_micros()),
        Some(_) => (
            Some(place.seq),
            turns::due(tx, message.conversation, message.created)?,
        ),
    };
    // append_message
    tx.prepare_cached(
        "INSERT INTO replies (message_id, conversation_id, run_after, created_at, lane, turn, options, queued_event,
                              owner_id, trace)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute((
        message.id.as_bytes(),
        message.conversation.as_bytes(),
        due,
        message.created.as_micros(),
        reply.lane.as_deref(),
        turn,
        codec::options_to_text(&reply.options),
        timeline::of_message(place.seq),
        keys::owner_column(reply.owner),
        codec::trace_to_text(reply.trace),
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

const READ: &str =
    "SELECT status, attempts, error_code, error_message, replies.created_at, started_at, finished_at,
                           answer.id, queued_event
                    FROM replies LEFT JOIN messages AS answer ON answer.reply_to = replies.message_id
                    WHERE message_id = ?1 AND replies.conversation_id = ?2
                          AND EXISTS (SELECT * FROM conversations WHERE id = ?2)";

pub(super) fn read(
    store: &SqliteStore,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<Reply>> {
    store.readers.read(|db| read_in(db, conversation, message))
}

pub(super) fn read_in(
    db: &Connection,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<Reply>> {
    // reply, cancel_reply, retry_reply
    let mut select = db.prepare_cached(READ)?;
    let mut rows = select.query((message.as_bytes(), conversation.as_bytes()))?;
    rows.next()?.map(|row| from_row(message, row)).transpose()
}

pub(super) fn pending(db: &Connection) -> Result<Vec<(Owner, u64)>> {
    // pending_replies: by the index of each state, which is as small as the work that is left.
    let mut select = db.prepare_cached(
        "SELECT owner_id, count(*)
         FROM (SELECT owner_id FROM replies WHERE status = 'queued'
               UNION ALL
               SELECT owner_id FROM replies WHERE status = 'running')
         GROUP BY owner_id",
    )?;
    let mut rows = select.query(())?;
    let mut pending = Vec::new();
    while let Some(row) = rows.next()? {
        pending.push((keys::owner(row, 0)?, row.get(1)?));
    }
    Ok(pending)
}

pub(super) fn options(
    store: &SqliteStore,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<ReplyOptions>> {
    store.readers.read(|db| {
        // reply_options
        let mut select = db.prepare_cached(
            "SELECT options FROM replies
             WHERE message_id = ?1 AND conversation_id = ?2 AND EXISTS (SELECT * FROM conversations WHERE id = ?2)",
        )?;
        let found: Option<Option<String>> = select
            .query_row((message.as_bytes(), conversation.as_bytes()), |row| row.get(0))
            .optional()?;
        found.map(parse_options).transpose()
    })
}

pub(super) fn parse_options(text: Option<String>) -> Result<ReplyOptions> {
    match text {
        Some(text) => stored(codec::options_from_text(&text), "replies", "options"),
        None => Ok(ReplyOptions::default()),
    }
}

/// The replies that are due; `?4` is an empty object.
const DUE: &str =
    "SELECT message_id FROM replies WHERE status = 'queued' AND run_after <= ?1 AND ?4 IS NOT NULL
                   ORDER BY run_after, rowid LIMIT ?3";

/// ... and of those whose lane is in `?4` no more than it has room for.
const FITTING: &str = "SELECT message_id
     FROM (SELECT message_id, lane, row_number() OVER (PARTITION BY lane ORDER BY run_after, place) AS nth
           FROM (SELECT message_id, lane, run_after, rowid AS place FROM replies
                 WHERE status = 'queued' AND run_after <= ?1
                       AND (lane IS NULL OR lane NOT IN (SELECT key FROM json_each(?4) WHERE value = 0))
                 ORDER BY run_after, rowid LIMIT ?3)) AS due
          LEFT JOIN json_each(?4) AS room ON room.key = due.lane
     WHERE room.value IS NULL OR nth <= room.value";

pub(super) async fn claim(
    store: &SqliteStore,
    limit: usize,
    room: Vec<(String, usize)>,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<ClaimedReply>> {
    // Counting takes as long as half of the rest.
    let select = if room.is_empty() { DUE } else { FITTING };
    let room = serde_json::Value::from_iter(room).to_string();
    store
        .writer
        .write(move |tx| {
            // claim_replies
            let mut update = tx.prepare_cached(&format!(
                "UPDATE replies
             SET status = 'running', attempts = attempts + 1, lease_token = lease_token + 1, lease_until = ?2,
                 started_at = coalesce(started_at, ?1)
             WHERE message_id IN ({select})
             RETURNING message_id, conversation_id, lease_token, attempts, retries,
                       (SELECT text FROM messages WHERE id = message_id), lane, owner_id, trace",
            ))?;
            let mut rows = update.query((now.as_micros(), now.after(lease).as_micros(), limit, room))?;
            let mut claimed = Vec::new();
            while let Some(row) = rows.next()? {
                claimed.push(ClaimedReply {
                    lease: Lease {
                        message: MessageId::from(row.get::<_, [u8; 16]>(0)?),
                        conversation: ConversationId::from(row.get::<_, [u8; 16]>(1)?),
                        token: row.get(2)?,
                    },
                    attempts: row.get(3)?,
                    retries: row.get(4)?,
                    prompt: MessageText::from_stored(row.get(5)?),
                    lane: row.get(6)?,
                    owner: keys::owner(row, 7)?,
                    trace: codec::trace_from_text(
                        row.get_ref(8)?.as_str_or_null().map_err(rusqlite::Error::from)?,
                    ),
                });
            }
            Ok(claimed)
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

pub(super) async fn tell(
    store: &SqliteStore,
    lease: Lease,
    progress: Vec<Progress>,
    now: Timestamp,
) -> Result<Finished> {
    let told = store
        .writer
        .write(move |tx| events::tell(tx, lease, progress, now))
        .await?;
    Ok(if told {
        Finished::Stored
    } else {
        Finished::LeaseLost
    })
}

pub(super) async fn finish(
    store: &SqliteStore,
    lease: Lease,
    outcome: Outcome,
    told: Told,
    now: Timestamp,
) -> Result<Finished> {
    let folded = match &outcome {
        Outcome::Answered(answer) => messages::folded(&answer.text),
        _ => None,
    };
    let finished = store.writer.write(move |tx| match outcome {
        Outcome::Answered(answer) => {
            let account = codec::account_to_text(&answer.account);
            match end(tx, lease, "succeeded", None, account, told, now)? {
                Some(settled) => settle::answer(
                    tx,
                    &settled,
                    Kind::Succeeded,
                    answer,
                    folded.as_deref(),
                    told,
                    now,
                ),
                None => Ok(false),
            }
        }
        Outcome::Failed(failure) => match end(tx, lease, "failed", Some(&failure), None, told, now)? {
            Some(settled) => {
                settle::without_answer(tx, &settled, Kind::Failed, Some(failure), now)?;
                Ok(true)
            }
            None => Ok(false),
        },
        Outcome::Retry { after } => give_back(tx, lease, now.after(after), 1, 0),
        Outcome::Postponed { after } => give_back(tx, lease, now.after(after), 0, 1),
        Outcome::Released => give_back(tx, lease, now, 0, 0),
    });
    Ok(if finished.await? {
        Finished::Stored
    } else {
        Finished::LeaseLost
    })
}

/// Gives the lease back and makes the reply's state final; `None` when the lease was lost.
fn end(
    tx: &Tx<'_>,
    lease: Lease,
    status: &'static str,
    failure: Option<&Failure>,
    account: Option<String>,
    told: Told,
    now: Timestamp,
) -> Result<Option<Settled>> {
    // finish_reply: what ended it gets its row afterwards, if it needs one. Pieces may be there of any attempt.
    let settled = tx
        .prepare_cached(
            "UPDATE replies
             SET status = ?3, lease_until = NULL, finished_at = ?4, error_code = ?5, error_message = ?6, account = ?7,
                 streamed = (?8 OR attempts > 1
                                   AND EXISTS (SELECT * FROM events WHERE reply_id = ?1 AND kind = 'started')),
                 final_event = 0
             WHERE message_id = ?1 AND lease_token = ?2 AND status = 'running'
             RETURNING attempts, tries, turn IS NOT NULL",
        )?
        .query_row(
            (
                lease.message.as_bytes(),
                lease.token,
                status,
                now.as_micros(),
                failure.map(|failure| failure.code.as_str()),
                failure.map(|failure| failure.message.as_str()),
                account,
                told.bytes.is_some(),
            ),
            |row| Settled::from_row(lease.conversation, lease.message, row),
        )
        .optional()?;
    Ok(settled)
}

/// Gives the lease back, so that the reply is taken up again; `false` when it was lost. So many retries are counted, and
/// so many attempts, which were none, are not.
fn give_back(tx: &Tx<'_>, lease: Lease, due: Timestamp, retries: u32, uncounted: u32) -> Result<bool> {
    tx.wake_workers();
    // finish_reply: to be tried again, postponed or released
    let touched = tx
        .prepare_cached(
            "UPDATE replies
             SET status = 'queued', lease_until = NULL, run_after = ?3, retries = retries + ?4,
                 attempts = attempts - ?5, started_at = iif(attempts > ?5, started_at, NULL)
             WHERE message_id = ?1 AND lease_token = ?2 AND status = 'running'",
        )?
        .execute((
            lease.message.as_bytes(),
            lease.token,
            due.as_micros(),
            retries,
            uncounted,
        ))?;
    Ok(touched == 1)
}

pub(super) fn until_due(store: &SqliteStore, full: &[String], now: Timestamp) -> Result<Option<Duration>> {
    store.readers.read(|db| {
        // until_due
        let mut select = db.prepare_cached(
            "SELECT run_after FROM replies
             WHERE status = 'queued' AND (lane IS NULL OR lane NOT IN (SELECT value FROM json_each(?1)))
             ORDER BY run_after LIMIT 1",
        )?;
        let due: Option<i64> = select.query_row([list(full)], |row| row.get(0)).optional()?;
        Ok(due
            .filter(|due| *due != NEVER)
            .map(|due| now.until(Timestamp::from_micros(due))))
    })
}

/// Names as one value.
fn list(names: &[String]) -> String {
    serde_json::Value::from(names).to_string()
}

fn from_row(message: MessageId, row: &Row<'_>) -> Result<Reply> {
    Ok(Reply {
        message,
        state: state(row, 0)?,
        answer: row.get::<_, Option<[u8; 16]>>(7)?.map(MessageId::from),
        queued: row.get(8)?,
        attempts: row.get(1)?,
        created: Timestamp::from_micros(row.get(4)?),
        started: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
        finished: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_micros),
    })
}

/// Reads a status; of a failure, `error_code, error_message` are at 2 and 3.
pub(super) fn state(row: &Row<'_>, at: usize) -> Result<ReplyState> {
    let status = row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(match status {
        "queued" => ReplyState::Queued,
        "running" => ReplyState::Running,
        "succeeded" => ReplyState::Succeeded,
        "failed" => ReplyState::Failed(Failure {
            code: stored(row.get(2)?, "replies", "error_code")?,
            message: stored(row.get(3)?, "replies", "error_message")?,
        }),
        "cancelled" => ReplyState::Cancelled,
        _ => return stored(None, "replies", "status"),
    })
}
