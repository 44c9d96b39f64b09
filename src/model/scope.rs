//! What keys may do.

use std::fmt;

/// One thing that a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Create conversations and change them.
    ConversationsWrite,
    /// Create messages; cancel and retry replies.
    MessagesWrite,
    /// Delete conversations and messages.
    Delete,
    /// Read, where reads need a key.
    Read,
    /// Make, list, revoke and rotate keys.
    KeysAdmin,
    /// Read the metrics.
    MetricsRead,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ConversationsWrite,
        Self::MessagesWrite,
        Self::Delete,
        Self::Read,
        Self::KeysAdmin,
        Self::MetricsRead,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConversationsWrite => "conversations:write",
            Self::MessagesWrite => "messages:write",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::KeysAdmin => "keys:admin",
            Self::MetricsRead => "metrics:read",
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a key may do.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// What a chat client needs: everything but keys and metrics.
    pub const USUAL: Self = Self(
        Scope::ConversationsWrite.bit()
            | Scope::MessagesWrite.bit()
            | Scope::Delete.bit()
            | Scope::Read.bit(),
    );

    /// Whether this is among them.
    pub const fn contain(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether there are none.
    pub const fn are_none(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contain(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { " " }, scope.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_set_and_have_names() {
        let scopes: Scopes = [Scope::Read, Scope::Delete, Scope::Read].into_iter().collect();
        assert_eq!(scopes.to_string(), "delete read");
        assert!(scopes.contain(Scope::Delete));
        assert!(!scopes.contain(Scope::KeysAdmin));
        assert_eq!(Scope::ALL.into_iter().collect::<Scopes>(), Scopes::ALL);
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert!(!Scopes::USUAL.contain(Scope::KeysAdmin));
    }
}
