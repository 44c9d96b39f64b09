//! What happened, as rows: adding them, reading them, forgetting what they tell of a text.

use rusqlite::{Connection, OptionalExtension, Row as SqliteRow, Rows};

use super::{SqliteStore, error::stored, messages, writer::Tx};
use crate::{
    model::{ConversationId, Failure, FinishReason, Lease, MessageId, Progress, Timestamp},
    store::{
        Portion, Result,
        timeline::{self, Kind, Row},
    },
};

/// The most rows, and about the most bytes of text, that are read at once.
const AT_ONCE: usize = 128;
const BYTES: usize = 64 * 1024;

/// What messages tell by themselves. An answer of which there is more to tell has a row, also once its question is gone.
macro_rules! said {
    ($which:literal) => {
        concat!(
            "SELECT messages.id, messages.role, messages.text, messages.created_at, messages.updated_at, seq << 24,
                    CASE WHEN answered.message_id IS NOT NULL THEN 'succeeded' WHEN asking.message_id IS NOT NULL THEN 'asked'
                         ELSE 'said' END,
                    messages.created_at, coalesce(answered.message_id, asking.message_id), messages.id, NULL,
                    coalesce(answered.attempts, 0), NULL, NULL, NULL, 0, NULL, NULL
             FROM messages LEFT JOIN replies AS asking ON asking.message_id = messages.id
                  LEFT JOIN replies AS answered ON answered.message_id = messages.reply_to
             WHERE ",
            $which,
            " AND (answered.final_event = 0
                    OR answered.message_id IS NULL
                       AND (messages.role = 'user'
                            OR NOT EXISTS (SELECT * FROM events
                                           WHERE events.conversation_id = messages.conversation_id AND number = seq << 24)))
             ORDER BY seq"
        )
    };
}
const SAID: &str = said!("messages.conversation_id = ?1 AND seq >= ?2 AND ?3 IS NULL");
// By the two messages' own indexes, however long the conversation is.
const SAID_OF_REPLY: &str =
    said!("(messages.id = ?3 OR messages.reply_to = ?3) AND +messages.conversation_id = ?1 AND +seq >= ?2");

/// What has rows of its own.
macro_rules! rows {
    ($which:literal) => {
        concat!(
            "SELECT message.id, message.role, message.text, message.created_at, message.updated_at, number, kind, at, reply_id,
                    message_id, replaces_id, attempt, told, events.text, finish, truncated, error_code, error_message
             FROM events LEFT JOIN messages AS message ON message.id = message_id
             WHERE ",
            $which,
            " AND number > ?2
             ORDER BY number"
        )
    };
}
const ROWS: &str = rows!("events.conversation_id = ?1 AND ?3 IS NULL");
const ROWS_OF_REPLY: &str = rows!("reply_id = ?3 AND +events.conversation_id = ?1");

/// Replies whose pieces are forgotten in one transaction.
const PRUNED_AT_ONCE: usize = 50;

