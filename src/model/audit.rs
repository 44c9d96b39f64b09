//! What happens around keys, to be told later.

use std::fmt;

use uuid::Uuid;

use super::{KeyId, Timestamp};

/// What happened around keys, for those who look into it later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its own identifier.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Audited,
    /// The key that it is about, where one is known.
    pub key: Option<KeyId>,
    /// Who did it.
    pub by: Actor,
    /// Where it came from, where that is known.
    pub address: Option<String>,
    /// How often, where many are told as one.
    pub count: u32,
}

/// What can happen around keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audited {
    /// A key was made.
    Created,
    /// A key was made to take another's place.
    Rotated,
    /// A key was taken back.
    Revoked,
    /// Somebody came with credentials that open nothing.
    Refused,
    /// Somebody used a key for what it may not do.
    Forbidden,
    /// The service let in the key that everybody knows.
    DefaultKey,
}

impl Audited {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::Rotated,
        Self::Revoked,
        Self::Refused,
        Self::Forbidden,
        Self::DefaultKey,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "key.created",
            Self::Rotated => "key.rotated",
            Self::Revoked => "key.revoked",
            Self::Refused => "login.refused",
            Self::Forbidden => "scope.refused",
            Self::DefaultKey => "default_key.used",
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.as_str() == name)
    }
}

/// Who does something to keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Somebody at the command line.
    CommandLine,
    /// Somebody with the key of the configuration.
    Operator,
    /// Somebody with this key.
    Key(KeyId),
    /// Somebody without any.
    Anonymous,
    /// The service by itself.
    Service,
}

impl Actor {
    /// The holder of a key of this owner's line that is this one.
    pub const fn holding(key: Option<KeyId>) -> Self {
        match key {
            Some(key) => Self::Key(key),
            None => Self::Operator,
        }
    }

    /// From what [`Actor`]'s `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "cli" => Some(Self::CommandLine),
            "operator" => Some(Self::Operator),
            "anonymous" => Some(Self::Anonymous),
            "service" => Some(Self::Service),
            id => KeyId::parse(id).map(Self::Key),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("cli"),
            Self::Operator => f.write_str("operator"),
            Self::Key(id) => fmt::Display::fmt(id, f),
            Self::Anonymous => f.write_str("anonymous"),
            Self::Service => f.write_str("service"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_read_as_they_were_written() {
        let key = KeyId::from_number(7);
        for actor in [
            Actor::CommandLine,
            Actor::Operator,
            Actor::Key(key),
            Actor::Anonymous,
            Actor::Service,
        ] {
            assert_eq!(Actor::parse(&actor.to_string()), Some(actor));
        }
    }
}
