//! Moving everything from one database to another, in words that both understand.
//!
//! Whatever is kept is a row of one of eleven tables, and each table has an order that needs no database: by its key,
//! byte by byte. A copy adds rows in that order, so that what a target holds is always a beginning of the source, and
//! its last row says where to go on. Two databases hold the same if they give the same [`Fingerprint`] for each table.
//!
//! `app::copy` does it; the adapters' `copy` modules read and write.

mod tables;

use std::fmt;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub use tables::{Column, Kind, Table};

use super::Result;
use crate::model::Timestamp;

/// The most rows that are read or added at once, in one transaction.
pub const BATCH_ROWS: usize = 4_000;

/// As soon as a batch has this many bytes of text it is large enough: memory must not grow with what people write.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;

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
}
