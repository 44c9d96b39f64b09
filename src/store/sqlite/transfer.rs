//! Giving conversations away, and taking them in, beside a server that may be running.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, Row, TransactionBehavior, params_from_iter};

use super::{
    connection, conversations, keys, messages, migrations,
    open::{self, OpenError, ServerLock},
    tables,
};
use crate::{
    clock::Stopwatch,
    model::{
        Conversation, ConversationId, Description, Failure, MessageId, MovedConversation, Timestamp, Title,
    },
    store::{
        Error, Result,
        export::{AT_ONCE, AttemptRow, ExportStore, MessagePortion, PORTION, PORTION_BYTES, ReplyRow},
        import::{Cast, ImportStore, Standing},
        schema,
    },
};

/// How long a write waits for a server's.
const BUSY: Duration = Duration::from_secs(30);

/// Much is added that lies far apart in the indexes.
const CACHE: &str = "PRAGMA cache_size = -131072";

/// Rows that are removed in one transaction.
const REMOVED_AT_ONCE: usize = 2_000;

/// A file whose conversations are given away, or that takes some in.
pub struct SqliteTransfer {
    db: Arc<Mutex<Connection>>,
    /// Held where no server runs; none starts then until this ends.
    lock: Option<ServerLock>,
}

impl SqliteTransfer {
    /// Opens the database to read it.
    pub fn to_read(path: &Path) -> Result<Self, OpenError> {
        let path = open::existing(path)?;
        let db = open::ours(&path, connection::reading(&path, BUSY))?;
        schema::refuse_other(&migrations::status(&db)?).map_err(OpenError::OtherSchema)?;
        open::refuse_unfinished_in(&db)?;
        Ok(Self {
            db: Arc::new(Mutex::new(db)),
            lock: None,
        })
    }

    /// Opens the database to see what would come of filling it. One that is missing is as good as an empty one, which is
    /// in memory.
    pub fn to_try(path: &Path) -> Result<Self, OpenError> {
        match Self::to_read(path) {
            Err(OpenError::Missing(_)) => {}
            opened => return opened,
        }
        let mut db = Connection::open_in_memory()?;
        migrations::apply(&mut db)?;
        Ok(Self {
            db: Arc::new(Mutex::new(db)),
            lock: None,
        })
    }

    /// Opens the database to fill it, and creates it if it is missing.
    pub fn to_fill(path: &Path) -> Result<Self, OpenError> {
        let lock = match ServerLock::take(path) {
            Ok(lock) => Some(lock),
            Err(OpenError::InUse(_)) => None,
            Err(error) => return Err(error),
        };
        open::migrate(path)?;
        let db = connection::writing(&open::resolve(path)?, BUSY)?;
        open::refuse_unfinished_in(&db)?;
        db.execute_batch(CACHE)?;
        Ok(Self {
            db: Arc::new(Mutex::new(db)),
            lock,
        })
    }

    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let db = Arc::clone(&self.db);
        let run = move || work(&mut db.lock().unwrap_or_else(PoisonError::into_inner));
        let ran = tokio::task::spawn_blocking(run).await;
        ran.map_err(|cause| Error::Other(cause.into()))?
    }

    /// Runs work in a transaction of its own. Beside a server, it rests for as long as that took: others find the lock
    /// free, however they look for it.
    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (written, took) = self
            .run(move |db| {
                let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let watch = Stopwatch::start();
                let done = work(&tx)?;
                tx.commit()?;
                Ok((done, watch.elapsed()))
            })
            .await?;
        if self.lock.is_none() {
            tokio::time::sleep(took).await;
        }
        Ok(written)
    }
}

#[async_trait]
impl ExportStore for SqliteTransfer {
    async fn conversations(&self, after: Option<ConversationId>) -> Result<Vec<MovedConversation>> {
        self.run(move |db| {
            if !db.is_autocommit() {
                db.execute_batch("COMMIT")?;
            }
            db.execute_batch("BEGIN")?;
            let after = after
                .as_ref()
                .map_or([].as_slice(), |id| id.as_bytes().as_slice());
            // export
            let mut select = db.prepare_cached(
                "SELECT id, title, description, created_at, updated_at, owner_id FROM conversations
                 WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?;
            let mut rows = select.query((after, AT_ONCE))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let id = ConversationId::from(row.get::<_, [u8; 16]>(0)?);
                found.push(MovedConversation {
                    conversation: Conversation {
                        id,
                        title: row.get::<_, Option<String>>(1)?.map(Title::from_stored),
                        description: Description::from_stored(row.get(2)?),
                        created: Timestamp::from_micros(row.get(3)?),
                        updated: Timestamp::from_micros(row.get(4)?),
                    },
                    owner: keys::owner(row, 5)?,
                    options: conversations::options_in(db, id)?,
                });
            }
            Ok(found)
        })
        .await
    }

    async fn messages(&self, conversation: ConversationId, after: u64) -> Result<MessagePortion> {
        self.run(move |db| portion(db, conversation, after)).await
    }

    async fn close(self: Box<Self>) {
        // What is left in the log is found by whoever opens the database next.
        let _ = self
            .run(|db| {
                if !db.is_autocommit() {
                    db.execute_batch("ROLLBACK")?;
                }
                Ok(())
            })
            .await;
    }
}

