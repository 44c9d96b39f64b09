use std::collections::HashMap;

use futures_util::FutureExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    PostgresStore,
    connection::Session,
    conversations,
    error::{Problem, stored},
    replies::micros,
    writer::Saying,
};
use crate::{
    model::{ConversationId, Message, MessageId, MessageText, NewMessage, Role, Timestamp, fold},
    store::{Claimant, Result},
};

pub(super) async fn append(
    store: &PostgresStore,
    new: NewMessage,
    claimant: Option<Claimant>,
) -> Result<Option<Message>> {
    let folded = folded(&new.text);
    store
        .writer
        .say(Saying {
            new,
            folded,
            answers: None,
            claimant,
        })
        .await
}

pub(super) fn folded(text: &MessageText) -> Option<String> {
    match fold(text.as_str()) {
        folded if folded == text.as_str() => None,
        folded => Some(folded.into_owned()),
    }
}

/// Appends messages and answers in one statement. Gives the dates of those that found a place: that have a
/// conversation and, if they answer, still hold their lease.
pub(super) async fn append_all(
    db: &Session,
    sayings: &[&Saying],
    trusts_caller: bool,
) -> Result<HashMap<Uuid, Timestamp>, Problem> {
    let ids: Vec<_> = sayings.iter().map(|saying| saying.new.id.as_uuid()).collect();
    let conversations: Vec<_> = sayings
        .iter()
        .map(|saying| saying.new.conversation.as_uuid())
        .collect();
    let roles: Vec<_> = sayings.iter().map(|saying| saying.new.role.as_str()).collect();
    let dates: Vec<_> = sayings.iter().map(|saying| saying.new.now.as_micros()).collect();
    let texts: Vec<_> = sayings.iter().map(|saying| saying.new.text.as_str()).collect();
    let folded: Vec<_> = sayings.iter().map(|saying| saying.folded.as_deref()).collect();
    let answered: Vec<_> = sayings
        .iter()
        .map(|saying| saying.answers.map(|lease| lease.message.as_uuid()))
        .collect();
    let tokens: Vec<_> = sayings
        .iter()
        .map(|saying| saying.answers.map(|lease| lease.token))
        .collect();
    let leases: Vec<_> = sayings
        .iter()
        .map(|saying| saying.claimant.as_ref().map(|claimant| micros(claimant.lease())))
        .collect();
    let placed = db
        .rows(
            include_str!("append.sql"),
            &[
                &ids,
                &conversations,
                &roles,
                &dates,
                &texts,
                &folded,
                &answered,
                &tokens,
                &trusts_caller,
                &leases,
            ],
        )
        .await?;
    dates_of(&placed)
}

/// The dates of those of these messages that exist.
pub(super) async fn dates(db: &Session, ids: &[Uuid]) -> Result<HashMap<Uuid, Timestamp>, Problem> {
    let found = db
        .rows(
            "-- append_message, finish_reply: when it is unknown what became of them
             SELECT id, created_at FROM messages WHERE id = ANY ($1)",
            &[&ids],
        )
        .await?;
    dates_of(&found)
}

fn dates_of(rows: &[Row]) -> Result<HashMap<Uuid, Timestamp>, Problem> {
    let dates = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, Timestamp::from_micros(row.try_get(1)?))));
    dates.collect()
}

pub(super) async fn read(
    store: &PostgresStore,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Option<Message>> {
    let row = store
        .readers
        .row(
            "-- message
             SELECT id, role, text, created_at, updated_at FROM messages
             WHERE id = $1 AND conversation_id = $2 AND EXISTS (SELECT FROM conversations WHERE id = $2)",
            &[&id.as_uuid(), &conversation.as_uuid()],
        )
        .await?;
    Ok(row.map(|row| from_row(conversation, &row)).transpose()?)
}

pub(super) async fn delete(
    store: &PostgresStore,
    conversation: ConversationId,
    id: MessageId,
    now: Timestamp,
) -> Result<bool> {
    store
        .writer
        .write(move |db| db.transaction(delete_in(db, conversation, id, now)).boxed())
        .await
}

async fn delete_in(
    db: &Session,
    conversation: ConversationId,
    id: MessageId,
    now: Timestamp,
) -> Result<bool, Problem> {
    if !conversations::lock(db, conversation).await? {
        return Ok(false);
    }
    let deleted = db
        .execute(
            "-- delete_message: a user message takes its reply with it; the answer to it stays.
             WITH deleted AS (
                 DELETE FROM messages WHERE id = $1 AND conversation_id = $2 RETURNING role
             )
             UPDATE conversations
             SET user_count = user_count - (role = 'user')::int,
                 assistant_count = assistant_count - (role = 'assistant')::int, updated_at = greatest(updated_at, $3)
             FROM deleted
             WHERE conversations.id = $2",
            &[&id.as_uuid(), &conversation.as_uuid(), &now.as_micros()],
        )
        .await?;
    Ok(deleted == 1)
}

/// Reads `id, role, text, created_at, updated_at`, the first columns of every statement that reads messages.
pub(super) fn from_row(conversation: ConversationId, row: &Row) -> Result<Message, Problem> {
    Ok(Message {
        id: MessageId::new(row.try_get(0)?),
        conversation,
        role: stored(Role::parse(row.try_get(1)?), "messages", "role")?,
        text: MessageText::from_stored(row.try_get(2)?),
        created: Timestamp::from_micros(row.try_get(3)?),
        updated: Timestamp::from_micros(row.try_get(4)?),
    })
}
