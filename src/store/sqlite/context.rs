//! What a reply is written from: options, and what was said before, in whole turns.

use std::collections::VecDeque;

use rusqlite::{Connection, OptionalExtension};

use super::{SqliteStore, conversations, error::stored, replies};
use crate::{
    model::{Context, ConversationId, Line, MessageId, MessageText, Role},
    store::{LINE, Result},
};

pub(super) fn read(
    store: &SqliteStore,
    conversation: ConversationId,
    message: MessageId,
    bytes: usize,
) -> Result<Option<Context>> {
    store.readers.read(|db| {
        // context
        let mut select = db.prepare_cached(
            "SELECT seq, options FROM messages JOIN replies ON message_id = id
             WHERE id = ?1 AND messages.conversation_id = ?2 AND EXISTS (SELECT * FROM conversations WHERE id = ?2)",
        )?;
        let found: Option<(i64, Option<String>)> = select
            .query_row((message.as_bytes(), conversation.as_bytes()), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((seq, options)) = found else {
            return Ok(None);
        };
        Ok(Some(Context {
            options: replies::parse_options(options)?.or(conversations::options_in(db, conversation)?),
            history: history(db, conversation, seq, bytes)?.into(),
        }))
    })
}

/// The newest whole turns in front of a place.
fn history(
    db: &Connection,
    conversation: ConversationId,
    before: i64,
    bytes: usize,
) -> Result<VecDeque<Line>> {
    // context: an answer is read with its question, wherever it stands.
    let mut select = db.prepare_cached(
        "SELECT question.role, question.text, answer.text
         FROM messages AS question LEFT JOIN messages AS answer ON answer.reply_to = question.id
         WHERE question.conversation_id = ?1 AND question.seq < ?2 AND question.reply_to IS NULL
         ORDER BY question.seq DESC",
    )?;
    let mut rows = select.query((conversation.as_bytes(), before))?;
    let mut lines = VecDeque::new();
    let (mut turn, mut left) = (VecDeque::new(), bytes);
    while let Some(row) = rows.next()? {
        let role = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        let role = stored(Role::parse(role), "messages", "role")?;
        let line = |role, text| Line {
            role,
            text: MessageText::from_stored(text),
        };
        if let Some(answer) = row.get::<_, Option<String>>(2)? {
            turn.push_front(line(Role::Assistant, answer));
        }
        turn.push_front(line(role, row.get(1)?));
        let size: usize = turn
            .iter()
            .map(|line: &Line| line.text.as_str().len() + LINE)
            .sum();
        if size > left {
            return Ok(lines);
        }
        if role == Role::User {
            left -= size;
            while let Some(line) = turn.pop_back() {
                lines.push_front(line);
            }
        }
    }
    // What the assistant said before anybody asked.
    while let Some(line) = turn.pop_back() {
        lines.push_front(line);
    }
    Ok(lines)
}
