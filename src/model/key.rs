//! API keys: what is known of one, and what it may do. The key itself is nowhere here: only its digest is kept.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use uuid::Uuid;

use super::{Scopes, Timestamp, base62, trim};

/// A key's public name: twelve letters and digits. Safe to log, and no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u128);

impl KeyId {
    /// How long one is, in characters.
    pub const LENGTH: usize = 12;

    /// One of as many as there are names, chosen by this number.
    pub const fn from_number(number: u128) -> Self {
        const NAMES: u128 = 62_u128.pow(12);
        Self(number % NAMES)
    }

    /// Reads twelve letters and digits; `None` for everything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != Self::LENGTH {
            return None;
        }
        base62::decode(text).map(Self)
    }

    /// As databases keep it.
    pub const fn as_uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }

    /// From what [`KeyId::as_uuid`] gave; `None` for what it cannot have given.
    pub fn from_uuid(uuid: Uuid) -> Option<Self> {
        let id = Self(uuid.as_u128());
        (Self::from_number(id.0) == id).then_some(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base62::encode(self.0, Self::LENGTH))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whose something is. A key that takes the place of another has the same owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Owner(Option<KeyId>);

impl Owner {
    /// Who runs the service: the key of its configuration, and all that was made before keys were told apart.
    pub const OPERATOR: Self = Self(None);

    /// The line of keys that began with this one.
    pub const fn of(first: KeyId) -> Self {
        Self(Some(first))
    }

    /// The first key of the line, unless it is the operator.
    pub const fn first_key(self) -> Option<KeyId> {
        self.0
    }
}

/// Where a key is meant to be used. Production takes no test keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// For real.
    Live,
    /// For trying things out.
    Test,
}

impl Environment {
    /// Its name, as keys and databases have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Live, Self::Test]
            .into_iter()
            .find(|environment| environment.as_str() == name)
    }
}

/// How much a key may do; `None` where the service's own limits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyLimits {
    /// Requests in a second.
    pub requests_per_s: Option<NonZeroU32>,
    /// Messages created in a minute.
    pub messages_per_min: Option<NonZeroU32>,
    /// Unfinished replies at once.
    pub pending_replies: Option<NonZeroU32>,
    /// Tokens, read and written by models, in a day (UTC).
    pub tokens_per_day: Option<NonZeroU64>,
}

impl KeyLimits {
    /// These limits, completed by others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            requests_per_s: self.requests_per_s.or(others.requests_per_s),
            messages_per_min: self.messages_per_min.or(others.messages_per_min),
            pending_replies: self.pending_replies.or(others.pending_replies),
            tokens_per_day: self.tokens_per_day.or(others.tokens_per_day),
        }
    }
}

/// What people call a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

impl KeyName {
    /// The limit, in Unicode code points after trimming.
    pub const MAX: usize = 100;

    /// Trims; `None` for what is blank, longer than [`KeyName::MAX`], or would not stay on its line.
    pub fn parse(raw: &str) -> Option<Self> {
        let name = trim(raw);
        let fits =
            !name.is_empty() && name.chars().count() <= Self::MAX && !name.chars().any(char::is_control);
        fits.then(|| Self(name.to_owned()))
    }

    /// Takes a name back from a database that only ever got checked ones.
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of a key's secret. The secret has 256 bits of chance, so nothing slower is needed (OWASP ASVS 6.5.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// From its bytes.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest")
    }
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public name.
    pub id: KeyId,
    /// Whose it is.
    pub owner: Owner,
    /// Where it is meant to be used.
    pub environment: Environment,
    /// What people call it.
    pub name: KeyName,
    /// By which its secret is known.
    pub digest: KeyDigest,
    /// What it may do.
    pub scopes: Scopes,
    /// How much.
    pub limits: KeyLimits,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it opens nothing.
    pub expires: Option<Timestamp>,
    /// When somebody took it back.
    pub revoked: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used: Option<Timestamp>,
}

impl ApiKey {
    /// What becomes of it by itself or was done to it.
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked.is_some() {
            KeyState::Revoked
        } else if self.expires.is_some_and(|expires| expires <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }
}

/// Whether a key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

impl KeyState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// What came of making a key that takes another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// The new one.
    Made(ApiKey),
    /// There is no such key.
    NoKey,
    /// It opens nothing any more, so there is nothing to take over.
    NotActive,
}

/// A key that is to take another's place; what it may do and whose it is, it takes over.
#[derive(Debug, Clone)]
pub struct Successor {
    /// Its public name.
    pub id: KeyId,
    /// By which its secret is known.
    pub digest: KeyDigest,
    /// How long the other one goes on opening things.
    pub overlap: Duration,
    /// From when on the new one opens nothing.
    pub expires: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

impl Successor {
    /// The key that takes this one's place; `None` when it opens nothing any more.
    pub fn of(&self, key: &ApiKey) -> Option<ApiKey> {
        (key.state(self.now) == KeyState::Active).then(|| ApiKey {
            id: self.id,
            owner: key.owner,
            environment: key.environment,
            name: key.name.clone(),
            digest: self.digest,
            scopes: key.scopes,
            limits: key.limits,
            created: self.now,
            expires: self.expires,
            revoked: None,
            last_used: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_twelve_letters_and_digits_in_both_directions() {
        for number in [0, 61, 62, 62_u128.pow(12) - 1] {
            let id = KeyId::from_number(number);
            let text = id.to_string();
            assert_eq!(text.len(), KeyId::LENGTH);
            assert_eq!(KeyId::parse(&text), Some(id));
            assert_eq!(KeyId::from_uuid(id.as_uuid()), Some(id));
        }
        for other in ["", "00000000000", "0000000000000", "00000000000-", "0000000000é"] {
            assert_eq!(KeyId::parse(other), None, "{other}");
        }
        assert_eq!(KeyId::from_uuid(Uuid::from_u128(62_u128.pow(12))), None);
    }

    #[test]
    fn names_stay_on_their_line() {
        assert_eq!(
            KeyName::parse("  web app ").as_ref().map(KeyName::as_str),
            Some("web app")
        );
        for bad in ["", "  ", "a\nb", "a\u{1b}[2J", &"x".repeat(101)] {
            assert_eq!(KeyName::parse(bad), None, "{bad:?}");
        }
    }
}
