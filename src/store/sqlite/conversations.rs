use rusqlite::{Connection, OptionalExtension, Row};

use super::{SqliteStore, error::stored, keys, once, purge, replies, writer::Tx};
use crate::{
    model::{
        Conversation, ConversationChange, ConversationId, Description, NewConversation, ReplyOptions,
        Timestamp, Title,
    },
    store::{Once, Result, codec},
};

pub(super) async fn create(
    store: &SqliteStore,
    new: NewConversation,
    once: Option<Once<Conversation>>,
) -> Result<Conversation> {
    store
        .writer
        .write(move |tx| {
            // create_conversation
            tx.prepare_cached(
                "INSERT INTO conversations (id, title, description, created_at, updated_at, owner_id)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
            )?
            .execute((
                new.id.as_bytes(),
                new.title.as_ref().map(Title::as_str),
                new.description.as_str(),
                new.now.as_micros(),
                keys::owner_column(new.owner),
            ))?;
            set_options(tx, new.id, &new.options)?;
            let conversation = new.into();
            once::remember(tx, once, &conversation)?;
            Ok(conversation)
        })
        .await
}

pub(super) async fn change(
    store: &SqliteStore,
    id: ConversationId,
    change: ConversationChange,
    now: Timestamp,
) -> Result<Option<Conversation>> {
    store
        .writer
        .write(move |tx| {
            let Some(mut conversation) = read_in(tx, id)? else {
                return Ok(None);
            };
            conversation.title = change.title.apply(conversation.title);
            conversation.description = change.description.unwrap_or(conversation.description);
            conversation.updated = conversation.updated.max(now);
            // change_conversation
            tx.prepare_cached(
                "UPDATE conversations SET title = ?2, description = ?3, updated_at = ?4 WHERE id = ?1",
            )?
            .execute((
                id.as_bytes(),
                conversation.title.as_ref().map(Title::as_str),
                conversation.description.as_str(),
                conversation.updated.as_micros(),
            ))?;
            if !change.options.is_empty() {
                let options = change.options.apply(options_in(tx, id)?);
                tx.prepare_cached("DELETE FROM conversation_options WHERE conversation_id = ?")?
                    .execute([id.as_bytes()])?;
                set_options(tx, id, &options)?;
            }
            Ok(Some(conversation))
        })
        .await
}

/// Remembers what a conversation wants, if it wants anything.
fn set_options(tx: &Tx<'_>, id: ConversationId, options: &ReplyOptions) -> Result<()> {
    if let Some(options) = codec::options_to_text(options) {
        // create_conversation, change_conversation
        tx.prepare_cached("INSERT INTO conversation_options (conversation_id, options) VALUES (?1, ?2)")?
            .execute((id.as_bytes(), options))?;
    }
    Ok(())
}

pub(super) fn options(store: &SqliteStore, id: ConversationId) -> Result<Option<ReplyOptions>> {
    store.readers.read(|db| match read_in(db, id)? {
        Some(_) => Ok(Some(options_in(db, id)?)),
        None => Ok(None),
    })
}

pub(super) fn options_in(db: &Connection, id: ConversationId) -> Result<ReplyOptions> {
    // options, context
    let mut select =
        db.prepare_cached("SELECT options FROM conversation_options WHERE conversation_id = ?")?;
    let text: Option<String> = select.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    match text {
        Some(text) => stored(codec::options_from_text(&text), "conversation_options", "options"),
        None => Ok(ReplyOptions::default()),
    }
}

pub(super) fn read(store: &SqliteStore, id: ConversationId) -> Result<Option<Conversation>> {
    store.readers.read(|db| read_in(db, id))
}

fn read_in(db: &Connection, id: ConversationId) -> Result<Option<Conversation>> {
    // conversation, change_conversation
    let mut select = db.prepare_cached(
        "SELECT title, description, created_at, updated_at FROM conversations WHERE id = ?",
    )?;
    Ok(select
        .query_row([id.as_bytes()], |row| from_row(id, row))
        .optional()?)
}

pub(super) async fn delete(store: &SqliteStore, id: ConversationId) -> Result<bool> {
    store
        .writer
        .write(move |tx| {
            // delete_conversation: whatever is read or written goes through this row, so all is gone with it.
            let deleted = tx
                .prepare_cached("DELETE FROM conversations WHERE id = ?")?
                .execute([id.as_bytes()])?
                == 1;
            if deleted {
                replies::call_off(tx, id)?;
                purge::schedule(tx, id)?;
                tx.tell(id);
            }
            Ok(deleted)
        })
        .await
}

/// The place that a conversation gives to its next message.
pub(super) struct Place {
    pub(super) seq: u64,
    /// Now, or the conversation's last date when the clock has stepped back behind it.
    pub(super) at: Timestamp,
}

/// Takes the next place in a conversation's order and moves its date; `None` when there is no such conversation.
pub(super) fn take_place(
    tx: &Tx<'_>,
    id: ConversationId,
    users: u8,
    assistants: u8,
    now: Timestamp,
) -> Result<Option<Place>> {
    // append_message, finish_reply, cancel_reply
    let mut update = tx.prepare_cached(
        "UPDATE conversations
         SET last_seq = last_seq + 1, user_count = user_count + ?2, assistant_count = assistant_count + ?3,
             updated_at = max(updated_at, ?4)
         WHERE id = ?1
         RETURNING last_seq, updated_at",
    )?;
    let place = update
        .query_row((id.as_bytes(), users, assistants, now.as_micros()), |row| {
            Ok(Place {
                seq: row.get(0)?,
                at: Timestamp::from_micros(row.get(1)?),
            })
        })
        .optional()?;
    Ok(place)
}

fn from_row(id: ConversationId, row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        id,
        title: row.get::<_, Option<String>>(0)?.map(Title::from_stored),
        description: Description::from_stored(row.get(1)?),
        created: Timestamp::from_micros(row.get(2)?),
        updated: Timestamp::from_micros(row.get(3)?),
    })
}
