//! Whose turn it is: of the replies of one conversation that take turns, one at a time is due.

use rusqlite::OptionalExtension;

use super::{settle, writer::Tx};
use crate::{
    model::{BusyPolicy, ConversationId, MessageId, NewMessage, Timestamp},
    store::{Error, NEVER, Result},
};

/// Does what a new message wants to be done about the unfinished replies of its conversation.
pub(super) fn make_way(tx: &Tx<'_>, new: &NewMessage) -> Result<()> {
    if new.reply.lane.is_none() || new.reply.busy == BusyPolicy::Queue {
        return Ok(());
    }
    let open = open(tx, new.conversation)?;
    if open.is_empty() {
        return Ok(());
    }
    if new.reply.busy == BusyPolicy::Reject {
        return Err(Error::Busy);
    }
    for (place, message) in open.into_iter().enumerate() {
        settle::cancel(tx, new.conversation, message, new.id.beside(place), new.now)?;
    }
    Ok(())
}

/// The unfinished replies of a conversation that take turns, in their order.
fn open(tx: &Tx<'_>, conversation: ConversationId) -> Result<Vec<MessageId>> {
    // append_message
    let mut select = tx.prepare_cached(
        "SELECT message_id FROM replies
         WHERE conversation_id = ? AND turn IS NOT NULL AND finished_at IS NULL ORDER BY turn",
    )?;
    let open = select.query_map([conversation.as_bytes()], |row| {
        Ok(MessageId::from(row.get::<_, [u8; 16]>(0)?))
    })?;
    Ok(open.collect::<rusqlite::Result<_>>()?)
}

/// When a new reply that takes turns is due: now, or never while another one of its conversation is.
pub(super) fn due(tx: &Tx<'_>, conversation: ConversationId, now: Timestamp) -> Result<i64> {
    // append_message, retry_reply
    let is_taken = tx
        .prepare_cached(
            "SELECT 1 FROM replies
             WHERE conversation_id = ?1 AND turn IS NOT NULL AND finished_at IS NULL AND run_after <> ?2",
        )?
        .exists((conversation.as_bytes(), NEVER))?;
    Ok(if is_taken { NEVER } else { now.as_micros() })
}

/// Makes the next reply due, if none is.
pub(super) fn free(tx: &Tx<'_>, conversation: ConversationId, now: Timestamp) -> Result<()> {
    if due(tx, conversation, now)? == NEVER {
        return Ok(());
    }
    // finish_reply, cancel_reply, delete_message, sweep_replies
    let next: Option<i64> = tx
        .prepare_cached(
            "SELECT rowid FROM replies
             WHERE conversation_id = ?1 AND turn IS NOT NULL AND finished_at IS NULL ORDER BY turn LIMIT 1",
        )?
        .query_row([conversation.as_bytes()], |row| row.get(0))
        .optional()?;
    if let Some(next) = next {
        tx.prepare_cached("UPDATE replies SET run_after = ?2 WHERE rowid = ?1")?
            .execute((next, now.as_micros()))?;
        tx.wake_workers();
    }
    Ok(())
}
