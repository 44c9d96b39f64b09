//! Moving everything from one database to another, in words that both understand.
//!
//! Whatever is kept is a row of one of seven tables, and each table has an order that needs no database: by its key,
//! byte by byte. A copy adds rows in that order, so that what a target holds is always a beginning of the source, and
//! its last row says where to go on. Two databases hold the same if they give the same [`Fingerprint`] for each table.
//!
//! `app::copy` does it; the adapters' `copy` modules read and write.

use std::fmt;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Result;
use crate::model::Timestamp;

/// The most rows that are read or added at once, in one transaction.
pub const BATCH_ROWS: usize = 4_000;

/// As soon as a batch has this many bytes of text it is large enough: memory must not grow with what people write.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What is kept, in the order in which it is copied: what others refer to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Conversations, by id.
    Conversations,
    /// What conversations want of their replies, by conversation.
    Options,
    /// Messages, by conversation and `seq`: an answer comes after what it answers.
    Messages,
    /// Replies in every state, by message. One that is running keeps its lease: it runs out, and the reply is taken
    /// back as it would have been at the source.
    Replies,
    /// Earlier tries at replies, by message and number.
    Attempts,
    /// What happened, by conversation and number.
    Events,
    /// Deleted conversations whose messages are still to be removed, by id.
    Purges,
}

/// What a column holds. Each may also hold nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 16 bytes.
    Id,
    /// A number, or a time in microseconds.
    Integer,
    /// A text.
    Text,
}

/// A column's name and what it holds.
pub type Column = (&'static str, Kind);

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// 16 bytes.
    Id(Uuid),
    /// A number.
    Integer(i64),
    /// A text.
    Text(String),
}

/// The values of a row, in the order of [`Table::columns`].
pub type Row = Vec<Value>;

/// A place in a table's order: that of a row, or between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The first part of the key.
    pub id: Uuid,
    /// The second part, in tables whose key has one.
    pub seq: i64,
}

impl Table {
    /// All of them, in the order in which they are copied.
    pub const ALL: [Self; 7] = [
        Self::Conversations,
        Self::Options,
        Self::Messages,
        Self::Replies,
        Self::Attempts,
        Self::Events,
        Self::Purges,
    ];

    /// Its name in every database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conversations => "conversations",
            Self::Options => "conversation_options",
            Self::Messages => "messages",
            Self::Replies => "replies",
            Self::Attempts => "reply_attempts",
            Self::Events => "events",
            Self::Purges => "purges",
        }
    }

    /// Every column that it has, its key in front.
    pub const fn columns(self) -> &'static [Column] {
        use Kind::{Id, Integer, Text};
        match self {
            Self::Conversations => &[
                ("id", Id),
                ("title", Text),
                ("description", Text),
                ("created_at", Integer),
                ("updated_at", Integer),
                ("last_seq", Integer),
                ("user_count", Integer),
                ("assistant_count", Integer),
                ("last_event", Integer),
            ],
            Self::Options => &[("conversation_id", Id), ("options", Text)],
            Self::Messages => &[
                ("conversation_id", Id),
                ("seq", Integer),
                ("id", Id),
                ("role", Text),
                ("created_at", Integer),
                ("updated_at", Integer),
                ("text", Text),
                ("folded", Text),
                ("reply_to", Id),
            ],
            Self::Replies => &[
                ("message_id", Id),
                ("conversation_id", Id),
                ("status", Text),
                ("run_after", Integer),
                ("attempts", Integer),
                ("lost_leases", Integer),
                ("retries", Integer),
                ("lease_token", Integer),
                ("lease_until", Integer),
                ("error_code", Text),
                ("error_message", Text),
                ("created_at", Integer),
                ("started_at", Integer),
                ("finished_at", Integer),
                ("lane", Text),
                ("turn", Integer),
                ("options", Text),
                ("account", Text),
                ("tries", Integer),
                ("queued_event", Integer),
                ("final_event", Integer),
                ("streamed", Integer),
            ],
            Self::Attempts => &[
                ("message_id", Id),
                ("number", Integer),
                ("status", Text),
                ("answer_id", Id),
                ("text", Text),
                ("error_code", Text),
                ("error_message", Text),
                ("account", Text),
                ("started_at", Integer),
                ("finished_at", Integer),
            ],
            Self::Events => &[
                ("conversation_id", Id),
                ("number", Integer),
                ("kind", Text),
                ("at", Integer),
                ("reply_id", Id),
                ("message_id", Id),
                ("replaces_id", Id),
                ("attempt", Integer),
                ("told", Integer),
                ("text", Text),
                ("finish", Text),
                ("truncated", Integer),
                ("error_code", Text),
                ("error_message", Text),
            ],
            Self::Purges => &[("conversation_id", Id)],
        }
    }

    /// Whether its key has a second part.
    pub const fn is_numbered(self) -> bool {
        matches!(self, Self::Messages | Self::Attempts | Self::Events)
    }

    /// The place of a row.
    pub fn place(self, row: &[Value]) -> Option<Place> {
        match row {
            [Value::Id(id), Value::Integer(seq), ..] if self.is_numbered() => {
                Some(Place { id: *id, seq: *seq })
            }
            [Value::Id(id), ..] if !self.is_numbered() => Some(Place { id: *id, seq: 0 }),
            _ => None,
        }
    }

    /// The next place that there can be; `None` at the end of all places.
    pub fn behind(self, place: Place) -> Option<Place> {
        let Place { id, seq } = place;
        if self.is_numbered() {
            return seq.checked_add(1).map(|seq| Place { id, seq });
        }
        Some(Uuid::from_u128(id.as_u128().checked_add(1)?)).map(|id| Place { id, seq: 0 })
    }
}

