//! Removes what deleted conversations left behind, some at a time.
//!
//! Nobody can read it any more: every read goes through the conversation's own row, which is gone.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{sync::Notify, time::timeout};

use super::{connection::Session, desk::Desk, error::Problem};
use crate::{model::ConversationId, shutdown::Shutdown, store::Result};

/// Messages, and events, removed in one transaction.
const AT_ONCE: i64 = 1_000;

/// How often to look for what a node left behind that is gone.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Remembers a conversation whose messages are to be removed.
pub(super) async fn schedule(db: &Session, conversation: ConversationId) -> Result<(), Problem> {
    db.execute(
        "-- delete_conversation: remembered until all is removed
         INSERT INTO purges (conversation_id) VALUES ($1)",
        &[&conversation.as_uuid()],
    )
    .await?;
    Ok(())
}

/// Removes, whenever it is `due` and now and then, until the tasks are asked to end.
pub(super) async fn run(desk: Desk, due: Arc<Notify>, tasks: Shutdown) {
    while !tasks.has_begun() {
        match desk.run(|db| step(db).boxed()).await {
            Ok(true) => continue,
            Ok(false) => {}
            // It is left to the next look.
            Err(error) => tracing::warn!(%error, "removing what deletions have left failed"),
        }
        tokio::select! {
            () = tasks.begun() => return,
            _ = timeout(LOOK_EVERY, due.notified()) => {}
        }
    }
}

/// Messages that belong to no conversation, and that nobody is about to remove: there can be none.
pub(super) async fn strays(db: &Session) -> Result<Option<String>, Problem> {
    let known = db.row("SELECT to_regclass('purges') IS NOT NULL", &[]).await?;
    if !known.map_or(Ok(false), |row| row.try_get(0))? {
        // Before there were purges, a foreign key saw to it.
        return Ok(None);
    }
    let row = db
        .row(
            "SELECT count(*) FROM messages
             WHERE NOT EXISTS (SELECT FROM conversations WHERE id = conversation_id)
                   AND NOT EXISTS (SELECT FROM purges WHERE purges.conversation_id = messages.conversation_id)",
            &[],
        )
        .await?;
    let strays: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    Ok((strays > 0).then(|| format!("{strays} messages belong to no conversation")))
}

/// Removes some, unless another node is at it; whether there may be more.
async fn step(db: &Session) -> Result<bool, Problem> {
    let row = db
        .row(
            "-- purge: a user message takes its reply with it
             WITH mine AS MATERIALIZED (
                 SELECT conversation_id FROM purges ORDER BY conversation_id LIMIT 1 FOR UPDATE SKIP LOCKED
             ), portion AS MATERIALIZED (
                 SELECT id FROM messages WHERE conversation_id = (SELECT conversation_id FROM mine) LIMIT $1
             ), removed AS (
                 DELETE FROM messages USING portion WHERE messages.id = portion.id RETURNING 1
             ), past AS MATERIALIZED (
                 SELECT conversation_id, number FROM events
                 WHERE conversation_id = (SELECT conversation_id FROM mine) ORDER BY number LIMIT $1
             ), forgotten AS (
                 DELETE FROM events USING past
                 WHERE events.conversation_id = past.conversation_id AND events.number = past.number
             ), done AS (
                 DELETE FROM purges USING mine
                 WHERE purges.conversation_id = mine.conversation_id
                       AND NOT EXISTS (SELECT FROM portion) AND NOT EXISTS (SELECT FROM past)
             )
             SELECT EXISTS (SELECT FROM mine), (SELECT count(*) FROM removed)",
            &[&AT_ONCE],
        )
        .await?;
    match row {
        Some(row) => Ok(row.try_get(0)?),
        None => Ok(false),
    }
}
