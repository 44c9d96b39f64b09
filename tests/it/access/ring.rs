//! The keyring: who is let in, and for how long.

use std::time::Duration;

use engagement::{
    access::Refused,
    config::{Settings, Stored},
    model::{Audited, Environment, KeyId, Owner, Scope, Scopes},
    shutdown::Shutdown,
};

use rusqlite::Connection;

use super::{Fixture, NOW, altered, open, text};
use crate::support::{DEFAULT_KEY, SOON, eventually};

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_key_lets_in_whoever_has_it() {
    let it = Fixture::new().await;
    let made = it
        .make(|new| new.scopes = [Scope::Read].into_iter().collect())
        .await;

    let caller = it.at(&text(&made)).expect("somebody");

    assert_eq!(caller.key, Some(made.key.id));
    assert_eq!(caller.owner, Owner::of(made.key.id));
    assert_eq!(caller.scopes, [Scope::Read].into_iter().collect::<Scopes>());
    assert!(!caller.ended.is_cancelled());
}

#[tokio::test]
async fn a_new_ring_knows_the_keys_that_there_are() {
    let it = Fixture::new().await;
    let made = it.make(|_| {}).await;

    let ring = open(&it.store, &it.access, &it.clock).await;

    assert!(ring.authenticate(text(&made).as_bytes()).is_ok());
    assert_eq!(ring.stored(), Stored::SomethingThatOpens);
}

#[tokio::test]
async fn whatever_is_wrong_opens_nothing() {
    let it = Fixture::new().await;
    let (made, other) = (it.make(|_| {}).await, it.make(|_| {}).await);
    let good = text(&made);
    let id = Some(made.key.id);
    let rows = [
        (
            "another's secret",
            altered(&good, |parts, _| parts.id = other.key.id),
            Some(other.key.id),
        ),
        (
            "a wrong last letter",
            altered(&good, |_, secret| {
                let last = if secret.pop() == Some('0') { '1' } else { '0' };
                secret.push(last);
            }),
            id,
        ),
        (
            "another environment",
            altered(&good, |parts, _| parts.environment = Environment::Test),
            id,
        ),
        (
            "no such key",
            altered(&good, |parts, _| parts.id = KeyId::from_number(1)),
            None,
        ),
        ("a wrong checksum", format!("{}!", &good[..good.len() - 1]), None),
        ("nothing", String::new(), None),
        ("the id alone", made.key.id.to_string(), None),
        ("something longer", format!("{good}0"), None),
        ("the key that everybody knows", DEFAULT_KEY.to_owned(), None),
    ];
    for (row, credentials, key) in rows {
        assert_eq!(it.at(&credentials).err(), Some(Refused { key }), "{row}");
    }
    assert_eq!(
        it.ring.authenticate(b"\xff\xfe").err(),
        Some(Refused { key: None })
    );
    assert!(it.at(&good).is_ok(), "control: the right one does");
}

#[tokio::test]
async fn a_key_that_was_taken_back_ends_what_it_opened() {
    let it = Fixture::new().await;
    let made = it.make(|_| {}).await;
    let caller = it.at(&text(&made)).expect("somebody");

    it.revoke(made.key.id).await;

    let id = Some(made.key.id);
    assert_eq!(it.at(&text(&made)).err(), Some(Refused { key: id }));
    assert!(caller.ended.is_cancelled());
    assert_eq!(it.ring.stored(), Stored::NothingThatOpens);
}

#[tokio::test]
async fn a_key_opens_nothing_from_the_moment_it_expires() {
    let it = Fixture::new().await;
    let made = it.make(|new| new.expires = Some(NOW.after(MINUTE))).await;
    let caller = it.at(&text(&made)).expect("somebody");

    it.step(MINUTE);

    assert!(it.at(&text(&made)).is_err());
    assert!(!caller.ended.is_cancelled(), "control: nothing has ticked");
    let shutdown = Shutdown::default();
    it.ring.keep(&shutdown);
    caller.ended.cancelled().await;
    shutdown.begin();
    shutdown.finished().await;
}

#[tokio::test]
async fn a_successor_has_the_same_owner_and_both_open_for_a_while() {
    let it = Fixture::new().await;
    let made = it.make(|_| {}).await;
    let before = it.at(&text(&made)).expect("somebody");

    let by = engagement::model::Actor::Operator;
    let rotated = it.desk().rotate(made.key.id, MINUTE, None, by, None).await;
    let new = rotated.expect("a successor");
    it.ring.look().await.expect("a look");

    assert_eq!(
        it.at(&text(&new)).expect("somebody").owner,
        Owner::of(made.key.id)
    );
    assert!(it.at(&text(&made)).is_ok());
    assert!(!before.ended.is_cancelled());
    it.step(MINUTE);
    assert!(it.at(&text(&made)).is_err());
    assert!(it.at(&text(&new)).is_ok());
}

