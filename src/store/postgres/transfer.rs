//! Giving conversations away, and taking them in, beside nodes that may be running.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    OpenError, Options,
    connection::Session,
    conversations, copy,
    error::Problem,
    keys::{number, unsigned},
    messages, migrations,
    open::{self, Once, prepare},
    tables,
};
use crate::{
    model::{
        Conversation, ConversationId, Description, Failure, MessageId, MovedConversation, Timestamp, Title,
    },
    store::{
        Result,
        export::{AT_ONCE, AttemptRow, ExportStore, MessagePortion, PORTION, PORTION_BYTES, ReplyRow},
        import::{Cast, ImportStore, Standing, TABLES},
        keys::owner,
        schema,
    },
};

/// Rows that are removed in one transaction.
const REMOVED_AT_ONCE: i64 = 2_000;

const CONVERSATIONS: &str = "-- export: conversations
    SELECT id, title, description, created_at, updated_at, owner_id,
           (SELECT options FROM conversation_options WHERE conversation_id = id) AS options
    FROM conversations WHERE id >= $1
    ORDER BY id LIMIT $2";

/// Messages behind a place ($2), so many ($3), until those in front of one have so many bytes ($4).
const MESSAGES: &str = "-- export, import: messages
    SELECT id, role, text, created_at, updated_at, seq, status, attempts, error_code, error_message, asked_at, started_at,
           finished_at, options, account, tries, finish, truncated, answer_id
    FROM (SELECT messages.id, role, messages.text, messages.created_at, messages.updated_at, seq, status, attempts,
                 replies.error_code, replies.error_message, replies.created_at AS asked_at, started_at, finished_at, options,
                 account, tries, finish, truncated,
                 (SELECT id FROM messages AS answer WHERE answer.reply_to = messages.id) AS answer_id,
                 sum(octet_length(messages.text)) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes
          FROM (SELECT * FROM messages WHERE conversation_id = $1 AND seq > $2 ORDER BY seq LIMIT $3) AS messages
               LEFT JOIN replies ON replies.message_id = messages.id
               LEFT JOIN events ON events.conversation_id = $1 AND number = final_event AND final_event > 0) AS measured
    WHERE coalesce(bytes, 0) < $4
    ORDER BY seq";

const ATTEMPTS: &str = "-- export: earlier tries
    SELECT message_id, number, status, answer_id, text, error_code, error_message, account, started_at, finished_at
    FROM reply_attempts WHERE message_id = ANY ($1) ORDER BY message_id, number";

const STANDING: &str = "-- import: what is there
    SELECT id, EXISTS (SELECT FROM conversations WHERE conversations.id = asked.id),
           EXISTS (SELECT FROM messages WHERE conversation_id = asked.id)
           OR EXISTS (SELECT FROM events WHERE conversation_id = asked.id)
    FROM unnest($1::uuid[]) AS asked (id)";

const CLEAR_MESSAGES: &str = "-- import: what was left; a conversation that is there keeps everything
    DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE conversation_id = $1
           AND NOT EXISTS (SELECT FROM conversations WHERE conversations.id = $1) LIMIT $2)";

const CLEAR_EVENTS: &str = "-- import: what was left
    DELETE FROM events WHERE conversation_id = $1 AND number IN (SELECT number FROM events WHERE conversation_id = $1
           AND NOT EXISTS (SELECT FROM conversations WHERE conversations.id = $1) LIMIT $2)";

/// A database whose conversations are given away, or that takes some in.
pub struct PostgresTransfer {
    once: Mutex<Once>,
    is_reading: bool,
}

impl PostgresTransfer {
    /// Opens the database to read it.
    pub async fn to_read(options: &Options) -> Result<Self, OpenError> {
        let once = Once::connect(options).await?;
        let examined = async {
            open::examine(&once.session, options).await?;
            if !copy::enter(&once.session).await? {
                return Err(OpenError::BeingCopied(once.database.clone()));
            }
            schema::refuse_other(&migrations::status(&once.session).await?)
                .map_err(OpenError::OtherSchema)?;
            open::refuse_unfinished_in(&once.session).await
        };
        if let Err(error) = examined.await {
            once.close().await;
            return Err(error);
        }
        Ok(Self {
            once: Mutex::new(once),
            is_reading: true,
        })
    }

