//! The only place that is random: identifiers and jitter.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use uuid::{NoContext, Uuid};
use zeroize::Zeroizing;

use crate::model::{ConversationId, KeyId, KeyText, MessageId, Timestamp};

/// Makes identifiers: the operating system's randomness, or a test's count.
#[derive(Debug, Clone)]
pub struct IdSource(Source);

#[derive(Debug, Clone)]
enum Source {
    Random,
    Counting(Arc<AtomicU64>),
}

#[expect(clippy::disallowed_methods, reason = "this is the id source")]
impl IdSource {
    /// Unpredictable identifiers, from the operating system's generator.
    pub fn random() -> Self {
        Self(Source::Random)
    }

    /// Identifiers that count up from one, so that tests can show literal values.
    pub fn counting() -> Self {
        Self(Source::Counting(Arc::default()))
    }

    /// A new conversation's identifier: version 4, which carries neither time nor order.
    pub fn conversation(&self) -> ConversationId {
        ConversationId::new(self.counted().unwrap_or_else(Uuid::new_v4))
    }

    /// A new message's identifier: version 7, whose time is that of the message anyway.
    pub fn message(&self, now: Timestamp) -> MessageId {
        MessageId::new(self.counted().unwrap_or_else(|| {
            let micros = u64::try_from(now.as_micros()).unwrap_or(0);
            let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000;
            Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, micros / 1_000_000, nanos))
        }))
    }

    /// A new name for a process that runs.
    pub fn instance(&self) -> Uuid {
        self.counted().unwrap_or_else(Uuid::new_v4)
    }

    /// A new name for a request that may be sent again.
    pub fn request(&self) -> Uuid {
        self.instance()
    }

    /// A new key's public name.
    pub fn key(&self) -> KeyId {
        KeyId::from_number(self.counted().unwrap_or_else(Uuid::new_v4).as_u128())
    }

    /// A new key's secret: 256 bits, from the operating system's generator.
    pub fn key_secret(&self) -> io::Result<SecretString> {
        // More than enough: one byte in 32 is left out.
        let mut chance = Zeroizing::new([0; 128]);
        match self.counted() {
            None => getrandom::fill(chance.as_mut())?,
            Some(count) => chance.fill(count.as_bytes().last().copied().unwrap_or_default()),
        }
        Ok(KeyText::secret_of(chance.iter().copied()).into())
    }

    /// A new audit entry's identifier.
    pub fn entry(&self, now: Timestamp) -> Uuid {
        self.message(now).as_uuid()
    }

    /// A number from 0 up to, not including, 1: spreads out what would otherwise happen at once.
    pub fn jitter(&self) -> f64 {
        match &self.0 {
            Source::Random => f64::from(random_u32()) / (f64::from(u32::MAX) + 1.0),
            Source::Counting(_) => 0.5,
        }
    }

    fn counted(&self) -> Option<Uuid> {
        match &self.0 {
            Source::Random => None,
            Source::Counting(count) => Some(Uuid::from_u64_pair(0, count.fetch_add(1, Ordering::SeqCst) + 1)),
        }
    }
}

/// An identifier made of what names something elsewhere: version 8, always the same of the same parts.
pub fn derived(parts: &[&str]) -> Uuid {
    let mut digest = Sha256::new();
    for part in parts {
        // No two lists of parts give the same bytes.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest: [u8; 32] = digest.finalize().into();
    let mut bytes = [0; 16];
    for (byte, taken) in bytes.iter_mut().zip(digest) {
        *byte = taken;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Names requests: unique within a process, and between processes as far as 32 random bits go.
#[derive(Debug)]
pub struct RequestIds {
    process: u32,
    count: AtomicU64,
}

impl RequestIds {
    /// A new series of names.
    pub fn new() -> Self {
        Self {
            process: random_u32(),
            count: AtomicU64::new(0),
        }
    }

    /// The next name.
    pub fn next(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{:08x}-{count:x}", self.process)
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the id source")]
fn random_u32() -> u32 {
    // The first 32 bits of a version 4 UUID are all random.
    Uuid::new_v4().as_fields().0
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn conversations_get_version_4_and_messages_version_7() {
        let ids = IdSource::random();
        let now = Timestamp::from_micros(1_795_356_930_414_806);
        assert_eq!(ids.conversation().to_string().as_bytes().get(14), Some(&b'4'));
        assert_eq!(ids.message(now).to_string().as_bytes().get(14), Some(&b'7'));
        assert_ne!(ids.message(now), ids.message(now));
    }

    #[test]
    fn secrets_are_long_and_different() {
        let ids = IdSource::random();
        let secret = || ids.key_secret().unwrap().expose_secret().to_owned();
        let (one, other) = (secret(), secret());
        assert_eq!((one.len(), other.len()), (43, 43));
        assert_ne!(one, other);
    }

    #[test]
    fn derived_identifiers_are_the_same_of_the_same_parts_alone() {
        assert_eq!(derived(&["a", "b"]), derived(&["a", "b"]));
        assert_ne!(derived(&["a", "b"]), derived(&["ab"]));
        assert_eq!(derived(&[]).get_version_num(), 8);
    }

    #[test]
    fn jitter_stays_below_one() {
        let ids = IdSource::random();
        assert!(
            (0..1_000)
                .map(|_| ids.jitter())
                .all(|jitter| (0.0..1.0).contains(&jitter))
        );
    }
}
