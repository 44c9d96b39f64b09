use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::FutureExt;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    PostgresStore,
    connection::Session,
    error::{Problem, stored},
    keys,
    once::{Records, remembering},
    purge, replies,
    tx::Tx,
    writer::Creation,
};
use crate::{
    model::{
        Conversation, ConversationChange, ConversationId, Description, NewConversation, Owner, ReplyOptions,
        Timestamp, Title,
    },
    store::{self, Once, Result, codec},
};

pub(super) async fn create(
    store: &PostgresStore,
    new: NewConversation,
    once: Option<Once<Conversation>>,
) -> Result<Conversation> {
    store.writer.create(Creation { new, once }).await
}

macro_rules! create {
    ($name:literal, $remembered:expr) => {
        concat!(
            $name,
            "WITH created AS (
                 INSERT INTO conversations (id, title, description, created_at, updated_at, owner_id)
                 SELECT id, title, description, created_at, created_at, owner_id
                 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $6::uuid[])
                      AS new (id, title, description, created_at, owner_id)
                 ON CONFLICT (id) DO NOTHING
                 RETURNING id
             ), wanted AS (
                 INSERT INTO conversation_options (conversation_id, options)
                 SELECT id, options FROM unnest($1::uuid[], $5::text[]) AS new (id, options)
                 WHERE options IS NOT NULL AND id IN (SELECT id FROM created)
                 ON CONFLICT (conversation_id) DO NOTHING
             )",
            $remembered,
            "
             SELECT id FROM created"
        )
    };
}

const CREATE: &str = create!(
    "-- create_conversation
             ",
    ""
);

const CREATE_ONCE: &str = create!(
    "-- create_conversation: remembered
             ",
    concat!(
        ", remembered AS (",
        remembering!(
            "$7",
            "$8",
            "$9",
            "$10",
            "$11",
            "$12",
            "(subject IN (SELECT id FROM created)) IS TRUE"
        ),
        ")"
    )
);

/// Creates conversations. Gives the ids of those that did not exist before.
pub(super) async fn create_all(db: &Session, creations: &[&Creation]) -> Result<HashSet<Uuid>, Problem> {
    fn each<'a, T>(creations: &[&'a Creation], value: impl Fn(&'a NewConversation) -> T) -> Vec<T> {
        creations.iter().map(|creation| value(&creation.new)).collect()
    }
    let ids = each(creations, |new| new.id.as_uuid());
    let titles = each(creations, |new| new.title.as_ref().map(Title::as_str));
    let descriptions = each(creations, |new| new.description.as_str());
    let dates = each(creations, |new| new.now.as_micros());
    let options = each(creations, |new| codec::options_to_text(&new.options));
    let owners = each(creations, |new| keys::owner_column(new.owner));
    let (mut records, mut seen) = (Records::default(), HashSet::new());
    for Creation { new, once } in creations {
        // Of two with one id, only the first is created.
        let is_first = seen.insert(new.id);
        if let Some(once) = once.as_ref().filter(|_| is_first) {
            records.add(new.id.as_uuid(), once.record(&new.clone().into()));
        }
    }
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&ids, &titles, &descriptions, &dates, &options, &owners];
    let created = if records.is_empty() {
        db.rows(CREATE, &params).await?
    } else {
        params.extend(records.params());
        db.rows(CREATE_ONCE, &params).await?
    };
    ids_of(&created)
}

/// Those of these conversations that exist.
pub(super) async fn existing(db: &Session, ids: &[Uuid]) -> Result<HashSet<Uuid>, Problem> {
    let found = db
        .rows(
            "-- create_conversation: when it is unknown what became of it
             SELECT id FROM conversations WHERE id = ANY ($1)",
            &[&ids],
        )
        .await?;
    ids_of(&found)
}

fn ids_of(rows: &[Row]) -> Result<HashSet<Uuid>, Problem> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

pub(super) async fn read(store: &PostgresStore, id: ConversationId) -> Result<Option<Conversation>> {
    store.readers.lookups.conversation(id).await
}

/// Reads conversations. Gives those that exist.
pub(super) async fn find(db: Arc<Session>, ids: &[Uuid]) -> Result<HashMap<Uuid, Conversation>, Problem> {
    let rows = db
        .rows(
            "-- conversation
             SELECT id, title, description, created_at, updated_at FROM conversations WHERE id = ANY ($1)",
            &[&ids],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, from_row(row)?)))
        .collect()
}

pub(super) async fn change(
    store: &PostgresStore,
    id: ConversationId,
    change: ConversationChange,
    now: Timestamp,
) -> Result<Option<Conversation>> {
    store
        .transact(move |tx| async move { change_in(tx, id, change, now).await }.boxed())
        .await
}

