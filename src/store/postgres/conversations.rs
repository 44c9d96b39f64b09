use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::FutureExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{PostgresStore, connection::Session, error::Problem, purge, replies};
use crate::{
    model::{Conversation, ConversationId, Description, NewConversation, Timestamp, Title},
    store::Result,
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
    let created = db
        .rows(
            "-- create_conversation
             INSERT INTO conversations (id, title, description, created_at, updated_at)
             SELECT id, title, description, created_at, created_at
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
                  AS new (id, title, description, created_at)
             ON CONFLICT (id) DO NOTHING
             RETURNING id",
            &[&ids, &titles, &descriptions, &dates],
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

pub(super) async fn delete(store: &PostgresStore, id: ConversationId) -> Result<bool> {
    let deleted = store
        .writer
        .write(move |db| db.transaction(delete_in(db, id)).boxed())
        .await?;
    if deleted {
        store.purges.notify_one();
    }
    Ok(deleted)
}

async fn delete_in(db: &Session, id: ConversationId) -> Result<bool, Problem> {
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
    Ok(true)
}

/// Keeps everybody else from writing into a conversation until the transaction ends; whether there is one.
pub(super) async fn lock(db: &Session, id: ConversationId) -> Result<bool, Problem> {
    let row = db
        .row(
            "-- delete_conversation, delete_message
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
