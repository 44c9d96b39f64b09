//! Removes what deleted conversations left behind, a little at a time.
//!
//! Nobody can read it any more: every read goes through the conversation's own row, which is gone.

use rusqlite::{Connection, OptionalExtension};

use super::writer::Tx;
use crate::{model::ConversationId, store::Result};

/// Messages removed between two groups of writes: a millisecond or two.
const AT_ONCE: u32 = 200;

/// Remembers a conversation whose messages are to be removed.
pub(super) fn schedule(tx: &Tx<'_>, conversation: ConversationId) -> Result<()> {
    // delete_conversation
    tx.prepare_cached("INSERT INTO purges (conversation_id) VALUES (?)")?
        .execute([conversation.as_bytes()])?;
    tx.purge_later();
    Ok(())
}

/// Whether anything is left to remove.
pub(super) fn is_due(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT EXISTS (SELECT * FROM purges)", (), |row| row.get(0))
}

/// Messages that belong to no conversation, and that nobody is about to remove: there can be none.
pub(super) fn strays(db: &Connection) -> rusqlite::Result<Option<String>> {
    let is_known: bool = db.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'purges'",
        (),
        |row| row.get(0),
    )?;
    if !is_known {
        // Before there were purges, a foreign key saw to it.
        return Ok(None);
    }
    let strays: u64 = db.query_row(
        "SELECT count(*) FROM messages
         WHERE conversation_id NOT IN (SELECT id FROM conversations UNION ALL SELECT conversation_id FROM purges)",
        (),
        |row| row.get(0),
    )?;
    Ok((strays > 0).then(|| format!("{strays} messages belong to no conversation")))
}

/// Removes some, in a transaction of its own; whether there may be more.
pub(super) fn step(db: &Connection) -> Result<bool> {
    db.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
    let conversation: Option<[u8; 16]> = db
        .prepare_cached("SELECT conversation_id FROM purges LIMIT 1")?
        .query_row((), |row| row.get(0))
        .optional()?;
    let more = match conversation {
        None => false,
        Some(conversation) => {
            // A user message takes its reply with it.
            let removed = db
                .prepare_cached(
                    "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE conversation_id = ?1 LIMIT ?2)",
                )?
                .execute((conversation, AT_ONCE))?;
            let removed = removed
                + db.prepare_cached(
                    "DELETE FROM events WHERE conversation_id = ?1
                            AND number IN (SELECT number FROM events WHERE conversation_id = ?1 LIMIT ?2)",
                )?
                .execute((conversation, AT_ONCE))?;
            if removed == 0 {
                db.prepare_cached("DELETE FROM purges WHERE conversation_id = ?")?
                    .execute([conversation])?;
            }
            true
        }
    };
    db.prepare_cached("COMMIT")?.execute(())?;
    Ok(more)
}
