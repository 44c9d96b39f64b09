use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::FutureExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    PostgresStore,
    connection::Session,
    error::{Problem, stored},
    purge, replies,
    tx::Tx,
};
use crate::{
    model::{
        Conversation, ConversationChange, ConversationId, Description, NewConversation, ReplyOptions,
        Timestamp, Title,
    },
    store::{Result, codec},
};

pub(super) async fn create(store: &PostgresStore, new: NewConversation) -> Result<Conversation> {
    store.writer.create(new).await
}

/// Creates conversations. Gives the ids of those that did not exist before.
pub(super) async fn create_all(db: &Session, news: &[&NewConversation]) -> Result<HashSet<Uuid>, Problem> {
    let ids: Vec<_> = news.iter().map(|new| new.id.as_uuid()).collect();
    let titles: Vec<_> = news
        .iter()
        .map(|new| new.title.as_ref().map(Title::as_str))
        .collect();
    let descriptions: Vec<_> = news.iter().map(|new| new.description.as_str()).collect();
    let dates: Vec<_> = news.iter().map(|new| new.now.as_micros()).collect();
    let options: Vec<_> = news
        .iter()
        .map(|new| codec::options_to_text(&new.options))
        .collect();
    let created = db
        .rows(
            "-- create_conversation
             WITH created AS (
                 INSERT INTO conversations (id, title, description, created_at, updated_at)
                 SELECT id, title, description, created_at, created_at
                 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
                      AS new (id, title, description, created_at)
                 ON CONFLICT (id) DO NOTHING
                 RETURNING id
             ), wanted AS (
                 INSERT INTO conversation_options (conversation_id, options)
                 SELECT id, options FROM unnest($1::uuid[], $5::text[]) AS new (id, options)
                 WHERE options IS NOT NULL AND id IN (SELECT id FROM created)
                 ON CONFLICT (conversation_id) DO NOTHING
             )
             SELECT id FROM created",
            &[&ids, &titles, &descriptions, &dates, &options],
        )
        .await?;
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
    let row = db
        .row(
            "-- takes a conversation: whoever changes more than one row of it does so first
             SELECT id FROM conversations WHERE id = $1 FOR UPDATE",
            &[&id.as_uuid()],
        )
        .await?;
    Ok(row.is_some())
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
