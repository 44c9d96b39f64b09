//! What happened, as rows: adding them, reading them, forgetting what they tell of a text.

use std::sync::Arc;

use tokio_postgres::Row as Found;
use uuid::Uuid;

use super::{
    PostgresStore,
    connection::Session,
    error::{Problem, stored},
    messages,
    replies::count,
    tx::Tx,
};
use crate::{
    model::{ConversationId, Failure, FinishReason, MessageId, Timestamp},
    store::{
        Portion, Result,
        timeline::{self, Kind, Row},
    },
};

/// The most rows, and about the most bytes of text, that are read at once.
const ROWS: i64 = 128;
const BYTES: i64 = 64 * 1024;

/// How many numbers a message has, and how many of them are its own.
#[expect(clippy::cast_possible_wrap, reason = "both are small")]
pub(super) const PER_MESSAGE: i64 = timeline::of_message(1) as i64;
#[expect(clippy::cast_possible_wrap, reason = "both are small")]
pub(super) const OWN: i64 = Kind::WIDEST as i64;

/// Takes the numbers for a row in a conversation that is taken; `None` when there is no such conversation, or no number
/// left.
pub(super) async fn take_number(
    tx: &Tx<'_>,
    conversation: ConversationId,
    kind: Kind,
) -> Result<Option<u64>, Problem> {
    let Some(row) = tx.row(LAST, &[&conversation.as_uuid()]).await? else {
        return Ok(None);
    };
    let Some((first, end)) = timeline::next(number(&row, 0)?, number(&row, 1)?, kind) else {
        return Ok(None);
    };
    tx.execute(
        "-- finish_reply, cancel_reply, retry_reply, delete_message: the next number
         UPDATE conversations SET last_event = $2 WHERE id = $1",
        &[&conversation.as_uuid(), &signed(end)],
    )
    .await?;
    Ok(Some(first))
}

const LAST: &str = "-- last_event
    SELECT last_seq, last_event FROM conversations WHERE id = $1";

/// A row that says no more than what it is about.
pub(super) fn row(kind: Kind, at: Timestamp, reply: Option<MessageId>, message: Option<MessageId>) -> Row {
    Row {
        number: 0,
        kind,
        at,
        reply,
        message,
        replaces: None,
        attempt: 0,
        told: None,
        text: None,
        finish: None,
        truncated: false,
        failure: None,
        brings: None,
    }
}

/// Adds a row under its number.
pub(super) async fn insert(tx: &Tx<'_>, conversation: ConversationId, row: &Row) -> Result<(), Problem> {
    let id = |id: Option<MessageId>| id.map(|id| id.as_uuid());
    tx.execute(
        "-- finish_reply, cancel_reply, retry_reply, delete_message: what happened
         INSERT INTO events (conversation_id, number, kind, at, reply_id, message_id, replaces_id, attempt, told, finish,
                             truncated, error_code, error_message)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &[
            &conversation.as_uuid(),
            &signed(row.number),
            &row.kind.as_str(),
            &row.at.as_micros(),
            &id(row.reply),
            &id(row.message),
            &id(row.replaces),
            &i64::from(row.attempt),
            &row.told.map(length),
            &row.finish.map(FinishReason::as_str),
            &i64::from(row.truncated),
            &row.failure.as_ref().map(|failure| failure.code.as_str()),
            &row.failure.as_ref().map(|failure| failure.message.as_str()),
        ],
    )
    .await?;
    tx.tell(conversation);
    Ok(())
}

pub(super) async fn last(store: &PostgresStore, conversation: ConversationId) -> Result<Option<u64>> {
    let row = store.readers.row(LAST, &[&conversation.as_uuid()]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(timeline::last(number(&row, 0)?, number(&row, 1)?)))
}

