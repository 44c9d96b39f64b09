use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::{Caller, Desk, journal::Journal};
use crate::{
    clock::Clock,
    config::{self, SEED_KEY, Stored},
    ids::IdSource,
    model::{
        ApiKey, Audited, Environment, KeyDigest, KeyId, KeyLimits, KeyName, KeyState, KeyText, Owner, Scopes,
        Timestamp,
    },
    store::{self, KeyStore},
};

/// How exactly the last use of a key is remembered.
const USED_WITHIN: Duration = Duration::from_mins(1);

/// Stands where no secret was given, so that as much is hashed as if there were one.
const NO_SECRET: &str = "0000000000000000000000000000000000000000000";

/// The credentials open nothing. Why not, nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The key that they named, where there is such a key.
    pub key: Option<KeyId>,
}

/// All keys, in memory. A request is judged without the database; what was changed there is seen within a second or two.
#[derive(Clone)]
pub struct Keyring(pub(super) Arc<Ring>);

pub(super) struct Ring {
    operator: Operator,
    production: bool,
    pub(super) clock: Clock,
    pub(super) ids: IdSource,
    pub(super) store: Arc<dyn KeyStore>,
    known: RwLock<HashMap<KeyId, Arc<Known>>>,
    /// What an unknown key is compared with.
    nobody: Arc<Known>,
    /// The number of the last change that was seen; held while looking, so that nothing older is learnt after it.
    seen: tokio::sync::Mutex<u64>,
    pub(super) used: Mutex<HashMap<KeyId, Timestamp>>,
    pub(super) journal: Journal,
}

/// The key of the configuration, or the one that everybody knows.
struct Operator {
    digest: [u8; 32],
    opens: AtomicBool,
    is_seed: bool,
    caller: Caller,
}

/// What is known of a stored key.
struct Known {
    key: ApiKey,
    ended: Arc<CancellationToken>,
    /// When it was last used, to the minute; shared by all that was ever known of the key.
    used: Arc<AtomicI64>,
}

impl Keyring {
    /// Learns all keys from this store.
    pub async fn open(
        store: Arc<dyn KeyStore>,
        access: &config::Access,
        clock: Clock,
        ids: IdSource,
    ) -> store::Result<Self> {
        let ring = Self(Arc::new(Ring {
            operator: Operator::new(access.key.as_ref()),
            production: access.production,
            nobody: Arc::new(Known::nobody()),
            known: RwLock::default(),
            seen: tokio::sync::Mutex::default(),
            used: Mutex::default(),
            journal: Journal::default(),
            clock,
            ids,
            store,
        }));
        ring.look_as(Looking::First).await?;
        if ring.0.operator.is_seed {
            let opens = access.lets_default_key_in(ring.stored());
            ring.0.operator.opens.store(opens, Ordering::Relaxed);
        }
        Ok(ring)
    }

    /// What there is among the stored keys.
    pub fn stored(&self) -> Stored {
        let now = self.0.clock.now();
        self.0.with_known(|known| {
            if known.values().any(|known| self.0.opens(&known.key, now)) {
                Stored::SomethingThatOpens
            } else if known.is_empty() {
                Stored::Nothing
            } else {
                Stored::NothingThatOpens
            }
        })
    }

    /// Whether the key that everybody knows opens the service.
    pub fn lets_default_key_in(&self) -> bool {
        self.0.operator.is_seed && self.0.operator.opens.load(Ordering::Relaxed)
    }

    /// Who somebody with these credentials is.
    ///
    /// Whatever they are, as much is hashed and compared: time tells neither whether there is a key of this name, nor
    /// how far a secret is right.
    pub fn authenticate(&self, credentials: &[u8]) -> Result<Caller, Refused> {
        let ring = &*self.0;
        let given: [u8; 32] = Sha256::digest(credentials).into();
        let is_operator = bool::from(given.ct_eq(&ring.operator.digest));

        let text = std::str::from_utf8(credentials).ok().and_then(KeyText::parse);
        let secret = text.map_or(NO_SECRET, |text| text.secret);
        let given: [u8; 32] = Sha256::digest(secret).into();
        let found = ring.with_known(|known| text.and_then(|text| known.get(&text.id)).map(Arc::clone));
        let known = found.as_ref().unwrap_or(&ring.nobody);
        let is_right = bool::from(given.ct_eq(known.key.digest.as_bytes()));

        if is_operator && ring.operator.opens.load(Ordering::Relaxed) {
            return Ok(ring.operator.caller.clone());
        }
        let now = ring.clock.now();
        match (&found, text) {
            (Some(known), Some(text))
                if is_right && text.environment == known.key.environment && ring.opens(&known.key, now) =>
            {
                ring.note_use(known, now);
                Ok(known.caller())
            }
            (found, _) => Err(Refused {
                key: found.as_ref().map(|known| known.key.id),
            }),
        }
    }

    /// Remembers for the audit that somebody was refused, who came from this address.
    pub fn refused(&self, refused: Refused, address: Option<String>) {
        self.0.journal.refused((Audited::Refused, address, refused.key));
    }

    /// Remembers for the audit that somebody with this key, who came from this address, asked for what it may not do.
    pub fn forbidden(&self, key: Option<KeyId>, address: Option<String>) {
        self.0.journal.refused((Audited::Forbidden, address, key));
    }