fn portion(db: &Connection, conversation: ConversationId, after: u64) -> Result<MessagePortion> {
    // export, import
    let mut select = db.prepare_cached(
        "SELECT messages.id, role, messages.text, messages.created_at, messages.updated_at, seq, status, attempts,
                replies.error_code, replies.error_message, replies.created_at, started_at, finished_at, options, account,
                tries, finish, truncated, (SELECT id FROM messages AS answer WHERE answer.reply_to = messages.id)
         FROM messages LEFT JOIN replies ON replies.message_id = messages.id
              LEFT JOIN events ON events.conversation_id = ?1 AND number = final_event AND final_event > 0
         WHERE messages.conversation_id = ?1 AND seq > ?2
         ORDER BY seq",
    )?;
    let mut rows = select.query((conversation.as_bytes(), after))?;
    let mut portion = MessagePortion::default();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let message = messages::from_row(conversation, row)?;
        bytes += message.text.as_str().len();
        let reply = reply(row)?;
        portion.add(message, reply, |id| attempts(db, id))?;
        if portion.messages.len() >= PORTION || bytes >= PORTION_BYTES {
            portion.next = Some(row.get(5)?);
            break;
        }
    }
    Ok(portion)
}

fn reply(row: &Row<'_>) -> Result<Option<ReplyRow>> {
    let Some(status) = row.get(6)? else {
        return Ok(None);
    };
    Ok(Some(ReplyRow {
        status,
        attempts: row.get(7)?,
        failure: failure(row, 8)?,
        created: Timestamp::from_micros(row.get(10)?),
        started: row.get::<_, Option<i64>>(11)?.map(Timestamp::from_micros),
        finished: row.get::<_, Option<i64>>(12)?.map(Timestamp::from_micros),
        options: row.get(13)?,
        account: row.get(14)?,
        tries: row.get(15)?,
        finish: row.get(16)?,
        truncated: row.get::<_, Option<bool>>(17)?.unwrap_or(false),
        answer: row.get::<_, Option<[u8; 16]>>(18)?.map(MessageId::from),
    }))
}

fn failure(row: &Row<'_>, at: usize) -> Result<Option<Failure>> {
    let code: Option<String> = row.get(at)?;
    let message: Option<String> = row.get(at + 1)?;
    Ok(code.map(|code| Failure::new(code, message.unwrap_or_default())))
}

fn attempts(db: &Connection, message: MessageId) -> Result<Vec<AttemptRow>> {
    // export
    let mut select = db.prepare_cached(
        "SELECT number, status, answer_id, text, error_code, error_message, account, started_at, finished_at
         FROM reply_attempts WHERE message_id = ? ORDER BY number",
    )?;
    let mut rows = select.query([message.as_bytes()])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        attempts.push(AttemptRow {
            number: row.get(0)?,
            status: row.get(1)?,
            answer: row.get::<_, Option<[u8; 16]>>(2)?.map(MessageId::from),
            text: row.get(3)?,
            failure: failure(row, 4)?,
            account: row.get(6)?,
            started: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_micros),
            finished: Timestamp::from_micros(row.get(8)?),
        });
    }
    Ok(attempts)
}

#[async_trait]
impl ImportStore for SqliteTransfer {
    async fn standing(&self, ids: Vec<ConversationId>) -> Result<Vec<(ConversationId, Standing)>> {
        self.run(move |db| {
            // import
            let mut select = db.prepare_cached(
                "SELECT EXISTS (SELECT * FROM conversations WHERE id = ?1),
                        EXISTS (SELECT * FROM messages WHERE conversation_id = ?1)
                        OR EXISTS (SELECT * FROM events WHERE conversation_id = ?1)",
            )?;
            let mut standing = Vec::new();
            for id in ids {
                let (is_there, remains) =
                    select.query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
                match (is_there, remains) {
                    (true, _) => standing.push((id, Standing::There)),
                    (false, true) => standing.push((id, Standing::Remains)),
                    (false, false) => {}
                }
            }
            Ok(standing)
        })
        .await
    }

    async fn add(&self, casts: Arc<Vec<Cast>>) -> Result<()> {
        self.write(move |db| {
            for cast in casts.iter() {
                for (table, rows) in cast.tables().filter(|(_, rows)| !rows.is_empty()) {
                    let mut insert = db.prepare_cached(tables::insert(table))?;
                    for row in rows {
                        insert.execute(params_from_iter(row))?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn clear(&self, id: ConversationId) -> Result<()> {
        loop {
            let removed = self
                .write(move |db| {
                    // import: a conversation that is there keeps everything
                    let messages = db
                        .prepare_cached(
                            "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE conversation_id = ?1
                                    AND NOT EXISTS (SELECT * FROM conversations WHERE id = ?1) LIMIT ?2)",
                        )?
                        .execute((id.as_bytes(), REMOVED_AT_ONCE))?;
                    let events = db
                        .prepare_cached(
                            "DELETE FROM events WHERE conversation_id = ?1
                                    AND number IN (SELECT number FROM events WHERE conversation_id = ?1
                                    AND NOT EXISTS (SELECT * FROM conversations WHERE id = ?1) LIMIT ?2)",
                        )?
                        .execute((id.as_bytes(), REMOVED_AT_ONCE))?;
                    if messages + events == 0 {
                        db.prepare_cached("DELETE FROM purges WHERE conversation_id = ?")?
                            .execute([id.as_bytes()])?;
                    }
                    Ok(messages + events)
                })
                .await?;
            if removed == 0 {
                return Ok(());
            }
        }
    }
}
