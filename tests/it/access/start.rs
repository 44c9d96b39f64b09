//! What a start-up says of keys: who is refused with 78, and which key opens what did start.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::postgres::{self, Durability, TestDatabase};
use crate::support::{Builder, Client, DEFAULT_KEY, SOON, Server, eventually};

const REFUSED: i32 = 78;
const GOOD: &str = "0123456789abcdef01234567";

/// Where a service keeps its data, for several starts.
pub(super) struct Place {
    home: Arc<TempDir>,
    data: Option<TestDatabase>,
}

impl Place {
    /// A place on each kind of database there is.
    pub(super) async fn each() -> Vec<Self> {
        let mut places = vec![Self::new(None)];
        if let Some(cluster) = postgres::shared().await {
            places.push(Self::new(Some(cluster.database().await)));
        }
        places
    }

    fn new(data: Option<TestDatabase>) -> Self {
        let home = Arc::new(tempfile::tempdir().expect("a directory"));
        Self { home, data }
    }

    fn sqlite() -> Self {
        Self::new(None)
    }

    pub(super) fn is_shared(&self) -> bool {
        self.data.is_some()
    }

    pub(super) fn builder(&self) -> Builder {
        let builder = Server::builder_over(&self.home);
        match &self.data {
            Some(data) => builder.on(data.url()),
            None => builder,
        }
    }

    /// Runs `engagement keys …` and gives what it wrote, if it did what it was asked for.
    pub(super) async fn keys(&self, arguments: &[&str]) -> String {
        let builder = self.builder().arg("keys");
        let run = arguments.iter().fold(builder, Builder::arg);
        let run = run.run().await;
        assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
        run.stdout.trim_end().to_owned()
    }
}

/// The public name in a key's text.
pub(super) fn id_of(key: &str) -> &str {
    key.split('_').nth(2).expect("a key")
}

/// What creating a conversation is answered with this key.
pub(super) async fn status(client: &Client, key: &str) -> u16 {
    let body = json!({ "description": "d" });
    client
        .with_key(key)
        .post_json("/conversations/", &body)
        .await
        .status
}

/// What is stored before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Active,
    ForTests,
    Revoked,
    Expired,
}

impl Before {
    /// Gives the key.
    async fn store(self, place: &Place) -> Option<String> {
        let create: &[&str] = match self {
            Self::Nothing => return None,
            Self::ForTests => &["create", "it", "--environment", "test"],
            Self::Expired => &["create", "it", "--expires-in", "1s"],
            Self::Active | Self::Revoked => &["create", "it"],
        };
        let key = place.keys(create).await;
        if self == Self::Revoked {
            place.keys(&["revoke", id_of(&key)]).await;
        }
        if self == Self::Expired {
            eventually("the key expires", SOON, async || {
                place.keys(&["list"]).await.contains("expired").then_some(())
            })
            .await;
        }
        Some(key)
    }
}

/// What is to come of it: which of the default key, the configured key and the stored one open the service, or what
/// the refusal says.
enum Then {
    Opens { default: bool, stored: bool },
    Refuses(&'static [&'static str]),
}

const NOBODY: Then = Then::Opens {
    default: false,
    stored: false,
};
const DEFAULT: Then = Then::Opens {
    default: true,
    stored: false,
};
const STORED: Then = Then::Opens {
    default: false,
    stored: true,
};

type Given = &'static [(&'static str, &'static str)];

const FAR: (&str, &str) = ("LISTEN", "0.0.0.0:0");
const ALLOW: (&str, &str) = ("ALLOW_DEFAULT_KEY", "1");
const PRODUCTION: (&str, &str) = ("PRODUCTION", "1");
const SEED: (&str, &str) = ("API_KEY", DEFAULT_KEY);
const SHORT: (&str, &str) = ("API_KEY", "short");
const LONG: (&str, &str) = ("API_KEY", GOOD);

async fn judge(rows: &[(Given, Before, Then)], place: impl AsyncFn() -> Place) {
    for (given, before, then) in rows {
        let row = format!("{given:?} over {before:?}");
        let place = place().await;
        let stored = before.store(&place).await;
        let builder = given
            .iter()
            .fold(place.builder(), |builder, (name, value)| builder.env(name, value));
        match then {
            Then::Refuses(says) => {
                let run = builder.run().await;
                assert_eq!(run.code, Some(REFUSED), "{row}: {run:?}");
                for part in says
                    .iter()
                    .chain(&["error: ", "hint: ", "engagement keys create"])
                {
                    assert!(run.stderr.contains(part), "{row}: no {part:?} in {run:?}");
                }
                assert!(!run.stdout.contains("listening"), "{row}: {run:?}");
            }
            Then::Opens {
                default,
                stored: opens,
            } => {
                let mut server = builder.start().await;
                let client = Client::new(&near(&server), None);
                let wanted = |opens| if opens { 201 } else { 401 };
                assert_eq!(
                    status(&client, DEFAULT_KEY).await,
                    wanted(*default),
                    "{row}: the default key"
                );
                if let Some(stored) = &stored {
                    assert_eq!(
                        status(&client, stored).await,
                        wanted(*opens),
                        "{row}: the stored key"
                    );
                }
                if let Some((_, key)) = given.iter().find(|(name, _)| *name == "API_KEY") {
                    let wanted = wanted(*key != DEFAULT_KEY || *default);
                    assert_eq!(status(&client, key).await, wanted, "{row}: the configured key");
                }
                server.terminate();
                server.wait_exit(SOON).await;
                let said = server.stderr().contains("DEFAULT API KEY");
                assert_eq!(said, *default, "{row}: {}", server.stderr());
            }
        }
    }
}