impl Place {
    /// In front of every row.
    pub const START: Self = Self {
        id: Uuid::nil(),
        seq: 0,
    };
}

impl Value {
    /// About how much room it takes.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 0,
        }
    }
}

/// How many rows a table has, and a checksum over all of them in the order of their keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The number of rows.
    pub rows: u64,
    sha256: [u8; 32],
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, {self}", self.rows)
    }
}

/// Takes a table's fingerprint, row by row.
#[derive(Default)]
pub struct Press {
    rows: u64,
    hash: Sha256,
    bytes: Vec<u8>,
}

impl Press {
    /// Takes the next row.
    pub fn add(&mut self, row: &[Value]) {
        self.rows += 1;
        // Each value says its kind, and a text its length: no two rows make the same bytes.
        self.bytes.clear();
        for value in row {
            match value {
                Value::Null => self.bytes.push(0),
                Value::Id(id) => {
                    self.bytes.push(1);
                    self.bytes.extend(id.as_bytes());
                }
                Value::Integer(number) => {
                    self.bytes.push(2);
                    self.bytes.extend(number.to_be_bytes());
                }
                Value::Text(text) => {
                    self.bytes.push(3);
                    self.bytes.extend((text.len() as u64).to_be_bytes());
                    self.bytes.extend(text.as_bytes());
                }
            }
        }
        self.hash.update(&self.bytes);
    }

    /// How many were taken.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The fingerprint of all that was taken.
    pub fn print(self) -> Fingerprint {
        Fingerprint {
            rows: self.rows,
            sha256: self.hash.finalize().into(),
        }
    }
}

/// What a database says about the last copy into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRecord {
    /// Where from, for people.
    pub source: String,
    /// When it was found to be whole; `None` while it is not.
    pub finished: Option<Timestamp>,
}

/// A database that nobody else uses while this is held.
#[async_trait]
pub trait Archive: Send + Sync {
    /// The name of the database, for people and in [`CopyRecord::source`]: no password.
    fn name(&self) -> &str;

    /// Rows of a table in its order, from this place on: at least one if there is one, at most a batch.
    async fn rows(&self, table: Table, from: Place) -> Result<Vec<Row>>;

    /// How many rows a table has.
    async fn count(&self, table: Table) -> Result<u64>;

    /// What is known of the last copy into this database.
    async fn last_copy(&self) -> Result<Option<CopyRecord>>;

    /// Lets go of the database.
    async fn close(self: Box<Self>);
}

/// A database that is being filled.
#[async_trait]
pub trait Target: Archive {
    /// The place of the last row of a table.
    async fn last(&self, table: Table) -> Result<Option<Place>>;

    /// Adds rows that come after all others of their table, all of them or none.
    async fn add(&self, table: Table, rows: Vec<Row>) -> Result<()>;

    /// Notes that a copy begins: until it is finished, no service starts on this database.
    async fn begin(&self, source: &str, now: Timestamp) -> Result<()>;

    /// Notes that the copy that was begun is whole.
    async fn finish(&self, now: Timestamp) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(rows: &[Row]) -> Fingerprint {
        let mut press = Press::default();
        for row in rows {
            press.add(row);
        }
        press.print()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn whatever_differs_gives_another_fingerprint() {
        let rows = [
            vec![vec![text("ab"), text("c")]],
            vec![vec![text("a"), text("bc")]],
            vec![vec![text("ab"), text("c"), Value::Null]],
            vec![vec![text("ab")], vec![text("c")]],
            vec![vec![text("c")], vec![text("ab")]],
            vec![vec![Value::Integer(0)]],
            vec![vec![Value::Null]],
            vec![vec![Value::Id(Uuid::nil())]],
            vec![vec![text("")]],
            vec![],
        ];
        for (at, one) in rows.iter().enumerate() {
            for (other_at, other) in rows.iter().enumerate() {
                assert_eq!(print(one) == print(other), at == other_at, "{one:?} {other:?}");
            }
        }
        assert!(print(&[]).to_string().starts_with("sha256:e3b0c44298fc1c14"));
    }

    #[test]
    fn behind_a_row_comes_the_next_that_there_can_be() {
        let id = Uuid::from_u128;
        let behind = |table: Table, row: &[Value]| table.place(row).and_then(|place| table.behind(place));
        let message = [Value::Id(id(7)), Value::Integer(3), Value::Null];
        assert_eq!(
            behind(Table::Messages, &message),
            Some(Place { id: id(7), seq: 4 })
        );
        let purge = [Value::Id(id(7))];
        assert_eq!(behind(Table::Purges, &purge), Some(Place { id: id(8), seq: 0 }));
        assert_eq!(behind(Table::Purges, &[Value::Id(Uuid::max())]), None);
    }
}
