//! `check --production`: what has to be right before others can reach the service.

mod place;

use std::{fs, os::unix::fs::PermissionsExt};

use self::place::{Place, Stored};
use super::home;
use crate::support::postgres;

const REFUSED: i32 = 78;
const GOOD: &str = "canary-0123456789abcdef01234567";

/// One line of the list, as it is printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) mark: &'a str,
    pub(crate) what: &'a str,
    found: &'a str,
}

/// The list's lines, among others.
pub(crate) fn items(printed: &str) -> Vec<Item<'_>> {
    let lines = printed.lines().filter_map(|line| {
        let (mark, rest) = line.split_at_checked(9)?;
        let (mark, (what, found)) = (mark.trim_end(), rest.split_once(": ")?);
        ["ok", "look at", "WRONG", "by hand"]
            .contains(&mark)
            .then_some(Item { mark, what, found })
    });
    lines.collect()
}

/// What is printed where nothing was set and nothing is stored.
pub(crate) async fn of_a_new_database() -> String {
    let place = Place::file();
    place.apply().await;
    place.check(&[]).await.stdout
}

type Row = (
    Stored,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

const KEY: (&str, &str) = ("API_KEY", GOOD);

const FILES: &[(&str, &str, u32)] = &[
    ("own.key", GOOD, 0o600),
    ("open.key", GOOD, 0o644),
    ("own.headers", "authorization=canary", 0o600),
    ("open.headers", "authorization=canary", 0o640),
    (
        "own.toml",
        "[providers.p]\nbase_url = 'http://127.0.0.1:1'\nmodels = ['m']\napi_key_file = 'own.key'",
        0o644,
    ),
    (
        "open.toml",
        "[providers.p]\nbase_url = 'http://127.0.0.1:1'\nmodels = ['m']\napi_key_file = 'open.key'",
        0o644,
    ),
    (
        // Some variable that is set.
        "variable.toml",
        "[providers.p]\nbase_url = 'http://127.0.0.1:1'\nmodels = ['m']\napi_key_env = 'ENGAGEMENT_LISTEN'",
        0o644,
    ),
];

/// Stored keys | settings | what | what is said of it.
const ROWS: &[Row] = &[
    (Stored::Nothing, &[], "a key of your own", "WRONG"),
    (Stored::Nothing, &[KEY], "a key of your own", "ok"),
    (Stored::One, &[], "a key of your own", "ok"),
    (Stored::Revoked, &[], "a key of your own", "WRONG"),
    (Stored::ForTests, &[], "a key of your own", "WRONG"),
    (Stored::ForTests, &[KEY], "a key of your own", "ok"),
    (Stored::One, &[], "secrets in files", "ok"),
    (Stored::One, &[KEY], "secrets in files", "look at"),
    (
        Stored::One,
        &[("API_KEY_FILE", "own.key")],
        "secrets in files",
        "ok",
    ),
    (
        Stored::One,
        &[("API_KEY_FILE", "open.key")],
        "secrets in files",
        "look at",
    ),
    (
        Stored::One,
        &[("OTLP_HEADERS", "authorization=canary")],
        "secrets in files",
        "look at",
    ),
    (
        Stored::One,
        &[("OTLP_HEADERS_FILE", "own.headers")],
        "secrets in files",
        "ok",
    ),
    (
        Stored::One,
        &[("OTLP_HEADERS_FILE", "open.headers")],
        "secrets in files",
        "look at",
    ),
    (Stored::One, &[("CONFIG", "own.toml")], "secrets in files", "ok"),
    (
        Stored::One,
        &[("CONFIG", "open.toml")],
        "secrets in files",
        "look at",
    ),
    (
        Stored::One,
        &[("CONFIG", "variable.toml")],
        "secrets in files",
        "look at",
    ),
    (Stored::One, &[], "TLS in front", "by hand"),
    (Stored::One, &[("LISTEN", "0.0.0.0:0")], "TLS in front", "look at"),
    (Stored::One, &[], "trusted proxies", "look at"),
    (
        Stored::One,
        &[("TRUSTED_PROXIES", "127.0.0.1")],
        "trusted proxies",
        "ok",
    ),
    (
        Stored::One,
        &[("TRUSTED_PROXIES", "127.0.0.1,0.0.0.0/0")],
        "trusted proxies",
        "look at",
    ),
    (Stored::One, &[], "the public URL", "look at"),
    (
        Stored::One,
        &[("PUBLIC_URL", "https://a.example")],
        "the public URL",
        "ok",
    ),
    (Stored::One, &[], "host names", "look at"),
    (Stored::One, &[("ALLOWED_HOSTS", "a.example")], "host names", "ok"),
    (Stored::One, &[], "who may read", "look at"),
    (Stored::One, &[("READS", "key")], "who may read", "ok"),
    (Stored::One, &[], "whose conversations are", "ok"),
    (Stored::Two, &[], "whose conversations are", "look at"),
    (
        Stored::Two,
        &[("OWNERSHIP", "strict")],
        "whose conversations are",
        "ok",
    ),
    (Stored::One, &[], "limits of keys", "look at"),
    (Stored::Limited, &[], "limits of keys", "ok"),
    (Stored::Nothing, &[], "limits of keys", "look at"),
    (Stored::Nothing, &[KEY], "limits of keys", "look at"),
    (
        Stored::Nothing,
        &[KEY, ("KEY_REQUESTS_PER_S", "5")],
        "limits of keys",
        "ok",
    ),
    (Stored::Limited, &[KEY], "limits of keys", "look at"),
    (Stored::ForTests, &[KEY], "limits of keys", "look at"),
    (Stored::One, &[], "logs", "ok"),
    (Stored::One, &[("LOG_IDS", "plain")], "logs", "look at"),
    (Stored::One, &[("LOG_LEVEL", "trace")], "logs", "look at"),
    (Stored::One, &[], "metrics", "ok"),
    (Stored::One, &[("METRICS_LISTEN", "127.0.0.1:0")], "metrics", "ok"),
    (
        Stored::One,
        &[("METRICS_LISTEN", "0.0.0.0:0")],
        "metrics",
        "look at",
    ),
    (
        Stored::One,
        &[("METRICS_LISTEN", "0.0.0.0:0"), ("METRICS", "0")],
        "metrics",
        "ok",
    ),
    (Stored::One, &[], "backups", "by hand"),
];

/// Goes through the rows; gives how many lists were looked at.
async fn judge(rows: &[Row], place: impl AsyncFn() -> Place) {
    for stored in Stored::ALL {
        let place = place().await;
        place.apply().await;
        let keys = stored.store(&place).await;
        for (name, content, mode) in FILES {
            let path = place.home.path().join(name);
            fs::write(&path, content).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("a mode");
        }
        for (_, settings, what, mark) in rows.iter().filter(|(of, ..)| *of == stored) {
            let row = format!("{stored:?} {settings:?} {what}");
            let run = place.check(settings).await;
            let items = items(&run.stdout);
            let found: Vec<_> = items.iter().filter(|item| item.what == *what).collect();
            assert_eq!(found.len(), 1, "{row}: {run:?}");
            assert_eq!(found[0].mark, *mark, "{row}: {run:?}");
            assert!(!found[0].found.is_empty(), "{row}: {run:?}");
            let is_wrong = items.iter().any(|item| item.mark == "WRONG");
            let code = if is_wrong { REFUSED } else { 0 };
            assert_eq!(run.code, Some(code), "{row}: {run:?}");
            let says = run.stderr.contains("not ready for production");
            assert_eq!(says, is_wrong, "{row}: {run:?}");
            let said = run.stdout + &run.stderr;
            let tells = keys.iter().any(|key| said.contains(key.as_str()));
            assert!(!tells && !said.contains("canary"), "{row}: {said}");
        }
    }
}

#[tokio::test]
async fn every_item_goes_by_settings_and_stored_keys() {
    judge(ROWS, async || Place::file()).await;
}

#[tokio::test]
async fn keys_on_postgres_are_judged_too() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let rows: Vec<Row> = ROWS
        .iter()
        .filter(|(_, _, what, _)| {
            [
                "a key of your own",
                "whose conversations are",
                "limits of keys",
                "the way to the database",
            ]
            .contains(what)
        })
        .copied()
        .collect();
    judge(&rows, async || Place {
        home: home(),
        data: Some(cluster.database().await),
    })
    .await;
}

