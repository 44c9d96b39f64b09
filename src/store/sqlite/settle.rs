//! How a reply becomes final: its state, its answer, and the event that says so, in one transaction.

use rusqlite::OptionalExtension;

use super::{conversations, events, messages, turns, writer::Tx};
use crate::{
    model::{
        Answer, ConversationId, Failure, FinishReason, MessageId, MessageText, Role, Timestamp, Told, trim,
    },
    store::{
        Result,
        timeline::{self, Kind, Row},
    },
};

/// What is known of a reply whose state has just become final.
pub(super) struct Settled {
    pub(super) conversation: ConversationId,
    pub(super) message: MessageId,
    pub(super) attempts: u32,
    /// How many tries there were before this one.
    pub(super) tries: u32,
    pub(super) takes_turns: bool,
}

impl Settled {
    /// Reads `attempts, tries` and whether it takes turns.
    pub(super) fn from_row(
        conversation: ConversationId,
        message: MessageId,
        row: &rusqlite::Row<'_>,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            conversation,
            message,
            attempts: row.get(0)?,
            tries: row.get(1)?,
            takes_turns: row.get(2)?,
        })
    }
}

/// Gives a reply its answer; `false` when its conversation is gone.
pub(super) fn answer(
    tx: &Tx<'_>,
    settled: &Settled,
    kind: Kind,
    answer: Answer,
    folded: Option<&str>,
    told: Told,
    now: Timestamp,
) -> Result<bool> {
    let earlier = match settled.tries {
        0 => None,
        _ => take_away(tx, settled.message)?,
    };
    let Some(mut place) =
        conversations::take_place(tx, settled.conversation, 0, u8::from(earlier.is_none()), now)?
    else {
        return Ok(false);
    };
    let now = place.at;
    let row = Row {
        replaces: earlier.as_ref().map(|earlier| earlier.id),
        attempt: settled.attempts,
        told: told.bytes,
        finish: Some(answer.finish).filter(|finish| *finish != FinishReason::Stop),
        truncated: answer.truncated,
        ..events::row(kind, now, Some(settled.message), Some(answer.id))
    };
    let number = match &earlier {
        None => Some(timeline::of_message(place.seq)),
        Some(earlier) => {
            give_back_seq(tx, settled.conversation)?;
            place.seq = earlier.seq;
            place.at = earlier.at;
            events::take_number(tx, settled.conversation, kind)?
        }
    };
    messages::insert(
        tx,
        &place,
        answer.id,
        settled.conversation,
        Role::Assistant,
        answer.text,
        folded,
        Some(settled.message),
    )?;
    if earlier.is_some() {
        // finish_reply, cancel_reply: its date is that of its place, and it changed now.
        tx.prepare_cached("UPDATE messages SET updated_at = ?2 WHERE id = ?1")?
            .execute((answer.id.as_bytes(), now.as_micros()))?;
    }
    // Of an earlier attempt there may be pieces, which are forgotten up to its row.
    let speaks_for_itself = kind == Kind::Succeeded
        && settled.attempts <= 1
        && row.told.is_none()
        && row.replaces.is_none()
        && row.finish.is_none()
        && !row.truncated;
    match number {
        Some(number) if !speaks_for_itself => close(tx, settled, &Row { number, ..row })?,
        _ => ended(tx, settled, now)?,
    }
    Ok(true)
}

/// Gives a reply its end without an answer.
pub(super) fn without_answer(
    tx: &Tx<'_>,
    settled: &Settled,
    kind: Kind,
    failure: Option<Failure>,
    now: Timestamp,
) -> Result<()> {
    let Some(number) = events::take_number(tx, settled.conversation, kind)? else {
        return Ok(());
    };
    let row = Row {
        number,
        failure,
        ..events::row(kind, now, Some(settled.message), None)
    };
    close(tx, settled, &row)
}

fn close(tx: &Tx<'_>, settled: &Settled, row: &Row) -> Result<()> {
    set_final(tx, settled.conversation, settled.message, row)?;
    ended(tx, settled, row.at)
}

/// Adds the row with which a reply ended.
fn set_final(tx: &Tx<'_>, conversation: ConversationId, message: MessageId, row: &Row) -> Result<()> {
    events::insert(tx, conversation, row)?;
    // finish_reply, cancel_reply, sweep_replies, retry_reply, delete_message
    tx.prepare_cached("UPDATE replies SET final_event = ?2 WHERE message_id = ?1")?
        .execute((message.as_bytes(), row.number))?;
    Ok(())
}

