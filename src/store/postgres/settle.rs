//! How a reply becomes final: its state, its answer, and the event that says so, in a transaction that has taken the
//! conversation. Most first answers come in groups instead (`append.sql`).

use tokio_postgres::Row as Found;

use super::{error::Problem, events, messages, replies::count, turns, tx::Tx};
use crate::{
    model::{Answer, ConversationId, Failure, FinishReason, MessageId, MessageText, Timestamp, Told, trim},
    store::timeline::{self, Kind, Row},
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
        row: &Found,
    ) -> Result<Self, Problem> {
        Ok(Self {
            conversation,
            message,
            attempts: count(row, 0)?,
            tries: count(row, 1)?,
            takes_turns: row.try_get(2)?,
        })
    }
}

/// Gives a reply its answer.
pub(super) async fn answer(
    tx: &Tx<'_>,
    settled: &Settled,
    kind: Kind,
    answer: &Answer,
    told: Told,
    now: Timestamp,
    clock: Option<i64>,
) -> Result<(), Problem> {
    let earlier = match settled.tries {
        0 => None,
        _ => take_away(tx, settled.message).await?,
    };
    let Some(place) = take_place(tx, settled.conversation, earlier.as_ref(), now).await? else {
        return Ok(());
    };
    let number = match &earlier {
        None => Some(timeline::of_message(place.seq)),
        Some(_) => events::take_number(tx, settled.conversation, kind).await?,
    };
    tx.execute(
        "-- finish_reply, cancel_reply: the answer
         INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text, folded, reply_to)
         VALUES ($1, $2, $3, 'assistant', $4, $5, $6, $7, $8)",
        &[
            &answer.id.as_uuid(),
            &settled.conversation.as_uuid(),
            &events::signed(place.seq),
            &place.created.as_micros(),
            &place.at.as_micros(),
            &answer.text.as_str(),
            &messages::folded(&answer.text),
            &settled.message.as_uuid(),
        ],
    )
    .await?;
    let row = Row {
        replaces: earlier.map(|earlier| earlier.id),
        attempt: settled.attempts,
        told: told.bytes,
        finish: Some(answer.finish).filter(|finish| *finish != FinishReason::Stop),
        truncated: answer.truncated,
        ..events::row(kind, place.at, Some(settled.message), Some(answer.id))
    };
    // Of an earlier attempt there may be pieces, which are forgotten up to its row.
    let speaks_for_itself = kind == Kind::Succeeded
        && settled.attempts <= 1
        && row.told.is_none()
        && row.replaces.is_none()
        && row.finish.is_none()
        && !row.truncated;
    match number {
        Some(number) if !speaks_for_itself => close(tx, settled, &Row { number, ..row }, clock).await,
        _ => ended(tx, settled, clock).await,
    }
}

/// Gives a reply its end without an answer.
pub(super) async fn without_answer(
    tx: &Tx<'_>,
    settled: &Settled,
    kind: Kind,
    failure: Option<Failure>,
    now: Timestamp,
    clock: Option<i64>,
) -> Result<(), Problem> {
    let Some(number) = events::take_number(tx, settled.conversation, kind).await? else {
        return Ok(());
    };
    let row = Row {
        number,
        failure,
        ..events::row(kind, now, Some(settled.message), None)
    };
    close(tx, settled, &row, clock).await
}

async fn close(tx: &Tx<'_>, settled: &Settled, row: &Row, clock: Option<i64>) -> Result<(), Problem> {
    set_final(tx, settled.conversation, settled.message, row).await?;
    ended(tx, settled, clock).await
}

/// Adds the row with which a reply ended.
async fn set_final(
    tx: &Tx<'_>,
    conversation: ConversationId,
    message: MessageId,
    row: &Row,
) -> Result<(), Problem> {
    events::insert(tx, conversation, row).await?;
    tx.execute(
        "-- finish_reply, cancel_reply, sweep_replies, retry_reply, delete_message: how it ended
         UPDATE replies SET final_event = $2 WHERE message_id = $1",
        &[&message.as_uuid(), &events::signed(row.number)],
    )
    .await?;
    Ok(())
}

/// Tells of a reply's end, and lets the next one have its turn.
async fn ended(tx: &Tx<'_>, settled: &Settled, clock: Option<i64>) -> Result<(), Problem> {
    tx.tell(settled.conversation);
    if settled.takes_turns {
        turns::pass_on(tx, settled.conversation, clock).await?;
    }
    Ok(())
}