    /// Opens the database to fill it, and brings its schema up to date.
    pub async fn to_fill(options: &Options) -> Result<Self, OpenError> {
        Ok(Self {
            once: Mutex::new(prepare(options).await?),
            is_reading: false,
        })
    }
}

#[async_trait]
impl ExportStore for PostgresTransfer {
    async fn conversations(&self, after: Option<ConversationId>) -> Result<Vec<MovedConversation>> {
        let once = self.once.lock().await;
        let db = &once.session;
        if self.is_reading {
            // A moment ends, and the next begins. Without one, there is nothing to end but a warning.
            db.batch("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await?;
        }
        let Some(from) = after.map_or(Some(0), |id| id.as_uuid().as_u128().checked_add(1)) else {
            return Ok(Vec::new());
        };
        let (from, most) = (Uuid::from_u128(from), number(AT_ONCE as u64));
        let rows = db.rows(CONVERSATIONS, &[&from, &most]).await?;
        rows.iter().map(conversation).collect()
    }

    async fn messages(&self, conversation: ConversationId, after: u64) -> Result<MessagePortion> {
        let once = self.once.lock().await;
        Ok(portion(&once.session, conversation, after).await?)
    }

    async fn close(self: Box<Self>) {
        self.once.into_inner().close().await;
    }
}

fn conversation(row: &Row) -> Result<MovedConversation> {
    let read = || {
        let id: Uuid = row.try_get(0)?;
        let moved = MovedConversation {
            conversation: Conversation {
                id: ConversationId::new(id),
                title: row.try_get::<_, Option<String>>(1)?.map(Title::from_stored),
                description: Description::from_stored(row.try_get(2)?),
                created: Timestamp::from_micros(row.try_get(3)?),
                updated: Timestamp::from_micros(row.try_get(4)?),
            },
            owner: owner(row.try_get(5)?),
            options: conversations::parse_options(row.try_get(6)?)?,
        };
        Ok::<_, Problem>(moved)
    };
    Ok(read()?)
}

async fn portion(db: &Session, conversation: ConversationId, after: u64) -> Result<MessagePortion, Problem> {
    let (id, after) = (conversation.as_uuid(), number(after));
    let (most, bytes) = (number(PORTION as u64), number(PORTION_BYTES as u64));
    let rows = db.rows(MESSAGES, &[&id, &after, &most, &bytes]).await?;
    let tried: Vec<Uuid> = rows
        .iter()
        .filter(|row| {
            row.try_get::<_, Option<i64>>(15)
                .is_ok_and(|tries| tries > Some(0))
        })
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let mut attempts = attempts(db, &tried).await?;
    let mut portion = MessagePortion::default();
    let (mut read, mut last) = (0, 0);
    for row in &rows {
        let message = messages::from_row(conversation, row)?;
        read += message.text.as_str().len();
        last = unsigned(row, 5)?;
        portion.add(message, reply(row)?, |id| {
            Ok(attempts.remove(&id.as_uuid()).unwrap_or_default())
        })?;
    }
    if rows.len() >= PORTION || read >= PORTION_BYTES {
        portion.next = Some(last);
    }
    Ok(portion)
}

fn reply(row: &Row) -> Result<Option<ReplyRow>, Problem> {
    let Some(status) = row.try_get(6)? else {
        return Ok(None);
    };
    Ok(Some(ReplyRow {
        status,
        attempts: small(row, 7)?,
        failure: failure(row, 8)?,
        created: Timestamp::from_micros(row.try_get(10)?),
        started: row.try_get::<_, Option<i64>>(11)?.map(Timestamp::from_micros),
        finished: row.try_get::<_, Option<i64>>(12)?.map(Timestamp::from_micros),
        options: row.try_get(13)?,
        account: row.try_get(14)?,
        tries: small(row, 15)?,
        finish: row.try_get(16)?,
        truncated: row.try_get::<_, Option<i64>>(17)? == Some(1),
        answer: row.try_get::<_, Option<Uuid>>(18)?.map(MessageId::new),
    }))
}

fn small(row: &Row, column: usize) -> Result<u32, Problem> {
    Ok(u32::try_from(unsigned(row, column)?).unwrap_or(u32::MAX))
}

fn failure(row: &Row, at: usize) -> Result<Option<Failure>, Problem> {
    let code: Option<String> = row.try_get(at)?;
    let message: Option<String> = row.try_get(at + 1)?;
    Ok(code.map(|code| Failure::new(code, message.unwrap_or_default())))
}

async fn attempts(db: &Session, messages: &[Uuid]) -> Result<HashMap<Uuid, Vec<AttemptRow>>, Problem> {
    let mut attempts: HashMap<Uuid, Vec<AttemptRow>> = HashMap::new();
    if messages.is_empty() {
        return Ok(attempts);
    }
    for row in &db.rows(ATTEMPTS, &[&messages]).await? {
        attempts.entry(row.try_get(0)?).or_default().push(AttemptRow {
            number: small(row, 1)?,
            status: row.try_get(2)?,
            answer: row.try_get::<_, Option<Uuid>>(3)?.map(MessageId::new),
            text: row.try_get(4)?,
            failure: failure(row, 5)?,
            account: row.try_get(7)?,
            started: row.try_get::<_, Option<i64>>(8)?.map(Timestamp::from_micros),
            finished: Timestamp::from_micros(row.try_get(9)?),
        });
    }
    Ok(attempts)
}

#[async_trait]
impl ImportStore for PostgresTransfer {
    async fn standing(&self, ids: Vec<ConversationId>) -> Result<Vec<(ConversationId, Standing)>> {
        let ids: Vec<Uuid> = ids.iter().map(ConversationId::as_uuid).collect();
        let once = self.once.lock().await;
        let rows = once.session.rows(STANDING, &[&ids]).await?;
        let standing = |row: &Row| {
            let id = ConversationId::new(row.try_get(0)?);
            Ok(match (row.try_get(1)?, row.try_get(2)?) {
                (true, _) => Some((id, Standing::There)),
                (false, true) => Some((id, Standing::Remains)),
                (false, false) => None,
            })
        };
        let found: Result<Vec<_>, Problem> =
            rows.iter().filter_map(|row| standing(row).transpose()).collect();
        Ok(found?)
    }