/// Where somebody on this machine reaches it.
fn near(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.address().port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_start_is_judged_by_its_keys() {
    let public = ["publicly known", "ENGAGEMENT_ALLOW_DEFAULT_KEY"].as_slice();
    let none = ["there is no API key that opens the service"].as_slice();
    let seed = ["production refuses the default key"].as_slice();
    let rows: &[(Given, Before, Then)] = &[
        (&[], Before::Nothing, DEFAULT),
        (&[SEED], Before::Nothing, DEFAULT),
        (&[SHORT], Before::Nothing, NOBODY),
        (&[], Before::Active, STORED),
        (&[SEED], Before::Active, STORED),
        (&[LONG], Before::Active, STORED),
        (&[], Before::ForTests, STORED),
        (&[], Before::Revoked, NOBODY),
        (&[ALLOW], Before::Expired, NOBODY),
        (&[FAR], Before::Nothing, Then::Refuses(public)),
        (&[FAR, SEED], Before::Nothing, Then::Refuses(public)),
        (&[FAR, ALLOW], Before::Nothing, DEFAULT),
        (&[FAR, SHORT], Before::Nothing, NOBODY),
        (&[FAR], Before::Active, STORED),
        (&[FAR], Before::Revoked, NOBODY),
        (&[PRODUCTION], Before::Nothing, Then::Refuses(none)),
        (&[PRODUCTION, FAR, ALLOW], Before::Nothing, Then::Refuses(none)),
        (&[PRODUCTION, SEED, ALLOW], Before::Nothing, Then::Refuses(seed)),
        (&[PRODUCTION, SEED], Before::Active, Then::Refuses(seed)),
        (
            &[PRODUCTION, SHORT],
            Before::Active,
            Then::Refuses(&["shorter than 24"]),
        ),
        (&[PRODUCTION], Before::Revoked, Then::Refuses(none)),
        (&[PRODUCTION], Before::Expired, Then::Refuses(none)),
        (&[PRODUCTION], Before::ForTests, Then::Refuses(none)),
        (&[PRODUCTION, LONG, FAR], Before::Nothing, NOBODY),
        (&[PRODUCTION, FAR], Before::Active, STORED),
        (
            &[PRODUCTION, FAR, ("PUBLIC_URL", "https://chat.example.com")],
            Before::Active,
            STORED,
        ),
    ];
    judge(rows, async || Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_on_postgres_is_judged_too() {
    // Production also refuses a server that may lose what it acknowledged, as the one that tests share does.
    let Some(cluster) = postgres::private(Durability::Durable).await else {
        return;
    };
    let rows: &[(Given, Before, Then)] = &[
        (&[], Before::Nothing, DEFAULT),
        (&[FAR], Before::Nothing, Then::Refuses(&["publicly known"])),
        (&[FAR], Before::Active, STORED),
        (
            &[PRODUCTION],
            Before::Nothing,
            Then::Refuses(&["there is no API key"]),
        ),
        (&[PRODUCTION], Before::Active, STORED),
        (
            &[PRODUCTION],
            Before::Revoked,
            Then::Refuses(&["there is no API key"]),
        ),
        (&[], Before::Revoked, NOBODY),
    ];
    judge(rows, async || Place::new(Some(cluster.database().await))).await;
}

/// What is wrong whatever is stored is refused before anything is made.
#[tokio::test]
async fn what_the_settings_alone_say_is_refused_first() {
    let rows: [(Given, &str); 5] = [
        (&[("API_KEY", "")], "api_key: is empty"),
        (&[LONG, ("API_KEY_FILE", "key")], "given twice"),
        (&[PRODUCTION, SEED], "production refuses the default key"),
        (&[PRODUCTION, SHORT], "shorter than 24"),
        (
            &[PRODUCTION, LONG, ("PUBLIC_URL", "http://a.example")],
            "not https",
        ),
    ];
    for (given, says) in rows {
        let place = Place::sqlite();
        let builder = given
            .iter()
            .fold(place.builder(), |builder, (name, value)| builder.env(name, value));
        let run = builder.run().await;
        assert!(
            run.code == Some(REFUSED) && run.stderr.contains(says),
            "{given:?}: {run:?}"
        );
        let made = std::fs::read_dir(place.home.path()).expect("a directory");
        assert_eq!(made.count(), 0, "{given:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_needs_no_key() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let place = Place::new(Some(cluster.database().await));
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let worker = place.builder().env("LISTEN", listen);
        worker.arg("worker").start().await;
    }
}

/// The default key's reign ends while the service runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn making_a_key_ends_the_reign_of_the_default_key() {
    for place in Place::each().await {
        let server = place.builder().start().await;
        let client = server.client();
        assert_eq!(status(&client, DEFAULT_KEY).await, 201);

        let key = place.keys(&["create", "the first"]).await;

        eventually(
            "the default key opens nothing",
            Duration::from_secs(5),
            async || (status(&client, DEFAULT_KEY).await == 401).then_some(()),
        )
        .await;
        assert_eq!(status(&client, &key).await, 201);
        eventually("the log says so", SOON, async || {
            let said = "the default key opens nothing any more";
            server.log().contains(said).then_some(())
        })
        .await;
        assert!(place.keys(&["audit"]).await.contains("default_key.used"));
    }
}