pub(super) async fn read(
    store: &PostgresStore,
    conversation: ConversationId,
    reply: Option<MessageId>,
    after: u64,
) -> Result<Option<Portion>> {
    // What an event comes from can begin before it.
    let mut behind = signed(after.saturating_sub(Kind::WIDEST));
    loop {
        let place = Place {
            conversation: conversation.as_uuid(),
            reply: reply.map(|reply| reply.as_uuid()),
            behind,
        };
        let rows = store.readers.lookups.events(place).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut events = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        for row in &rows {
            // A conversation has a row even when nothing happened in it.
            let Some(row) = from_row(conversation, row)? else {
                break;
            };
            count += 1;
            bytes += row.text.as_ref().map_or(0, String::len);
            bytes += row
                .brings
                .as_ref()
                .map_or(0, |message| message.text.as_str().len());
            behind = signed(row.number);
            row.tell(&mut events);
        }
        events.retain(|event| event.number > after);
        // What has nothing to tell is no reason to stop.
        let is_all = count < ROWS && length(bytes) < BYTES;
        if is_all || !events.is_empty() {
            return Ok(Some(Portion { events, is_all }));
        }
    }
}

/// From where on to read.
pub(super) struct Place {
    conversation: Uuid,
    reply: Option<Uuid>,
    behind: i64,
}

/// What messages tell by themselves. An answer of which there is more to tell has a row, also once its question is gone.
macro_rules! said {
    ($which:literal) => {
        concat!(
            "SELECT seq * $6 AS number,
                    CASE WHEN answered.message_id IS NOT NULL THEN 'succeeded' WHEN asking.message_id IS NOT NULL THEN 'asked'
                         ELSE 'said' END AS kind,
                    messages.created_at AS at, coalesce(answered.message_id, asking.message_id) AS reply_id,
                    messages.id AS message_id, NULL::uuid AS replaces_id, coalesce(answered.attempts, 0) AS attempt,
                    NULL::bigint AS told, NULL::text AS text, NULL::text AS finish, 0::bigint AS truncated,
                    NULL::text AS error_code, NULL::text AS error_message
             FROM messages LEFT JOIN replies AS asking ON asking.message_id = messages.id
                  LEFT JOIN replies AS answered ON answered.message_id = messages.reply_to
             WHERE (answered.final_event = 0
                    OR answered.message_id IS NULL
                       AND (messages.role = 'user'
                            OR (SELECT events.number FROM events
                                WHERE events.conversation_id = messages.conversation_id AND events.number = seq * $6) IS NULL))
                   AND ",
            $which
        )
    };
}

/// What has rows of its own.
macro_rules! rows {
    ($which:literal) => {
        concat!(
            "SELECT number, kind, at, reply_id, message_id, replaces_id, attempt, told, text, finish, truncated, error_code,
                    error_message
             FROM events WHERE number > behind AND ",
            $which,
            " ORDER BY number LIMIT $4"
        )
    };
}

