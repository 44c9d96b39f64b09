//! What people do about replies: calling off, asking again, looking at earlier tries, deleting.

use rusqlite::OptionalExtension;

use super::{
    SqliteStore, events, keys, once,
    replies::{read_in, state},
    settle, turns,
    writer::Tx,
};
use crate::{
    model::{Attempt, ConversationId, MessageId, MessageText, NewReply, Reply, Retried, Role, Timestamp},
    store::{Once, Result, codec, timeline::Kind},
};

pub(super) async fn cancel(
    store: &SqliteStore,
    conversation: ConversationId,
    message: MessageId,
    partial: MessageId,
    now: Timestamp,
    once: Option<Once<Reply>>,
) -> Result<Option<Reply>> {
    store
        .writer
        .write(move |tx| {
            settle::cancel(tx, conversation, message, partial, now)?;
            let reply = read_in(tx, conversation, message)?;
            if let Some(reply) = &reply {
                once::remember(tx, once, reply)?;
            }
            Ok(reply)
        })
        .await
}

pub(super) async fn retry(
    store: &SqliteStore,
    conversation: ConversationId,
    message: MessageId,
    asked: NewReply,
    now: Timestamp,
    once: Option<Once<Reply>>,
) -> Result<Retried> {
    store
        .writer
        .write(move |tx| {
            // What is unfinished may be its own try.
            once::refuse_repeated(tx, once.as_ref())?;
            match read_in(tx, conversation, message)? {
                None => return Ok(Retried::NoReply),
                Some(reply) if !reply.state.is_final() => return Ok(Retried::Unfinished),
                Some(_) => {}
            }
            settle::write_down(tx, conversation, message)?;
            let Some(number) = events::take_number(tx, conversation, Kind::Queued)? else {
                return Ok(Retried::NoReply);
            };
            let mut row = events::row(Kind::Queued, now, Some(message), None);
            row.number = number;
            events::insert(tx, conversation, &row)?;
            // retry_reply: what it had come to is kept
            tx.prepare_cached(
                "INSERT INTO reply_attempts (message_id, number, status, answer_id, error_code, error_message, account,
                                             started_at, finished_at)
                 SELECT message_id, tries + 1, status, (SELECT id FROM messages WHERE reply_to = ?1), error_code,
                        error_message, account, started_at, finished_at
                 FROM replies WHERE message_id = ?1",
            )?
            .execute([message.as_bytes()])?;
            let due = match asked.lane {
                None => now.as_micros(),
                Some(_) => turns::due(tx, conversation, now)?,
            };
            tx.prepare_cached(
                "UPDATE replies
                 SET status = 'queued', run_after = ?2, lost_leases = 0, retries = 0, error_code = NULL, error_message = NULL,
                     account = NULL, started_at = NULL, finished_at = NULL, tries = tries + 1, queued_event = ?3, lane = ?4, owner_id = ?5,
                     trace = ?6,
                     turn = CASE WHEN ?4 IS NULL THEN NULL ELSE (SELECT seq FROM messages WHERE id = ?1) END
                 WHERE message_id = ?1",
            )?
            .execute((
                message.as_bytes(),
                due,
                number,
                asked.lane,
                keys::owner_column(asked.owner),
                codec::trace_to_text(asked.trace),
            ))?;
            tx.wake_workers();
            let Some(reply) = read_in(tx, conversation, message)? else {
                return Ok(Retried::NoReply);
            };
            once::remember(tx, once, &reply)?;
            Ok(Retried::Queued(reply))
        })
        .await
}

pub(super) fn attempts(
    store: &SqliteStore,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<Vec<Attempt>>> {
    store.readers.read(|db| {
        if read_in(db, conversation, message)?.is_none() {
            return Ok(None);
        }
        // attempts
        let mut select = db.prepare_cached(
            "SELECT number, status, error_code, error_message, answer_id, coalesce(reply_attempts.text, messages.text),
                    started_at, finished_at
             FROM reply_attempts LEFT JOIN messages ON messages.id = answer_id
             WHERE message_id = ? ORDER BY number",
        )?;
        let mut rows = select.query([message.as_bytes()])?;
        let mut attempts = Vec::new();
        while let Some(row) = rows.next()? {
            attempts.push(Attempt {
                number: row.get(0)?,
                state: state(row, 1)?,
                answer: row.get::<_, Option<[u8; 16]>>(4)?.map(MessageId::from),
                text: row.get::<_, Option<String>>(5)?.map(MessageText::from_stored),
                started: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_micros),
                finished: Timestamp::from_micros(row.get(7)?),
            });
        }
        Ok(Some(attempts))
    })
}

/// Forgets what is told of a message that is about to be deleted: of a user's the whole reply, but for what became of its
/// answers, of an answer its text.
pub(super) fn forget(
    tx: &Tx<'_>,
    conversation: ConversationId,
    id: MessageId,
    role: Role,
    reply_to: Option<MessageId>,
) -> Result<()> {
    match (role, reply_to) {
        (Role::User, _) => {
            // delete_message: the answers stay where they were told
            tx.prepare_cached(
                "DELETE FROM events
                 WHERE reply_id = ? AND (kind NOT IN ('succeeded', 'cancelled') OR message_id IS NULL)",
            )?
            .execute([id.as_bytes()])?;
            tx.prepare_cached("UPDATE events SET reply_id = NULL WHERE reply_id = ?")?
                .execute([id.as_bytes()])?;
        }
        (Role::Assistant, Some(reply)) => {
            settle::write_down(tx, conversation, reply)?;
            // What is written anew at the moment is not the answer's.
            let last: Option<u64> = tx
                .prepare_cached("SELECT final_event FROM replies WHERE message_id = ?")?
                .query_row([reply.as_bytes()], |row| row.get(0))
                .optional()?;
            events::forget(tx, reply, last.unwrap_or(0))?;
        }
        (Role::Assistant, None) => {}
    }
    Ok(())
}