/// Tells of a reply's end, and lets the next one have its turn.
fn ended(tx: &Tx<'_>, settled: &Settled, now: Timestamp) -> Result<()> {
    tx.tell(settled.conversation);
    if settled.takes_turns {
        turns::free(tx, settled.conversation, now)?;
    }
    Ok(())
}

/// Writes down how a reply ended that its answer has told by itself so far: the answer is about to change or to go.
pub(super) fn write_down(tx: &Tx<'_>, conversation: ConversationId, message: MessageId) -> Result<()> {
    // retry_reply, delete_message
    let found: Option<(u64, i64, [u8; 16], u32)> = tx
        .prepare_cached(
            "SELECT seq, messages.created_at, id, attempts FROM replies JOIN messages ON reply_to = message_id
             WHERE message_id = ? AND final_event = 0 AND status = 'succeeded'",
        )?
        .query_row([message.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((seq, at, answer, attempt)) = found else {
        return Ok(());
    };
    let (at, answer) = (Timestamp::from_micros(at), MessageId::from(answer));
    let row = Row {
        number: timeline::of_message(seq),
        attempt,
        ..events::row(Kind::Succeeded, at, Some(message), Some(answer))
    };
    set_final(tx, conversation, message, &row)
}

/// An answer that made room for a newer one.
struct Earlier {
    id: MessageId,
    seq: u64,
    at: Timestamp,
}

/// Takes the answer of an earlier try out of the conversation, and keeps its text with that try.
fn take_away(tx: &Tx<'_>, message: MessageId) -> Result<Option<Earlier>> {
    // finish_reply, cancel_reply
    let earlier: Option<([u8; 16], u64, i64)> = tx
        .prepare_cached("SELECT id, seq, created_at FROM messages WHERE reply_to = ?")?
        .query_row([message.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((id, seq, at)) = earlier else {
        return Ok(None);
    };
    tx.prepare_cached(
        "UPDATE reply_attempts SET text = (SELECT text FROM messages WHERE id = ?2) WHERE message_id = ?1 AND answer_id = ?2",
    )?
    .execute((message.as_bytes(), id))?;
    tx.prepare_cached("DELETE FROM messages WHERE id = ?")?
        .execute([id])?;
    Ok(Some(Earlier {
        id: MessageId::from(id),
        seq,
        at: Timestamp::from_micros(at),
    }))
}

/// A new answer in an old place needs no new one.
fn give_back_seq(tx: &Tx<'_>, conversation: ConversationId) -> Result<()> {
    // finish_reply, cancel_reply
    tx.prepare_cached("UPDATE conversations SET last_seq = last_seq - 1 WHERE id = ?")?
        .execute([conversation.as_bytes()])?;
    Ok(())
}

/// Calls a reply off that is not final, and keeps what was told of it under this id.
pub(super) fn cancel(
    tx: &Tx<'_>,
    conversation: ConversationId,
    message: MessageId,
    partial: MessageId,
    now: Timestamp,
) -> Result<()> {
    let told = events::told(tx, message)?;
    // cancel_reply
    let settled = tx
        .prepare_cached(
            "UPDATE replies
             SET status = 'cancelled', lease_until = NULL, finished_at = ?3, lease_token = lease_token + 1,
                 streamed = EXISTS (SELECT * FROM events WHERE reply_id = ?1 AND kind = 'started'), final_event = 0
             WHERE message_id = ?1 AND conversation_id = ?2 AND finished_at IS NULL
             RETURNING attempts, tries, turn IS NOT NULL",
        )?
        .query_row(
            (
                message.as_bytes(),
                conversation.as_bytes(),
                now.as_micros()),
            |row| Settled::from_row(conversation, message, row),
        )
        .optional()?;
    let Some(settled) = settled else {
        return Ok(());
    };
    match told {
        Some(text) if !trim(&text).is_empty() => {
            let told = Told {
                bytes: Some(text.len()),
            };
            let text = MessageText::from_stored(text);
            let folded = messages::folded(&text);
            answer(
                tx,
                &settled,
                Kind::Cancelled,
                Answer::new(partial, text),
                folded.as_deref(),
                told,
                now,
            )?;
        }
        _ => without_answer(tx, &settled, Kind::Cancelled, None, now)?,
    }
    Ok(())
}