    async fn add(&self, casts: Arc<Vec<Cast>>) -> Result<()> {
        let once = self.once.lock().await;
        let db = &once.session;
        let added = db.transaction(async {
            for table in TABLES {
                let rows: Vec<_> = casts
                    .iter()
                    .flat_map(Cast::tables)
                    .filter(|(this, _)| *this == table)
                    .flat_map(|(_, rows)| rows.iter().cloned())
                    .collect();
                if rows.is_empty() {
                    continue;
                }
                let columns = copy::pivot(table, rows)?;
                let params: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| &**column as _).collect();
                db.execute(tables::insert(table), &params).await?;
            }
            Ok(())
        });
        Ok(added.await?)
    }

    async fn clear(&self, id: ConversationId) -> Result<()> {
        let once = self.once.lock().await;
        let (db, id) = (&once.session, id.as_uuid());
        loop {
            let removed = db.transaction(async {
                let messages = db.execute(CLEAR_MESSAGES, &[&id, &REMOVED_AT_ONCE]).await?;
                let events = db.execute(CLEAR_EVENTS, &[&id, &REMOVED_AT_ONCE]).await?;
                if messages + events == 0 {
                    db.execute(
                        "-- import: nothing is left to remove
                         DELETE FROM purges WHERE conversation_id = $1",
                        &[&id],
                    )
                    .await?;
                }
                Ok(messages + events)
            });
            if removed.await? == 0 {
                return Ok(());
            }
        }
    }
}