async fn change_in(
    tx: &Tx<'_>,
    id: ConversationId,
    change: ConversationChange,
    now: Timestamp,
) -> Result<Option<Conversation>, Problem> {
    if !lock(tx, id).await? {
        return Ok(None);
    }
    let row = tx
        .row(
            "-- change_conversation: as it is
             SELECT id, title, description, created_at, updated_at, options
             FROM conversations LEFT JOIN conversation_options ON conversation_id = id WHERE id = $1",
            &[&id.as_uuid()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut conversation = from_row(&row)?;
    conversation.title = change.title.apply(conversation.title);
    conversation.description = change.description.unwrap_or(conversation.description);
    conversation.updated = conversation.updated.max(now);
    tx.execute(
        "-- change_conversation
         UPDATE conversations SET title = $2, description = $3, updated_at = $4 WHERE id = $1",
        &[
            &id.as_uuid(),
            &conversation.title.as_ref().map(Title::as_str),
            &conversation.description.as_str(),
            &conversation.updated.as_micros(),
        ],
    )
    .await?;
    if !change.options.is_empty() {
        let options = change.options.apply(parse_options(row.try_get(5)?)?);
        tx.execute(
            "-- change_conversation: what it wants, if it wants anything
             WITH wanted AS MATERIALIZED (SELECT $2::text AS options), gone AS (
                 DELETE FROM conversation_options WHERE conversation_id = $1 AND (SELECT options FROM wanted) IS NULL
             )
             INSERT INTO conversation_options (conversation_id, options)
             SELECT $1, options FROM wanted WHERE options IS NOT NULL
             ON CONFLICT (conversation_id) DO UPDATE SET options = excluded.options",
            &[&id.as_uuid(), &codec::options_to_text(&options)],
        )
        .await?;
    }
    Ok(Some(conversation))
}

pub(super) async fn options(store: &PostgresStore, id: ConversationId) -> Result<Option<ReplyOptions>> {
    let row = store
        .readers
        .row(
            "-- options
             SELECT options FROM conversations LEFT JOIN conversation_options ON conversation_id = id WHERE id = $1",
            &[&id.as_uuid()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(parse_options(row.try_get(0).map_err(Problem::from)?)?))
}

pub(super) fn parse_options(text: Option<String>) -> Result<ReplyOptions> {
    match text {
        Some(text) => stored(codec::options_from_text(&text), "conversation_options", "options"),
        None => Ok(ReplyOptions::default()),
    }
}

pub(super) async fn delete(store: &PostgresStore, id: ConversationId) -> Result<bool> {
    let deleted = store.transact(move |tx| delete_in(tx, id).boxed()).await?;
    if deleted {
        store.purges.notify_one();
    }
    Ok(deleted)
}

async fn delete_in(db: &Tx<'_>, id: ConversationId) -> Result<bool, Problem> {
    // Taking the row first makes the statements after it see all that was appended until now.
    if !lock(db, id).await? {
        return Ok(false);
    }
    db.execute(
        "-- delete_conversation: whatever is read or written goes through this row, so all is gone with it.
         DELETE FROM conversations WHERE id = $1",
        &[&id.as_uuid()],
    )
    .await?;
    replies::call_off(db, id).await?;
    purge::schedule(db, id).await?;
    db.tell(id);
    Ok(true)
}

/// Keeps everybody else from writing into a conversation until the transaction ends; whether there is one.
pub(super) async fn lock(db: &Session, id: ConversationId) -> Result<bool, Problem> {
    Ok(lock_dated(db, id).await?.is_some())
}

/// The same. Gives the conversation's date, before which none of its messages may lie that is still to come.
pub(super) async fn lock_dated(db: &Session, id: ConversationId) -> Result<Option<Timestamp>, Problem> {
    let row = db
        .row(
            "-- takes a conversation: whoever changes more than one row of it does so first
             SELECT updated_at FROM conversations WHERE id = $1 FOR UPDATE",
            &[&id.as_uuid()],
        )
        .await?;
    row.map(|row| Ok(Timestamp::from_micros(row.try_get(0)?)))
        .transpose()
}

/// Whose a conversation is; `None` when there is none.
pub(super) async fn owner(store: &PostgresStore, id: ConversationId) -> Result<Option<Owner>> {
    let row = store
        .readers
        .row(
            "-- owner
             SELECT owner_id FROM conversations WHERE id = $1",
            &[&id.as_uuid()],
        )
        .await?;
    let owner = row.map(|row| Ok::<_, Problem>(store::keys::owner(row.try_get(0)?)));
    Ok(owner.transpose()?)
}

fn from_row(row: &Row) -> Result<Conversation, Problem> {
    Ok(Conversation {
        id: ConversationId::new(row.try_get(0)?),
        title: row.try_get::<_, Option<String>>(1)?.map(Title::from_stored),
        description: Description::from_stored(row.try_get(2)?),
        created: Timestamp::from_micros(row.try_get(3)?),
        updated: Timestamp::from_micros(row.try_get(4)?),
    })
}