#[tokio::test]
async fn the_way_to_the_database_goes_by_its_kind() {
    for place in Place::each().await {
        place.apply().await;
        let run = place.check(&[KEY]).await;
        let found = items(&run.stdout);
        let way = found.iter().find(|item| item.what == "the way to the database");
        // The tests' server is on this machine, or named by whoever runs them.
        let marks: &[&str] = match &place.data {
            None => &["by hand"],
            Some(_) => &["ok", "look at"],
        };
        assert!(way.is_some_and(|item| marks.contains(&item.mark)), "{run:?}");
    }
}

#[tokio::test]
async fn without_production_there_is_no_list() {
    let place = Place::file();
    place.apply().await;
    assert_eq!(items(&place.said(&["check"]).await), []);
    assert_eq!(items(&place.check(&[]).await.stdout).len(), 13);
}

#[tokio::test]
async fn looking_changes_nothing() {
    for place in Place::each().await {
        place.apply().await;
        place.said(&["keys", "create", "kept"]).await;
        let all = async || {
            let mut said = Vec::new();
            for command in [
                ["keys", "list", "--json"].as_slice(),
                &["keys", "audit", "--json"],
                &["migrate", "status"],
            ] {
                said.push(place.said(command).await);
            }
            said
        };
        let before = all().await;
        for settings in [[].as_slice(), &[KEY]] {
            assert_eq!(place.check(settings).await.code, Some(0));
        }
        assert_eq!(all().await, before);
    }
}

#[tokio::test]
async fn a_schema_that_is_pending_stays_pending() {
    for place in Place::each().await {
        if place.data.is_none() {
            // Where there is no file, there is nothing to check.
            place.apply().await;
            let database = rusqlite::Connection::open(place.home.path().join("engagement.db"));
            database
                .and_then(|database| database.execute("DELETE FROM schema_migrations WHERE version > 4", []))
                .expect("a database of an older program");
        }
        let before = place.said(&["migrate", "status"]).await;
        assert!(before.contains("pending"), "{before}");

        let with_key = place.check(&[KEY]).await;
        let without = place.check(&[]).await;

        assert_eq!(with_key.code, Some(0), "{with_key:?}");
        assert_eq!(without.code, Some(REFUSED), "{without:?}");
        for run in [&with_key, &without] {
            assert!(run.stdout.contains("migrations pending"), "{run:?}");
            assert_eq!(items(&run.stdout).len(), 13, "{run:?}");
        }
        assert_eq!(place.said(&["migrate", "status"]).await, before);
    }
}