/// Writes down how a reply ended that its answer has told by itself so far: the answer is about to change or to go.
pub(super) async fn write_down(
    tx: &Tx<'_>,
    conversation: ConversationId,
    message: MessageId,
) -> Result<(), Problem> {
    let found = tx
        .row(
            "-- retry_reply, delete_message: what the answer tells by itself
             SELECT attempts, seq, messages.created_at, id FROM replies JOIN messages ON reply_to = message_id
             WHERE message_id = $1 AND final_event = 0 AND status = 'succeeded'",
            &[&message.as_uuid()],
        )
        .await?;
    let Some(found) = found else { return Ok(()) };
    let answer = MessageId::new(found.try_get(3)?);
    let at = Timestamp::from_micros(found.try_get(2)?);
    let row = Row {
        number: timeline::of_message(events::number(&found, 1)?),
        attempt: count(&found, 0)?,
        ..events::row(Kind::Succeeded, at, Some(message), Some(answer))
    };
    set_final(tx, conversation, message, &row).await
}

/// An answer that made room for a newer one.
struct Earlier {
    id: MessageId,
    seq: u64,
    created: Timestamp,
}

/// Takes the answer of an earlier try out of the conversation, and keeps its text with that try.
async fn take_away(tx: &Tx<'_>, message: MessageId) -> Result<Option<Earlier>, Problem> {
    let taken = tx
        .row(
            "-- finish_reply, cancel_reply: an earlier answer makes room
             WITH taken AS (
                 DELETE FROM messages WHERE reply_to = $1 RETURNING id, seq, created_at, text
             ), kept AS (
                 UPDATE reply_attempts SET text = taken.text FROM taken WHERE message_id = $1 AND answer_id = taken.id
             )
             SELECT id, seq, created_at FROM taken",
            &[&message.as_uuid()],
        )
        .await?;
    let earlier = taken.map(|row| {
        Ok(Earlier {
            id: MessageId::new(row.try_get(0)?),
            seq: events::number(&row, 1)?,
            created: Timestamp::from_micros(row.try_get(2)?),
        })
    });
    earlier.transpose()
}

/// Where an answer stands.
struct Place {
    seq: u64,
    /// The date that it has in the conversation.
    created: Timestamp,
    /// When it got there: now, or the conversation's last date when the clock has stepped back behind it.
    at: Timestamp,
}

/// Takes the next place in a conversation, or that of an earlier answer; `None` when there is no such conversation.
async fn take_place(
    tx: &Tx<'_>,
    conversation: ConversationId,
    earlier: Option<&Earlier>,
    now: Timestamp,
) -> Result<Option<Place>, Problem> {
    let is_new = i64::from(earlier.is_none());
    let row = tx
        .row(
            "-- finish_reply, cancel_reply: the answer's place
             UPDATE conversations
             SET last_seq = last_seq + $3, assistant_count = assistant_count + $3, updated_at = greatest(updated_at, $2)
             WHERE id = $1
             RETURNING last_seq, updated_at",
            &[&conversation.as_uuid(), &now.as_micros(), &is_new],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (last, at) = (events::number(&row, 0)?, Timestamp::from_micros(row.try_get(1)?));
    Ok(Some(Place {
        seq: earlier.map_or(last, |earlier| earlier.seq),
        created: earlier.map_or(at, |earlier| earlier.created),
        at,
    }))
}

/// Calls a reply off that is not final, and keeps what was told of it under this id. Its conversation is taken.
pub(super) async fn cancel(
    tx: &Tx<'_>,
    conversation: ConversationId,
    message: MessageId,
    partial: MessageId,
    now: Timestamp,
    clock: Option<i64>,
) -> Result<(), Problem> {
    let told = events::told(tx, message).await?;
    let row = tx
        .row(
            "-- cancel_reply: how it ended gets its row afterwards
             WITH before AS MATERIALIZED (SELECT status FROM replies WHERE message_id = $1)
             UPDATE replies
             SET status = 'cancelled', lease_until = NULL, lease_token = lease_token + 1,
                 streamed = EXISTS (SELECT FROM events WHERE reply_id = $1 AND kind = 'started')::int,
                 finished_at = greatest(started_at, coalesce($3, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)),
                 final_event = 0
             FROM before
             WHERE message_id = $1 AND conversation_id = $2 AND finished_at IS NULL
             RETURNING attempts, tries, turn IS NOT NULL, before.status = 'running'",
            &[&message.as_uuid(), &conversation.as_uuid(), &clock],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    if row.try_get(3)? {
        tx.call_off();
    }
    let settled = Settled::from_row(conversation, message, &row)?;
    match told {
        Some(text) if !trim(&text).is_empty() => {
            let told = Told {
                bytes: Some(text.len()),
            };
            let partial = Answer::new(partial, MessageText::from_stored(text));
            answer(tx, &settled, Kind::Cancelled, &partial, told, now, clock).await
        }
        _ => without_answer(tx, &settled, Kind::Cancelled, None, now, clock).await,
    }
}
