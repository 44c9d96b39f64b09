//! The bare commit: the rows of one posted assistant message, durable, in plain `SQLite`: one thread, no channel, no HTTP.

use crate::client::sentence;
use crate::histogram::Histogram;
use anyhow::Result;
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    CREATE TABLE conversations (
        id BLOB PRIMARY KEY,
        title TEXT,
        description TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        last_seq INTEGER NOT NULL,
        user_count INTEGER NOT NULL,
        assistant_count INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE messages (
        id BLOB NOT NULL UNIQUE,
        conversation_id BLOB NOT NULL REFERENCES conversations (id),
        seq INTEGER NOT NULL,
        role TEXT NOT NULL,
        text TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        folded TEXT NOT NULL,
        UNIQUE (conversation_id, seq)
    ) STRICT;";

/// A database that is only written by this program.
pub struct BareCommit {
    database: Connection,
    conversation: Uuid,
    sequence: i64,
}

impl BareCommit {
    /// Makes the database in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let database = Connection::open(dir.join("bare.db"))?;
        database.execute_batch(SCHEMA)?;
        let conversation = Uuid::now_v7();
        database.execute(
            "INSERT INTO conversations VALUES (?1, 'Bare', 'The bare commit', ?2, ?2, 0, 0, 0)",
            params![conversation.as_bytes(), micros()],
        )?;
        Ok(Self {
            database,
            conversation,
            sequence: 0,
        })
    }

    /// Commits messages one by one, at most `count` and for at most `limit`.
    pub fn measure(&mut self, count: u64, limit: Duration) -> Result<Histogram> {
        let mut seen = Histogram::default();
        let start = Instant::now();
        while seen.len() < count && start.elapsed() < limit {
            let text = sentence(self.sequence.unsigned_abs());
            let folded = text.to_lowercase();
            let begin = Instant::now();
            self.commit(&text, &folded)?;
            seen.record(begin.elapsed());
        }
        Ok(seen)
    }

    fn commit(&mut self, text: &str, folded: &str) -> Result<()> {
        let now = micros();
        self.sequence += 1;
        let transaction = self
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction
            .prepare_cached(
                "INSERT INTO messages VALUES (?1, ?2, ?3, 'assistant', ?4, ?5, ?5, ?6)",
            )?
            .execute(params![
                Uuid::now_v7().as_bytes(),
                self.conversation.as_bytes(),
                self.sequence,
                text,
                now,
                folded
            ])?;
        transaction
            .prepare_cached(
                "UPDATE conversations SET updated_at = ?2, last_seq = ?3, assistant_count = assistant_count + 1 WHERE id = ?1",
            )?
            .execute(params![self.conversation.as_bytes(), now, self.sequence])?;
        transaction.commit()?;
        Ok(())
    }
}

fn micros() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Scratch;

    #[test]
    fn each_commit_adds_one_message() -> Result<()> {
        let scratch = Scratch::new(&std::env::temp_dir(), "loadtest-commit")?;
        let mut bare = BareCommit::new(scratch.path())?;
        let seen = bare.measure(5, Duration::from_secs(30))?;
        let rows: i64 = bare
            .database
            .query_row("SELECT count(*) FROM messages", [], |row| row.get(0))?;
        assert_eq!((seen.len(), rows), (5, 5_i64));
        Ok(())
    }
}