/// Of a conversation, by its own indexes; or of a reply, by those of its messages and rows, however long the
/// conversation is.
const FIND: &str = concat!(
    "-- events: each conversation's in order, until those in front of one are enough
     SELECT page.id, role, said, created_at, updated_at, number, kind, at, page.reply_id, message_id, replaces_id, attempt,
            told, text, finish, truncated, error_code, error_message, place
     FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])
          WITH ORDINALITY AS asked (conversation_id, reply_id, behind, place)
          JOIN LATERAL (SELECT FROM conversations WHERE id = conversation_id) AS conversation ON true
          LEFT JOIN LATERAL (
              SELECT * FROM (
                  SELECT next.*, messages.id, role, messages.text AS said, created_at, updated_at,
                         sum(coalesce(octet_length(next.text), 0) + coalesce(octet_length(messages.text), 0)) OVER in_front
                         AS bytes
                  FROM (SELECT * FROM ((",
    said!("asked.reply_id IS NULL AND messages.conversation_id = asked.conversation_id AND seq > behind / $6 ORDER BY seq LIMIT $4"),
    ") UNION ALL (",
    said!("messages.id = asked.reply_id AND messages.conversation_id = asked.conversation_id AND seq > behind / $6"),
    ") UNION ALL (",
    said!("messages.reply_to = asked.reply_id AND (messages.conversation_id = asked.conversation_id) IS TRUE AND seq > behind / $6"),
    ") UNION ALL (",
    rows!("asked.reply_id IS NULL AND events.conversation_id = asked.conversation_id"),
    ") UNION ALL (",
    rows!("events.reply_id = asked.reply_id AND (events.conversation_id = asked.conversation_id) IS TRUE"),
    ")) AS told ORDER BY number LIMIT $4) AS next
                       LEFT JOIN messages ON messages.id = next.message_id
                  WINDOW in_front AS (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
              ) AS measured
              WHERE coalesce(bytes, 0) < $5
          ) AS page ON true
     ORDER BY place, number"
);

/// Reads the rows behind places, up to a portion. A conversation has a row even when nothing happened in it.
pub(super) async fn find(db: Arc<Session>, places: &[Place]) -> Result<Vec<Vec<Found>>, Problem> {
    let conversations: Vec<_> = places.iter().map(|place| place.conversation).collect();
    let replies: Vec<_> = places.iter().map(|place| place.reply).collect();
    let behind: Vec<_> = places.iter().map(|place| place.behind).collect();
    let rows = db
        .rows(
            FIND,
            &[&conversations, &replies, &behind, &ROWS, &BYTES, &PER_MESSAGE],
        )
        .await?;
    let mut pages: Vec<Vec<Found>> = places.iter().map(|_| Vec::new()).collect();
    for row in rows {
        let place: i64 = row.try_get(18)?;
        let page = usize::try_from(place - 1).ok().and_then(|at| pages.get_mut(at));
        if let Some(page) = page {
            page.push(row);
        }
    }
    Ok(pages)
}

fn from_row(conversation: ConversationId, row: &Found) -> Result<Option<Row>, Problem> {
    let Some(kind) = row.try_get::<_, Option<&str>>(6)? else {
        return Ok(None);
    };
    let id = |at: usize| -> Result<Option<MessageId>, Problem> {
        Ok(row.try_get::<_, Option<_>>(at)?.map(MessageId::new))
    };
    let failure = match row.try_get::<_, Option<String>>(16)? {
        Some(code) => Some(Failure::new(
            code,
            row.try_get::<_, Option<String>>(17)?.unwrap_or_default(),
        )),
        None => None,
    };
    let brings = match id(0)? {
        Some(_) => Some(messages::from_row(conversation, row)?),
        None => None,
    };
    let told: Option<i64> = row.try_get(12)?;
    Ok(Some(Row {
        number: number(row, 5)?,
        kind: stored(Kind::parse(kind), "events", "kind")?,
        at: Timestamp::from_micros(row.try_get(7)?),
        reply: id(8)?,
        message: id(9)?,
        replaces: id(10)?,
        attempt: count(row, 11)?,
        told: told.map(|told| usize::try_from(told).unwrap_or(0)),
        text: row.try_get(13)?,
        finish: row.try_get::<_, Option<&str>>(14)?.and_then(FinishReason::parse),
        truncated: row.try_get::<_, i64>(15)? != 0,
        failure,
        brings,
    }))
}

/// What was told of an unfinished reply since its last beginning; `None` when it did not begin.
pub(super) async fn told(tx: &Tx<'_>, message: MessageId) -> Result<Option<String>, Problem> {
    let row = tx
        .row(
            "-- cancel_reply: what was written of it
             WITH pieces AS MATERIALIZED (
                 SELECT number, kind, text FROM events
                 WHERE reply_id = $1 AND number > (SELECT queued_event FROM replies WHERE message_id = $1)
             ), beginning AS MATERIALIZED (
                 SELECT max(number) AS number FROM pieces WHERE kind = 'started'
             )
             SELECT (SELECT coalesce(string_agg(text, '' ORDER BY pieces.number), '') FROM pieces
                     WHERE kind = 'delta' AND pieces.number > beginning.number)
             FROM beginning WHERE number IS NOT NULL",
            &[&message.as_uuid()],
        )
        .await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

/// Forgets what was told of a reply's text before it last ended.
pub(super) async fn forget(tx: &Tx<'_>, message: MessageId) -> Result<(), Problem> {
    tx.execute(
        "-- delete_message: what was told of an answer
         DELETE FROM events
         WHERE reply_id = $1 AND kind IN ('started', 'delta')
               AND number < (SELECT final_event FROM replies WHERE message_id = $1)",
        &[&message.as_uuid()],
    )
    .await?;
    Ok(())
}

/// A number of an event that a statement gives.
pub(super) fn number(row: &Found, at: usize) -> Result<u64, Problem> {
    Ok(u64::try_from(row.try_get::<_, i64>(at)?).unwrap_or(0))
}

/// A number of an event as the server keeps it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A length in bytes as the server keeps it.
pub(super) fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