/// Takes the numbers for a row in a conversation; `None` when there is no such conversation, or no number left.
pub(super) fn take_number(tx: &Tx<'_>, conversation: ConversationId, kind: Kind) -> Result<Option<u64>> {
    // tell, finish_reply, cancel_reply, retry_reply, delete_message
    let found = tx
        .prepare_cached("SELECT last_seq, last_event FROM conversations WHERE id = ?")?
        .query_row([conversation.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((first, end)) = found.and_then(|(seq, event)| timeline::next(seq, event, kind)) else {
        return Ok(None);
    };
    tx.prepare_cached("UPDATE conversations SET last_event = ?2 WHERE id = ?1")?
        .execute((conversation.as_bytes(), end))?;
    Ok(Some(first))
}

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
pub(super) fn insert(tx: &Tx<'_>, conversation: ConversationId, row: &Row) -> Result<()> {
    let bytes = |id: &Option<MessageId>| id.map(|id| *id.as_bytes());
    // append_message, finish_reply, tell, cancel_reply, retry_reply, delete_message
    tx.prepare_cached(
        "INSERT INTO events (conversation_id, number, kind, at, reply_id, message_id, replaces_id, attempt, told, text,
                             finish, truncated, error_code, error_message)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute((
        conversation.as_bytes(),
        row.number,
        row.kind.as_str(),
        row.at.as_micros(),
        bytes(&row.reply),
        bytes(&row.message),
        bytes(&row.replaces),
        row.attempt,
        row.told,
        row.text.as_deref(),
        row.finish.map(FinishReason::as_str),
        row.truncated,
        row.failure.as_ref().map(|failure| failure.code.as_str()),
        row.failure.as_ref().map(|failure| failure.message.as_str()),
    ))?;
    tx.tell(conversation);
    Ok(())
}

pub(super) fn last(store: &SqliteStore, conversation: ConversationId) -> Result<Option<u64>> {
    store.readers.read(|db| {
        // last_event
        let mut select = db.prepare_cached("SELECT last_seq, last_event FROM conversations WHERE id = ?")?;
        Ok(select
            .query_row([conversation.as_bytes()], |row| {
                Ok(timeline::last(row.get(0)?, row.get(1)?))
            })
            .optional()?)
    })
}

pub(super) fn read(
    store: &SqliteStore,
    conversation: ConversationId,
    reply: Option<MessageId>,
    after: u64,
) -> Result<Option<Portion>> {
    store.readers.read(|db| {
        // What messages tell and what rows tell, as of one moment.
        let snapshot = db.unchecked_transaction()?;
        let events = read_in(&snapshot, conversation, reply, after)?;
        snapshot.commit()?;
        Ok(events)
    })
}

fn read_in(
    db: &Connection,
    conversation: ConversationId,
    reply: Option<MessageId>,
    after: u64,
) -> Result<Option<Portion>> {
    let mut exists = db.prepare_cached("SELECT 1 FROM conversations WHERE id = ?")?;
    if !exists.exists([conversation.as_bytes()])? {
        return Ok(None);
    }
    let mut said = db.prepare_cached(if reply.is_some() { SAID_OF_REPLY } else { SAID })?;
    let mut rows = db.prepare_cached(if reply.is_some() { ROWS_OF_REPLY } else { ROWS })?;
    let reply = reply.map(|id| *id.as_bytes());
    // What an event comes from can begin before it.
    let from = after.saturating_sub(Kind::WIDEST);
    let mut said = said.query((conversation.as_bytes(), timeline::place_of(from), reply))?;
    let mut rows = rows.query((conversation.as_bytes(), from, reply))?;
    let mut next_said = next(conversation, &mut said)?;
    let mut next_row = next(conversation, &mut rows)?;
    let mut events = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    loop {
        let is_said = match (&next_said, &next_row) {
            (Some(said), Some(row)) => said.number < row.number,
            (said, _) => said.is_some(),
        };
        let first = if is_said {
            std::mem::replace(&mut next_said, next(conversation, &mut said)?)
        } else {
            std::mem::replace(&mut next_row, next(conversation, &mut rows)?)
        };
        let Some(row) = first else {
            return Ok(Some(Portion { events, is_all: true }));
        };
        bytes += row.text.as_ref().map_or(0, String::len);
        bytes += row
            .brings
            .as_ref()
            .map_or(0, |message| message.text.as_str().len());
        count += 1;
        row.tell(&mut events);
        events.retain(|event| event.number > after);
        // What has nothing to tell is no reason to stop.
        if (count >= AT_ONCE || bytes >= BYTES) && !events.is_empty() {
            return Ok(Some(Portion {
                events,
                is_all: false,
            }));
        }
    }
}

fn next(conversation: ConversationId, rows: &mut Rows<'_>) -> Result<Option<Row>> {
    rows.next()?.map(|row| from_row(conversation, row)).transpose()
}

fn from_row(conversation: ConversationId, row: &SqliteRow<'_>) -> Result<Row> {
    let id = |at: usize| -> Result<Option<MessageId>> {
        Ok(row.get::<_, Option<[u8; 16]>>(at)?.map(MessageId::from))
    };
    let kind: String = row.get(6)?;
    let failure = match row.get::<_, Option<String>>(16)? {
        Some(code) => Some(Failure::new(
            code,
            row.get::<_, Option<String>>(17)?.unwrap_or_default(),
        )),
        None => None,
    };
    let brings = match id(0)? {
        Some(_) => Some(messages::from_row(conversation, row)?),
        None => None,
    };
    Ok(Row {
        number: row.get(5)?,
        kind: stored(Kind::parse(&kind), "events", "kind")?,
        at: Timestamp::from_micros(row.get(7)?),
        reply: id(8)?,
        message: id(9)?,
        replaces: id(10)?,
        attempt: row.get(11)?,
        told: row.get(12)?,
        text: row.get(13)?,
        finish: row
            .get::<_, Option<String>>(14)?
            .and_then(|name| FinishReason::parse(&name)),
        truncated: row.get(15)?,
        failure,
        brings,
    })
}

/// Adds what a worker has to tell.
pub(super) fn tell(tx: &Tx<'_>, lease: Lease, progress: Vec<Progress>, now: Timestamp) -> Result<bool> {
    // tell
    let held = tx
        .prepare_cached(
            "SELECT 1 FROM replies WHERE message_id = ?1 AND lease_token = ?2 AND status = 'running'",
        )?
        .exists((lease.message.as_bytes(), lease.token))?;
    if !held {
        return Ok(false);
    }
    for progress in progress {
        let kind = match progress {
            Progress::Started { .. } => Kind::Started,
            Progress::Delta(_) => Kind::Delta,
        };
        let Some(number) = take_number(tx, lease.conversation, kind)? else {
            return Ok(false);
        };
        let mut row = row(kind, now, Some(lease.message), None);
        row.number = number;
        match progress {
            Progress::Started { attempt } => row.attempt = attempt,
            Progress::Delta(text) => row.text = Some(text),
        }
        insert(tx, lease.conversation, &row)?;
    }
    Ok(true)
}

/// What was told of an unfinished reply since its last beginning; `None` when it did not begin.
pub(super) fn told(tx: &Tx<'_>, message: MessageId) -> Result<Option<String>> {
    // cancel_reply
    let started: Option<u64> = tx
        .prepare_cached(
            "SELECT max(number) FROM events
             WHERE reply_id = ?1 AND kind = 'started'
                   AND number > (SELECT queued_event FROM replies WHERE message_id = ?1)",
        )?
        .query_row([message.as_bytes()], |row| row.get(0))?;
    let Some(started) = started else {
        return Ok(None);
    };
    let mut select = tx.prepare_cached(
        "SELECT text FROM events
         WHERE reply_id = ?1 AND kind = 'delta' AND number > ?2
         ORDER BY number",
    )?;
    let mut rows = select.query((message.as_bytes(), started))?;
    let mut text = String::new();
    while let Some(row) = rows.next()? {
        text.push_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?);
    }
    Ok(Some(text))
}

/// Forgets what was told of a reply's text before its event with this number.
pub(super) fn forget(tx: &Tx<'_>, message: MessageId, before: u64) -> Result<()> {
    // delete_message, prune_deltas
    tx.prepare_cached(
        "DELETE FROM events
         WHERE reply_id = ?1 AND kind IN ('started', 'delta') AND number < ?2",
    )?
    .execute((message.as_bytes(), before))?;
    Ok(())
}

pub(super) async fn prune(store: &SqliteStore, before: Timestamp) -> Result<u32> {
    store
        .writer
        .write(move |tx| {
            // prune_deltas
            let mut select = tx.prepare_cached(
                "SELECT message_id, final_event FROM replies WHERE streamed = 1 AND finished_at < ?1 LIMIT ?2",
            )?;
            let found = select.query_map((before.as_micros(), PRUNED_AT_ONCE), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            let found: Vec<([u8; 16], u64)> = found.collect::<rusqlite::Result<_>>()?;
            for (message, last) in &found {
                forget(tx, MessageId::from(*message), *last)?;
                // Also of an answer that later tries have left in its place.
                tx.prepare_cached(
                    "UPDATE events SET told = NULL WHERE reply_id = ?1 AND number <= ?2 AND told IS NOT NULL",
                )?
                .execute((message, last))?;
                tx.prepare_cached("UPDATE replies SET streamed = 0 WHERE message_id = ?1")?
                    .execute([message])?;
            }
            Ok(u32::try_from(found.len()).unwrap_or(u32::MAX))
        })
        .await
}
