//! How keys are written in columns, the same in every database.

use std::num::{NonZeroU32, NonZeroU64};

use uuid::Uuid;

use super::{Error, Result};
use crate::model::{
    Actor, ApiKey, Audited, Environment, KeyDigest, KeyId, KeyLimits, KeyName, Owner, Scope, Scopes,
    Timestamp,
};

const TABLE: &str = "api_keys";

/// A key as its columns hold it.
pub(super) struct KeyRow {
    pub(super) id: Uuid,
    pub(super) owner: Uuid,
    pub(super) environment: String,
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) scopes: String,
    pub(super) requests_per_s: Option<i64>,
    pub(super) messages_per_min: Option<i64>,
    pub(super) pending_replies: Option<i64>,
    pub(super) tokens_per_day: Option<i64>,
    pub(super) created: i64,
    pub(super) expires: Option<i64>,
    pub(super) revoked: Option<i64>,
    pub(super) last_used: Option<i64>,
}

impl From<&ApiKey> for KeyRow {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id.as_uuid(),
            owner: key.owner.first_key().unwrap_or(key.id).as_uuid(),
            environment: key.environment.as_str().to_owned(),
            name: key.name.as_str().to_owned(),
            digest: hex(key.digest.as_bytes()),
            scopes: key.scopes.to_string(),
            requests_per_s: key.limits.requests_per_s.map(|limit| limit.get().into()),
            messages_per_min: key.limits.messages_per_min.map(|limit| limit.get().into()),
            pending_replies: key.limits.pending_replies.map(|limit| limit.get().into()),
            tokens_per_day: key
                .limits
                .tokens_per_day
                .map(|limit| i64::try_from(limit.get()).unwrap_or(i64::MAX)),
            created: key.created.as_micros(),
            expires: key.expires.map(Timestamp::as_micros),
            revoked: key.revoked.map(Timestamp::as_micros),
            last_used: key.last_used.map(Timestamp::as_micros),
        }
    }
}

impl TryFrom<KeyRow> for ApiKey {
    type Error = Error;

    fn try_from(row: KeyRow) -> Result<Self> {
        let wrong = |column| Error::corrupt(TABLE, column, "holds a value that does not exist");
        let key_id = |uuid, column| KeyId::from_uuid(uuid).ok_or_else(|| wrong(column));
        let small = |limit: Option<i64>| limit.and_then(|limit| NonZeroU32::new(u32::try_from(limit).ok()?));
        Ok(Self {
            id: key_id(row.id, "id")?,
            owner: Owner::of(key_id(row.owner, "owner_id")?),
            environment: Environment::parse(&row.environment).ok_or_else(|| wrong("environment"))?,
            name: KeyName::from_stored(row.name),
            digest: unhex(&row.digest)
                .map(KeyDigest::new)
                .ok_or_else(|| wrong("digest"))?,
            // What a newer program has added to what keys can do is passed over.
            scopes: row.scopes.split(' ').filter_map(Scope::parse).collect::<Scopes>(),
            limits: KeyLimits {
                requests_per_s: small(row.requests_per_s),
                messages_per_min: small(row.messages_per_min),
                pending_replies: small(row.pending_replies),
                tokens_per_day: row
                    .tokens_per_day
                    .and_then(|limit| NonZeroU64::new(u64::try_from(limit).ok()?)),
            },
            created: Timestamp::from_micros(row.created),
            expires: row.expires.map(Timestamp::from_micros),
            revoked: row.revoked.map(Timestamp::from_micros),
            last_used: row.last_used.map(Timestamp::from_micros),
        })
    }
}

/// Whose something is, by the first key of the line: nobody's and zeros are the operator's.
pub(super) fn owner(id: Option<Uuid>) -> Owner {
    id.filter(|id| !id.is_nil())
        .and_then(KeyId::from_uuid)
        .map_or(Owner::OPERATOR, Owner::of)
}

pub(super) fn audited(name: &str) -> Result<Audited> {
    Audited::parse(name)
        .ok_or_else(|| Error::corrupt("key_audit", "event", "holds a value that does not exist"))
}

pub(super) fn actor(text: &str) -> Result<Actor> {
    Actor::parse(text)
        .ok_or_else(|| Error::corrupt("key_audit", "actor", "holds a value that does not exist"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn unhex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_they_were_written() {
        let digest: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 8).unwrap());
        assert_eq!(unhex(&hex(&digest)), Some(digest));
        assert_eq!(unhex("00"), None);
        assert_eq!(unhex(&"zz".repeat(32)), None);
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let key = ApiKey {
            id: KeyId::from_number(8),
            owner: Owner::of(KeyId::from_number(7)),
            environment: Environment::Test,
            name: KeyName::parse("web").unwrap(),
            digest: KeyDigest::new([9; 32]),
            scopes: Scopes::USUAL,
            limits: KeyLimits {
                requests_per_s: NonZeroU32::new(5),
                tokens_per_day: NonZeroU64::new(1 << 40),
                ..KeyLimits::default()
            },
            created: Timestamp::from_micros(1),
            expires: Some(Timestamp::from_micros(2)),
            revoked: None,
            last_used: None,
        };
        assert_eq!(ApiKey::try_from(KeyRow::from(&key)).unwrap(), key);
    }
}
