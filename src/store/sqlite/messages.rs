use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    SqliteStore,
    conversations::{self, Place},
    error::stored,
    replies,
    writer::Tx,
};
use crate::{
    model::{
        ConversationId, Message, MessageFilter, MessageId, MessagePage, MessageQuery, MessageText,
        NewMessage, Role, RoleFilter, Timestamp, fold,
    },
    store::{PageAnswer, Result},
};

/// How many index entries a read in place may step over; more is a job for a blocking thread.
const SKIP_IN_PLACE: u64 = 2_000;

/// The statement that reads a page by stepping over entries: with or without a role, from either end.
macro_rules! page_by_stepping {
    ($role:literal, $order:literal) => {
        concat!(
            "SELECT id, role, text, created_at, updated_at FROM messages WHERE conversation_id = ?1 ",
            $role,
            " ORDER BY seq ",
            $order,
            " LIMIT ?2 OFFSET ?3"
        )
    };
}

pub(super) async fn append(store: &SqliteStore, new: NewMessage) -> Result<Option<Message>> {
    // Folding is work; it happens here, not on the one thread that writes.
    let folded = folded(&new.text);
    store
        .writer
        .write(move |tx| {
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
                replies::enqueue(tx, &message)?;
            }
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
    // append_message, finish_reply
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
        // delete_message: a user message takes its reply with it; the answer to it stays.
        let role: Option<String> = tx
            .prepare_cached(
                "DELETE FROM messages
                 WHERE id = ?1 AND conversation_id = ?2 AND EXISTS (SELECT * FROM conversations WHERE id = ?2)
                 RETURNING role",
            )?
            .query_row((id.as_bytes(), conversation.as_bytes()), |row| row.get(0))
            .optional()?;
        let Some(role) = role else { return Ok(false) };
        let (users, assistants) = count(stored(Role::parse(&role), "messages", "role")?);
        tx.prepare_cached(
            "UPDATE conversations
             SET user_count = user_count - ?2, assistant_count = assistant_count - ?3, updated_at = max(updated_at, ?4)
             WHERE id = ?1",
        )?
        .execute((conversation.as_bytes(), users, assistants, now.as_micros()))?;
        Ok(true)
    })
    .await
}

pub(super) async fn page(store: &SqliteStore, query: MessageQuery) -> Result<PageAnswer> {
    if query.filter.needle.is_some() {
        return store
            .readers
            .scan(move |db| in_snapshot(db, |db| search(db, &query)))
            .await;
    }
    match store
        .readers
        .read(|db| in_snapshot(db, |db| seek(db, &query, SKIP_IN_PLACE)))?
    {
        Sought::Answer(answer) => Ok(answer),
        Sought::TooFar => {
            let far = move |db: &Connection| match in_snapshot(db, |db| seek(db, &query, u64::MAX))? {
                Sought::Answer(answer) => Ok(answer),
                Sought::TooFar => Ok(PageAnswer::NoSuchPage),
            };
            store.readers.scan(far).await
        }
    }
}

/// Reads count and page as of one moment.
fn in_snapshot<T>(db: &Connection, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    // messages
    db.prepare_cached("BEGIN")?.execute(())?;
    let answer = read(db);
    db.prepare_cached("COMMIT")?.execute(())?;
    answer
}

/// What a conversation knows of its messages without looking at them.
struct Tally {
    last_seq: u64,
    users: u64,
    assistants: u64,
}

fn tally(db: &Connection, conversation: ConversationId) -> Result<Option<Tally>> {
    // messages
    let mut select =
        db.prepare_cached("SELECT last_seq, user_count, assistant_count FROM conversations WHERE id = ?")?;
    let tally = select
        .query_row([conversation.as_bytes()], |row| {
            Ok(Tally {
                last_seq: row.get(0)?,
                users: row.get(1)?,
                assistants: row.get(2)?,
            })
        })
        .optional()?;
    Ok(tally)
}

enum Sought {
    Answer(PageAnswer),
    /// More entries would have to be stepped over than was allowed.
    TooFar,
}

