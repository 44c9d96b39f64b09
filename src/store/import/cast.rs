//! Rows, and the values in them.

use super::TABLES;
use crate::{
    model::{Account, MessageId, Owner, ReplyOptions, Timestamp},
    store::{
        codec,
        copy::{Row, Table, Value},
    },
};

/// Rows of one conversation that are ready to be added.
#[derive(Debug, Default)]
pub struct Cast {
    tables: [Vec<Row>; TABLES.len()],
    bytes: usize,
}

impl Cast {
    /// The rows, table by table.
    pub fn tables(&self) -> impl Iterator<Item = (Table, &[Row])> {
        TABLES.into_iter().zip(self.tables.iter().map(Vec::as_slice))
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.tables.iter().map(Vec::len).sum()
    }

    /// About how much room they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, table: Table, values: Vec<(&'static str, Value)>) {
        self.bytes += values.iter().map(|(_, value)| value.size()).sum::<usize>();
        let mut values = values;
        let row = table.columns().iter().map(|(name, _)| {
            let at = values.iter().position(|(given, _)| given == name);
            at.map_or(Value::Null, |at| values.swap_remove(at).1)
        });
        let row = row.collect();
        if let Some((_, rows)) = TABLES
            .into_iter()
            .zip(&mut self.tables)
            .find(|(this, _)| *this == table)
        {
            rows.push(row);
        }
    }
}

pub(super) fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn date(date: Timestamp) -> Value {
    Value::Integer(date.as_micros())
}

pub(super) fn text(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.to_owned()))
}

pub(super) fn id(id: Option<MessageId>) -> Value {
    id.map_or(Value::Null, |id| Value::Id(id.as_uuid()))
}

pub(super) fn options(options: &ReplyOptions) -> Value {
    codec::options_to_text(options).map_or(Value::Null, Value::Text)
}

pub(super) fn account(account: &Account) -> Value {
    codec::account_to_text(account).map_or(Value::Null, Value::Text)
}

pub(super) fn owner_column(owner: Owner) -> Value {
    owner
        .first_key()
        .map_or(Value::Null, |key| Value::Id(key.as_uuid()))
}
