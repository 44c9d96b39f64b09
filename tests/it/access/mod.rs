//! Who is let in: keys within the process, keys on the command line, and what a start-up says of them.

mod command;
mod ring;
mod spending;
mod start;
mod timing;

use std::{sync::Arc, time::Duration};

use engagement::{
    access::{Caller, Desk, Keyring, Made, NewKey, Refused},
    clock::Clock,
    config::{Access, Config, Settings},
    ids::IdSource,
    model::{Actor, Environment, KeyId, KeyLimits, KeyName, KeyText, Scopes, Timestamp},
    store::{
        KeyStore,
        sqlite::{Options, SqliteStore},
    },
};
use secrecy::ExposeSecret;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_micros(1_795_356_930_000_000);

/// A ring over a database of its own, whose clock stands still.
struct Fixture {
    home: TempDir,
    store: Arc<dyn KeyStore>,
    clock: Clock,
    access: Access,
    ring: Keyring,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        let (home, clock) = (tempfile::tempdir().expect("a directory"), Clock::manual(NOW));
        let store = SqliteStore::open(&Options::new(home.path().join("keys.db"))).expect("a store");
        let store: Arc<dyn KeyStore> = Arc::new(store);
        let access = Config::new(&settings).expect("a configuration").access;
        let ring = open(&store, &access, &clock).await;
        Self {
            home,
            store,
            clock,
            access,
            ring,
        }
    }

    /// Somebody else who makes and takes back keys, as a command or another node does.
    fn desk(&self) -> Desk {
        Desk::new(Arc::clone(&self.store), self.clock.clone(), IdSource::random())
    }

    async fn make(&self, change: impl FnOnce(&mut NewKey)) -> Made {
        let mut new = NewKey {
            name: KeyName::parse("a key").expect("a name"),
            environment: Environment::Live,
            scopes: Scopes::USUAL,
            limits: KeyLimits::default(),
            expires: None,
        };
        change(&mut new);
        let made = self.desk().create(new, Actor::CommandLine, None).await;
        let made = made.expect("a key");
        self.ring.look().await.expect("a look");
        made
    }

    async fn revoke(&self, id: KeyId) {
        let revoked = self.desk().revoke(id, Actor::CommandLine).await;
        revoked.expect("a key to take back");
        self.ring.look().await.expect("a look");
    }

    fn at(&self, text: &str) -> Result<Caller, Refused> {
        self.ring.authenticate(text.as_bytes())
    }

    fn step(&self, by: Duration) {
        self.clock.set(self.clock.now().after(by));
    }
}

async fn open(store: &Arc<dyn KeyStore>, access: &Access, clock: &Clock) -> Keyring {
    let opened = Keyring::open(Arc::clone(store), access, clock.clone(), IdSource::random()).await;
    opened.expect("a keyring")
}

fn text(made: &Made) -> String {
    made.text.expose_secret().to_owned()
}

/// The same key with another part, and the checksum that belongs to it.
fn altered(text: &str, alter: impl FnOnce(&mut KeyText<'_>, &mut String)) -> String {
    let mut parts = KeyText::parse(text).expect("a key");
    let mut secret = parts.secret.to_owned();
    alter(&mut parts, &mut secret);
    let KeyText { environment, id, .. } = parts;
    KeyText {
        environment,
        id,
        secret: &secret,
    }
    .compose()
}