/// Finds a page by its place. Where nothing was ever deleted, place and sequence agree; elsewhere entries are
/// stepped over from the nearer end.
fn seek(db: &Connection, query: &MessageQuery, most_skipped: u64) -> Result<Sought> {
    let conversation = query.conversation;
    let Some(tally) = tally(db, conversation)? else {
        return Ok(Sought::Answer(PageAnswer::NoConversation));
    };
    let all = tally.users + tally.assistants;
    let count = match query.filter.role {
        RoleFilter::Any => all,
        RoleFilter::Only(Role::User) => tally.users,
        RoleFilter::Only(Role::Assistant) => tally.assistants,
        RoleFilter::Nobody => 0,
    };
    let Some(number) = query.number.resolve(count, query.size) else {
        return Ok(Sought::Answer(PageAnswer::NoSuchPage));
    };
    let skipped = (number.get() - 1) * query.size.get();
    let wanted = query.size.get().min(count - skipped);
    let behind = count - skipped - wanted;
    let messages = if wanted == 0 {
        Vec::new()
    } else if count == tally.last_seq {
        // messages: by sequence
        let mut select = db.prepare_cached(
            "SELECT id, role, text, created_at, updated_at FROM messages
             WHERE conversation_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )?;
        collect(
            conversation,
            select.query((conversation.as_bytes(), skipped, wanted))?,
        )?
    } else if skipped.min(behind) > most_skipped {
        return Ok(Sought::TooFar);
    } else {
        let role = match query.filter.role {
            RoleFilter::Only(role) => Some(role.as_str()),
            RoleFilter::Any | RoleFilter::Nobody => None,
        };
        let from_start = skipped <= behind;
        let select = match (role.is_some(), from_start) {
            (false, true) => page_by_stepping!("", "ASC"),
            (false, false) => page_by_stepping!("", "DESC"),
            (true, true) => page_by_stepping!("AND role = ?4", "ASC"),
            (true, false) => page_by_stepping!("AND role = ?4", "DESC"),
        };
        let mut select = db.prepare_cached(select)?;
        let offset = skipped.min(behind);
        let rows = match role {
            Some(role) => select.query((conversation.as_bytes(), wanted, offset, role))?,
            None => select.query((conversation.as_bytes(), wanted, offset))?,
        };
        let mut messages = collect(conversation, rows)?;
        if !from_start {
            messages.reverse();
        }
        messages
    };
    Ok(Sought::Answer(PageAnswer::Page(MessagePage {
        count,
        number,
        messages,
    })))
}

/// Finds a page of the messages that hold a text, and counts them all, in one pass.
fn search(db: &Connection, query: &MessageQuery) -> Result<PageAnswer> {
    if tally(db, query.conversation)?.is_none() {
        return Ok(PageAnswer::NoConversation);
    }
    let found = matches(db, query.conversation, &query.filter)?;
    let count = found.len() as u64;
    let Some(number) = query.number.resolve(count, query.size) else {
        return Ok(PageAnswer::NoSuchPage);
    };
    let skipped = usize::try_from((number.get() - 1) * query.size.get()).unwrap_or(usize::MAX);
    let size = usize::try_from(query.size.get()).unwrap_or(usize::MAX);
    // messages: those that were found
    let mut select = db.prepare_cached(
        "SELECT id, role, text, created_at, updated_at FROM messages WHERE conversation_id = ?1 AND seq = ?2",
    )?;
    let mut messages = Vec::new();
    for seq in found.iter().skip(skipped).take(size) {
        let mut rows = select.query((query.conversation.as_bytes(), seq))?;
        if let Some(row) = rows.next()? {
            messages.push(from_row(query.conversation, row)?);
        }
    }
    Ok(PageAnswer::Page(MessagePage {
        count,
        number,
        messages,
    }))
}

/// The sequence numbers of the messages that a filter lets through: eight bytes each, whatever their texts weigh.
fn matches(db: &Connection, conversation: ConversationId, filter: &MessageFilter) -> Result<Vec<i64>> {
    let role = match filter.role {
        RoleFilter::Any => None,
        RoleFilter::Only(role) => Some(role.as_str()),
        RoleFilter::Nobody => return Ok(Vec::new()),
    };
    let needle = filter.needle.as_ref().map_or("", |needle| needle.as_folded());
    // messages: instr knows no wildcards, so the needle is taken as it is.
    let mut select = db.prepare_cached(
        "SELECT seq FROM messages
         WHERE conversation_id = ?1 AND instr(coalesce(folded, text), ?2) > 0 AND (?3 IS NULL OR role = ?3)
         ORDER BY seq",
    )?;
    let found = select.query_map((conversation.as_bytes(), needle, role), |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn collect(conversation: ConversationId, mut rows: rusqlite::Rows<'_>) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(from_row(conversation, row)?);
    }
    Ok(messages)
}

fn from_row(conversation: ConversationId, row: &Row<'_>) -> Result<Message> {
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