    /// Where keys are made and taken back.
    pub fn desk(&self) -> Desk {
        Desk::new(
            Arc::clone(&self.0.store),
            self.0.clock.clone(),
            self.0.ids.clone(),
        )
    }

    /// Learns what changed since the last look.
    pub async fn look(&self) -> store::Result<()> {
        self.look_as(Looking::Again).await
    }

    async fn look_as(&self, looking: Looking) -> store::Result<()> {
        let mut seen = self.0.seen.lock().await;
        let changes = self.0.store.keys_changed(*seen).await?;
        if !changes.keys.is_empty() {
            self.0.learn(changes.keys, looking);
            *seen = changes.last;
        }
        Ok(())
    }
}

/// Whether what is learnt is news.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looking {
    First,
    Again,
}

impl Ring {
    fn with_known<T>(&self, look: impl FnOnce(&HashMap<KeyId, Arc<Known>>) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn opens(&self, key: &ApiKey, now: Timestamp) -> bool {
        let is_welcome = !self.production || key.environment == Environment::Live;
        is_welcome && key.state(now) == KeyState::Active
    }

    fn note_use(&self, known: &Known, now: Timestamp) {
        let last = known.used.load(Ordering::Relaxed);
        let within = i64::try_from(USED_WITHIN.as_micros()).unwrap_or(i64::MAX);
        // In both directions, as clocks are set back.
        let is_long_ago = now.as_micros().abs_diff(last) >= within.unsigned_abs();
        if is_long_ago
            && known
                .used
                .compare_exchange(last, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.insert(known.key.id, now);
        }
    }

    /// Takes these in, as they are now.
    fn learn(&self, keys: Vec<ApiKey>, looking: Looking) {
        let now = self.clock.now();
        let learnt: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let before = self.with_known(|known| known.get(&key.id).map(Arc::clone));
                if looking == Looking::Again {
                    tell(before.as_ref().map(|before| &before.key), &key);
                }
                Arc::new(Known::new(key, before.as_deref()))
            })
            .collect();
        // Requests wait for this lock, so nothing else is done under it.
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(learnt.iter().map(|learnt| (learnt.key.id, Arc::clone(learnt))));
        drop(known);
        for learnt in learnt.iter().filter(|learnt| !self.opens(&learnt.key, now)) {
            learnt.ended.cancel();
        }
        let operator = &self.operator;
        if operator.is_seed && operator.opens.swap(false, Ordering::Relaxed) {
            operator.caller.ended.cancel();
            tracing::info!(
                event = "default_key.ended",
                "a key was made: the default key opens nothing any more"
            );
        }
    }

    pub(super) fn end_what_expired(&self) {
        let now = self.clock.now();
        self.with_known(|known| {
            for known in known.values().filter(|known| known.key.expires.is_some()) {
                if !self.opens(&known.key, now) {
                    known.ended.cancel();
                }
            }
        });
    }
}

/// Says in the log what became of a key, wherever that was done.
fn tell(before: Option<&ApiKey>, key: &ApiKey) {
    let id = key.id;
    match before {
        None if key.owner == Owner::of(id) => {
            tracing::info!(event = "key.created", key = %id, "a key was made");
        }
        None => {
            tracing::info!(event = "key.rotated", key = %id, "a key was made that takes another's place");
        }
        Some(_) => {}
    }
    let was_revoked = before.is_some_and(|before| before.revoked.is_some());
    if key.revoked.is_some() && !was_revoked {
        tracing::info!(event = "key.revoked", key = %id, "a key was taken back");
    }
}

impl Operator {
    fn new(key: Option<&SecretString>) -> Self {
        let text = key.map_or(SEED_KEY, |key| key.expose_secret());
        Self {
            digest: Sha256::digest(text).into(),
            opens: AtomicBool::new(key.is_some()),
            is_seed: key.is_none(),
            caller: Caller::operator(),
        }
    }
}

impl Known {
    fn new(key: ApiKey, before: Option<&Self>) -> Self {
        match before {
            Some(before) => Self {
                key,
                ended: Arc::clone(&before.ended),
                used: Arc::clone(&before.used),
            },
            None => Self {
                ended: Arc::default(),
                used: Arc::new(AtomicI64::new(
                    key.last_used.map_or(i64::MIN, Timestamp::as_micros),
                )),
                key,
            },
        }
    }

    /// A key that no secret opens.
    fn nobody() -> Self {
        let id = KeyId::from_number(0);
        let key = ApiKey {
            id,
            owner: Owner::of(id),
            environment: Environment::Test,
            name: KeyName::from_stored(String::new()),
            digest: KeyDigest::new([0; 32]),
            scopes: Scopes::default(),
            limits: KeyLimits::default(),
            created: Timestamp::from_micros(0),
            expires: None,
            revoked: Some(Timestamp::from_micros(0)),
            last_used: None,
        };
        Self::new(key, None)
    }

    fn caller(&self) -> Caller {
        Caller {
            owner: self.key.owner,
            key: Some(self.key.id),
            scopes: self.key.scopes,
            limits: self.key.limits,
            ended: Arc::clone(&self.ended),
        }
    }
}