#[tokio::test]
async fn the_default_key_reigns_until_a_key_is_made() {
    let it = Fixture::new().await;
    let caller = it.at(DEFAULT_KEY).expect("somebody");
    assert_eq!((caller.owner, caller.scopes), (Owner::OPERATOR, Scopes::ALL));
    assert!(it.ring.lets_default_key_in());

    let made = it.make(|_| {}).await;

    assert!(it.at(DEFAULT_KEY).is_err());
    assert!(caller.ended.is_cancelled());
    it.revoke(made.key.id).await;
    assert!(it.at(DEFAULT_KEY).is_err(), "nor does it come back");
    let ring = open(&it.store, &it.access, &it.clock).await;
    assert!(
        ring.authenticate(DEFAULT_KEY.as_bytes()).is_err(),
        "not even anew"
    );
}

#[tokio::test]
async fn the_key_of_the_configuration_stays_beside_those_that_are_made() {
    let settings = Settings {
        api_key: Some("configured".into()),
        ..Settings::default()
    };
    let it = Fixture::with(settings).await;
    let made = it.make(|_| {}).await;

    assert_eq!(it.at("configured").expect("somebody").owner, Owner::OPERATOR);
    assert!(it.at(&text(&made)).is_ok());
    for wrong in ["configure", "configured ", "Configured", DEFAULT_KEY] {
        assert!(it.at(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn production_takes_no_keys_for_trying_things_out() {
    for (production, opens) in [(true, false), (false, true)] {
        let settings = Settings {
            production: Some(production),
            ..Settings::default()
        };
        let it = Fixture::with(settings).await;

        let made = it.make(|new| new.environment = Environment::Test).await;

        assert!(text(&made).starts_with("eng_test_"));
        assert_eq!(it.at(&text(&made)).is_ok(), opens, "production: {production}");
    }
}

#[tokio::test]
async fn what_is_known_is_known_without_the_database() {
    let it = Fixture::new().await;
    let made = it.make(|_| {}).await;

    let beside = Connection::open(it.home.path().join("keys.db")).expect("the database");
    beside.execute("DROP TABLE api_keys", ()).expect("damage");

    assert!(it.ring.look().await.is_err(), "control: it is damaged");
    assert!(it.at(&text(&made)).is_ok());
    assert!(it.at("something else").is_err());
}

#[tokio::test]
async fn the_last_use_is_remembered_to_the_minute() {
    let it = Fixture::new().await;
    let (used, unused) = (it.make(|_| {}).await, it.make(|_| {}).await);
    let shutdown = Shutdown::default();
    it.ring.keep(&shutdown);
    let last_used = async || {
        let keys = it.store.keys().await.expect("the keys");
        let of = |id| keys.iter().find(|key| key.id == id).expect("the key").last_used;
        (of(used.key.id), of(unused.key.id))
    };

    it.at(&text(&used)).expect("somebody");
    eventually("its use is noted", SOON, async || {
        (last_used().await == (Some(NOW), None)).then_some(())
    })
    .await;

    it.step(Duration::from_secs(59));
    it.at(&text(&used)).expect("somebody");
    it.step(Duration::from_secs(1));
    it.at(&text(&used)).expect("somebody");
    // The second use was no reason to write, or it would have been written in the third's place.
    shutdown.begin();
    shutdown.finished().await;
    assert_eq!(last_used().await, (Some(NOW.after(MINUTE)), None));
}

#[tokio::test]
async fn refusals_and_the_default_key_are_told_in_the_audit() {
    let it = Fixture::new().await;
    let shutdown = Shutdown::default();
    it.ring.keep(&shutdown);
    for _ in 0..3 {
        let refused = it.at("wrong").expect_err("a refusal");
        it.ring.refused(refused, Some("192.0.2.7".to_owned()));
    }

    shutdown.begin();
    shutdown.finished().await;

    let entries = it.store.audit(10).await.expect("the audit");
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.what,
                entry.address.as_deref(),
                entry.count,
                entry.by.to_string(),
            )
        })
        .collect();
    assert!(
        told.contains(&(Audited::Refused, Some("192.0.2.7"), 3, "anonymous".to_owned())),
        "{told:?}"
    );
    assert!(
        told.contains(&(Audited::DefaultKey, None, 1, "service".to_owned())),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_year_old_entry_is_forgotten() {
    let it = Fixture::new().await;
    let made = it.make(|_| {}).await;
    it.step(Duration::from_hours(24 * 365) + MINUTE);
    it.revoke(made.key.id).await;

    let shutdown = Shutdown::default();
    it.ring.keep(&shutdown);

    eventually("the old entry is gone", SOON, async || {
        let entries = it.store.audit(10).await.expect("the audit");
        let what: Vec<_> = entries.iter().map(|entry| entry.what).collect();
        (what == [Audited::Revoked]).then_some(())
    })
    .await;
    shutdown.begin();
}
