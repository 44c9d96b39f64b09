use std::{fmt, io, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    clock::Clock,
    ids::IdSource,
    model::{
        Actor, ApiKey, AuditEntry, Audited, Environment, KeyDigest, KeyId, KeyLimits, KeyName, KeyText,
        Owner, Rotated, Scopes, Successor, Timestamp,
    },
    store::{self, KeyStore, Once},
};

/// Why something could not be done with keys.
#[derive(Debug)]
pub enum Error {
    /// There is no such key.
    NoSuchKey,
    /// It opens nothing any more, so nothing can take its place.
    NotActive,
    /// The operating system gave no chance to make a secret of.
    Chance(io::Error),
    /// It was done before, under the same mark; nothing was changed.
    Repeated,
    /// The store's reason.
    Store(store::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchKey => f.write_str("there is no such key"),
            Self::NotActive => f.write_str("the key opens nothing any more"),
            Self::Repeated => f.write_str("it was done before"),
            Self::Chance(cause) => write!(f, "the system gives no random numbers: {cause}"),
            Self::Store(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<store::Error> for Error {
    fn from(cause: store::Error) -> Self {
        match cause {
            store::Error::Repeated => Self::Repeated,
            cause => Self::Store(cause),
        }
    }
}

/// What a key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What people call it.
    pub name: KeyName,
    /// Where it is meant to be used.
    pub environment: Environment,
    /// What it may do.
    pub scopes: Scopes,
    /// How much.
    pub limits: KeyLimits,
    /// From when on it opens nothing.
    pub expires: Option<Timestamp>,
}

/// A key that was just made.
#[derive(Debug)]
pub struct Made {
    /// What is known of it from now on.
    pub key: ApiKey,
    /// The key itself. Nobody can tell it again.
    pub text: SecretString,
}

/// The secret of a key that is about to be made.
pub struct Drawn(SecretString);

impl Drawn {
    /// The text of the key that it becomes.
    pub fn text(&self, key: &ApiKey) -> SecretString {
        text(key, &self.0)
    }
}

/// Makes something that is done to keys happen once, knowing the secret that is drawn for it.
pub type Remember = Box<dyn FnOnce(Drawn) -> Once<ApiKey> + Send>;

/// Makes, lists and takes back keys, and says so in the audit.
#[derive(Clone)]
pub struct Desk {
    store: Arc<dyn KeyStore>,
    clock: Clock,
    ids: IdSource,
}

impl Desk {
    /// A desk over this store.
    pub fn new(store: Arc<dyn KeyStore>, clock: Clock, ids: IdSource) -> Self {
        Self { store, clock, ids }
    }

    /// What time it is here.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Makes a key.
    pub async fn create(&self, new: NewKey, by: Actor, remember: Option<Remember>) -> Result<Made, Error> {
        let now = self.clock.now();
        let (id, secret) = (self.ids.key(), self.secret()?);
        let key = ApiKey {
            id,
            owner: Owner::of(id),
            environment: new.environment,
            name: new.name,
            digest: digest(&secret),
            scopes: new.scopes,
            limits: new.limits,
            created: now,
            expires: new.expires,
            revoked: None,
            last_used: None,
        };
        let entry = self.entry(now, Audited::Created, id, by);
        let once = remember.map(|remember| remember(Drawn(secret.clone())));
        let key = self.store.create_key(key, entry, once).await?;
        Ok(Made {
            text: text(&key, &secret),
            key,
        })
    }

    /// Every key, the oldest first.
    pub async fn list(&self) -> Result<Vec<ApiKey>, Error> {
        Ok(self.store.keys().await?)
    }

    /// The key with this public name.
    pub async fn find(&self, id: KeyId) -> Result<ApiKey, Error> {
        let keys = self.store.keys().await?;
        keys.into_iter().find(|key| key.id == id).ok_or(Error::NoSuchKey)
    }

    /// Takes a key back; one that was taken back before stays so.
    pub async fn revoke(&self, id: KeyId, by: Actor) -> Result<ApiKey, Error> {
        let now = self.clock.now();
        let entry = self.entry(now, Audited::Revoked, id, by);
        let revoked = self.store.revoke_key(id, now, entry).await?;
        revoked.ok_or(Error::NoSuchKey)
    }

    /// Makes a key that takes the place of another, which goes on opening things for this long.
    pub async fn rotate(
        &self,
        id: KeyId,
        overlap: Duration,
        expires: Option<Timestamp>,
        by: Actor,
        remember: Option<Remember>,
    ) -> Result<Made, Error> {
        let now = self.clock.now();
        let (new, secret) = (self.ids.key(), self.secret()?);
        let successor = Successor {
            id: new,
            digest: digest(&secret),
            overlap,
            expires,
            now,
        };
        let entry = self.entry(now, Audited::Rotated, new, by);
        let once = remember.map(|remember| remember(Drawn(secret.clone())));
        match self.store.rotate_key(id, successor, entry, once).await? {
            Rotated::Made(key) => Ok(Made {
                text: text(&key, &secret),
                key,
            }),
            Rotated::NoKey => Err(Error::NoSuchKey),
            Rotated::NotActive => Err(Error::NotActive),
        }
    }

    /// What happened around keys, the newest first.
    pub async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        Ok(self.store.audit(limit).await?)
    }

    fn secret(&self) -> Result<SecretString, Error> {
        self.ids.key_secret().map_err(Error::Chance)
    }

    fn entry(&self, at: Timestamp, what: Audited, key: KeyId, by: Actor) -> AuditEntry {
        entry(self.ids.entry(at), at, what, Some(key), by)
    }
}

pub(super) fn entry(id: Uuid, at: Timestamp, what: Audited, key: Option<KeyId>, by: Actor) -> AuditEntry {
    AuditEntry {
        id,
        at,
        what,
        key,
        by,
        address: None,
        count: 1,
    }
}

fn digest(secret: &SecretString) -> KeyDigest {
    KeyDigest::new(Sha256::digest(secret.expose_secret()).into())
}

fn text(key: &ApiKey, secret: &SecretString) -> SecretString {
    let text = KeyText {
        environment: key.environment,
        id: key.id,
        secret: secret.expose_secret(),
    };
    text.compose().into()
}
