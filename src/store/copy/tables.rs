//! What is kept: the tables, their columns and their orders.

use uuid::Uuid;

use super::{Place, Value};

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
    /// API keys, by id.
    Keys,
    /// What happened around keys, by the entry's own id.
    Audit,
    /// What owners spent, by owner and day.
    Usage,
    /// Requests that were carried out, by the id of their mark.
    Requests,
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

impl Table {
    /// All of them, in the order in which they are copied.
    pub const ALL: [Self; 11] = [
        Self::Conversations,
        Self::Options,
        Self::Messages,
        Self::Replies,
        Self::Attempts,
        Self::Events,
        Self::Purges,
        Self::Keys,
        Self::Audit,
        Self::Usage,
        Self::Requests,
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
            Self::Keys => "api_keys",
            Self::Audit => "key_audit",
            Self::Usage => "key_usage",
            Self::Requests => "idempotency",
        }
    }

    /// Every column that it has in every database, its key in front.
    #[expect(clippy::too_many_lines, reason = "a line for each column")]
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
                ("owner_id", Id),
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
                ("owner_id", Id),
                ("trace", Text),
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
            Self::Keys => &[
                ("id", Id),
                ("owner_id", Id),
                ("environment", Text),
                ("name", Text),
                ("digest", Text),
                ("scopes", Text),
                ("requests_per_s", Integer),
                ("messages_per_min", Integer),
                ("pending_replies", Integer),
                ("tokens_per_day", Integer),
                ("created_at", Integer),
                ("expires_at", Integer),
                ("revoked_at", Integer),
                ("last_used_at", Integer),
                ("changed", Integer),
            ],
            Self::Audit => &[
                ("id", Id),
                ("at", Integer),
                ("event", Text),
                ("key_id", Id),
                ("actor", Text),
                ("address", Text),
                ("count", Integer),
            ],
            Self::Usage => &[("owner_id", Id), ("day", Integer), ("tokens", Integer)],
            Self::Requests => &[
                ("id", Id),
                ("fingerprint", Id),
                ("created_at", Integer),
                ("answer", Text),
            ],
        }
    }

    /// Columns that a database has for itself: their values are its own affair, and differ.
    pub const fn own_columns(self) -> &'static [&'static str] {
        match self {
            // SQLite keeps them in the order of their dates.
            Self::Requests => &["number"],
            _ => &[],
        }
    }

    /// Whether its key has a second part.
    pub const fn is_numbered(self) -> bool {
        matches!(self, Self::Messages | Self::Attempts | Self::Events | Self::Usage)
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

#[cfg(test)]
mod tests {
    use super::*;

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
