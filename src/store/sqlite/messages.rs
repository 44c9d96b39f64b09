use rusqlite::{OptionalExtension, Row};

use super::{
    SqliteStore, control,
    conversations::{self, Place},
    error::stored,
    events, once, replies, turns,
    writer::Tx,
};
use crate::{
    model::{ConversationId, Message, MessageId, MessageText, NewMessage, Role, Timestamp, fold},
    store::{Once, Result, timeline::Kind},
};

pub(super) async fn append(
    store: &SqliteStore,
    new: NewMessage,
    once: Option<Once<Message>>,
) -> Result<Option<Message>> {
    // Folding is work; it happens here, not on the one thread that writes.
    let folded = folded(&new.text);
    store
        .writer
        .write(move |tx| {
            if new.role == Role::User {
                turns::make_way(tx, &new).or_else(|refused| {
                    // What it would have to wait for may be its own reply.
                    once::refuse_repeated(tx, once.as_ref())?;
                    Err(refused)
                })?;
            }
            let (users, assistants) = count(new.role);
            let Some(place) = conversations::take_place(tx, new.conversation, users, assistants, new.now)?
            else {
                return Ok(None);
            };
            let message = insert(
                tx,
                &place,
                new.id,
                new.conversation,
                new.role,
                new.text,
                folded.as_deref(),
                None,
            )?;
            if message.role == Role::User {
                replies::enqueue(tx, &message, &place, &new.reply)?;
            }
            once::remember(tx, once, &message)?;
            tx.tell(message.conversation);
            Ok(Some(message))
        })
        .await
}

pub(super) fn folded(text: &MessageText) -> Option<String> {
    match fold(text.as_str()) {
        folded if folded == text.as_str() => None,
        folded => Some(folded.into_owned()),
    }
}

fn count(role: Role) -> (u8, u8) {
    match role {
        Role::User => (1, 0),
        Role::Assistant => (0, 1),
    }
}

#[expect(clippy::too_many_arguments, reason = "one for each column")]
pub(super) fn insert(
    tx: &Tx<'_>,
    place: &Place,
    id: MessageId,
    conversation: ConversationId,
    role: Role,
    text: MessageText,
    folded: Option<&str>,
    reply_to: Option<MessageId>,
) -> Result<Message> {
    // append_message, finish_reply, cancel_reply
    tx.prepare_cached(
        "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text, folded, reply_to)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)",
    )?
    .execute((
        id.as_bytes(),
        conversation.as_bytes(),
        place.seq,
        role.as_str(),
        place.at.as_micros(),
        text.as_str(),
        folded,
        reply_to.as_ref().map(MessageId::as_bytes),
    ))?;
    Ok(Message {
        id,
        conversation,
        role,
        text,
        created: place.at,
        updated: place.at,
    })
}

pub(super) fn read(
    store: &SqliteStore,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Option<Message>> {
    store.readers.read(|db| {
        // message
        let mut select = db.prepare_cached(
            "SELECT id, role, text, created_at, updated_at FROM messages
             WHERE id = ?1 AND conversation_id = ?2 AND EXISTS (SELECT * FROM conversations WHERE id = ?2)",
        )?;
        let mut rows = select.query((id.as_bytes(), conversation.as_bytes()))?;
        rows.next()?.map(|row| from_row(conversation, row)).transpose()
    })
}

pub(super) async fn delete(
    store: &SqliteStore,
    conversation: ConversationId,
    id: MessageId,
    now: Timestamp,
) -> Result<bool> {
    store.writer.write(move |tx| {
        // delete_message
        let found: Option<(String, Option<[u8; 16]>)> = tx
            .prepare_cached(
                "SELECT role, reply_to FROM messages
                 WHERE id = ?1 AND conversation_id = ?2 AND EXISTS (SELECT * FROM conversations WHERE id = ?2)",
            )?
            .query_row((id.as_bytes(), conversation.as_bytes()), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((role, reply_to)) = found else { return Ok(false) };
        let role = stored(Role::parse(&role), "messages", "role")?;
        control::forget(tx, conversation, id, role, reply_to.map(MessageId::from))?;
        // A user message takes its reply with it; the answer to it stays.
        tx.prepare_cached("DELETE FROM messages WHERE id = ?")?
            .execute([id.as_bytes()])?;
        let (users, assistants) = count(role);
        tx.prepare_cached(
            "UPDATE conversations
             SET user_count = user_count - ?2, assistant_count = assistant_count - ?3, updated_at = max(updated_at, ?4)
             WHERE id = ?1",
        )?
        .execute((conversation.as_bytes(), users, assistants, now.as_micros()))?;
        if let Some(number) = events::take_number(tx, conversation, Kind::Deleted)? {
            let reply = (role == Role::User).then_some(id);
            let mut event = events::row(Kind::Deleted, now, reply, Some(id));
            event.number = number;
            events::insert(tx, conversation, &event)?;
        }
        turns::free(tx, conversation, now)?;
        Ok(true)
    })
    .await
}

/// Reads `id, role, text, created_at, updated_at`, the first columns of every statement that reads messages.
pub(super) fn from_row(conversation: ConversationId, row: &Row<'_>) -> Result<Message> {
    let role = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(Message {
        id: MessageId::from(row.get::<_, [u8; 16]>(0)?),
        conversation,
        role: stored(Role::parse(role), "messages", "role")?,
        text: MessageText::from_stored(row.get(2)?),
        created: Timestamp::from_micros(row.get(3)?),
        updated: Timestamp::from_micros(row.get(4)?),
    })
}
