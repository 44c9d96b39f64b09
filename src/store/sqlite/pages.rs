//! Pages of messages. The counts are kept, not counted, and a page is found by its place wherever that is known.

use rusqlite::{Connection, OptionalExtension, Row, types::ValueRef};

use super::{SqliteStore, messages::from_row};
use crate::{
    model::{
        ConversationId, Message, MessageFilter, MessagePage, MessageQuery, PageNumber, Role, RoleFilter,
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

pub(super) async fn page(store: &SqliteStore, query: MessageQuery) -> Result<PageAnswer> {
    if query.filter.needle.is_some() {
        return store
            .readers
            .scan(move |db| in_snapshot(db, |db| search(db, &query)))
            .await;
    }
    if let Some(answer) = store.readers.read(|db| read_at_once(db, &query))? {
        return Ok(answer);
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

impl Tally {
    /// Reads `last_seq, user_count, assistant_count` from this column on.
    fn from_row(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            last_seq: row.get(at)?,
            users: row.get(at + 1)?,
            assistants: row.get(at + 2)?,
        })
    }

    fn all(&self) -> u64 {
        self.users + self.assistants
    }

    /// Whether a message's place in the list is its sequence number: so it is as long as nothing was deleted.
    fn is_dense(&self) -> bool {
        self.all() == self.last_seq
    }
}

fn tally(db: &Connection, conversation: ConversationId) -> Result<Option<Tally>> {
    // messages
    let mut select =
        db.prepare_cached("SELECT last_seq, user_count, assistant_count FROM conversations WHERE id = ?")?;
    Ok(select
        .query_row([conversation.as_bytes()], |row| Tally::from_row(row, 0))
        .optional()?)
}

/// Reads page and count in one statement, which is a snapshot by itself. `None` where the place of a page is not
/// known before the count is: there the slower ways have to find it.
fn read_at_once(db: &Connection, query: &MessageQuery) -> Result<Option<PageAnswer>> {
    let (RoleFilter::Any, PageNumber::Nth(number)) = (query.filter.role, query.number) else {
        return Ok(None);
    };
    let skipped = (number.get() - 1)
        .checked_mul(query.size.get())
        .and_then(|skipped| i64::try_from(skipped).ok());
    let Some(skipped) = skipped else { return Ok(None) };
    // messages: with the conversation, which has a row here even when the page has none
    let mut select = db.prepare_cached(
        "SELECT m.id, m.role, m.text, m.created_at, m.updated_at, c.last_seq, c.user_count, c.assistant_count
         FROM conversations AS c LEFT JOIN messages AS m ON m.conversation_id = c.id AND m.seq > ?2
         WHERE c.id = ?1 ORDER BY m.seq LIMIT ?3",
    )?;
    let mut rows = select.query((query.conversation.as_bytes(), skipped, query.size.get()))?;
    let (mut tally, mut messages) = (None, Vec::new());
    while let Some(row) = rows.next()? {
        if tally.is_none() {
            tally = Some(Tally::from_row(row, 5)?);
        }
        if row.get_ref(0)? != ValueRef::Null {
            messages.push(from_row(query.conversation, row)?);
        }
    }
    let Some(tally) = tally else {
        return Ok(Some(PageAnswer::NoConversation));
    };
    if skipped > 0 && !tally.is_dense() {
        return Ok(None);
    }
    let count = tally.all();
    Ok(Some(match query.number.resolve(count, query.size) {
        Some(number) => PageAnswer::Page(MessagePage {
            count,
            number,
            messages,
        }),
        None => PageAnswer::NoSuchPage,
    }))
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
    let count = match query.filter.role {
        RoleFilter::Any => tally.all(),
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
    } else if tally.is_dense() && query.filter.role == RoleFilter::Any {
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
