//! API keys: made, changed, used, and what is told of it.

use std::{num::NonZeroU32, time::Duration};

use engagement::{
    model::{
        Actor, ApiKey, AuditEntry, Audited, Environment, KeyDigest, KeyId, KeyLimits, KeyName, Owner,
        Rotated, Scope, Scopes, Successor, Timestamp,
    },
    store::Error,
};
use futures_util::future::join_all;
use uuid::Uuid;

use super::{Database, at};

pub(super) fn key_id(number: u128) -> KeyId {
    KeyId::from_number(number)
}

/// The first of a line, made at this time.
pub(super) fn key(number: u128, now: i64) -> ApiKey {
    ApiKey {
        id: key_id(number),
        owner: Owner::of(key_id(number)),
        environment: Environment::Test,
        name: KeyName::parse("web").unwrap(),
        digest: KeyDigest::new([7; 32]),
        scopes: [Scope::Read, Scope::Delete].into_iter().collect::<Scopes>(),
        limits: KeyLimits {
            requests_per_s: NonZeroU32::new(5),
            ..KeyLimits::default()
        },
        created: at(now),
        expires: None,
        revoked: None,
        last_used: None,
    }
}

pub(super) fn entry(number: u128, what: Audited, now: i64) -> AuditEntry {
    AuditEntry {
        id: Uuid::from_u128(number),
        at: at(now),
        what,
        key: Some(key_id(number)),
        by: Actor::CommandLine,
        address: None,
        count: 1,
    }
}

pub(super) fn successor(number: u128, overlap: u64, now: i64) -> Successor {
    Successor {
        id: key_id(number),
        digest: KeyDigest::new([8; 32]),
        overlap: Duration::from_micros(overlap),
        expires: Some(at(9_000)),
        now: at(now),
    }
}

impl Database {
    /// Makes a key, and an entry with its number.
    pub(super) async fn make_key(&self, number: u128, now: i64) -> ApiKey {
        let created = entry(number, Audited::Created, now);
        self.store
            .create_key(key(number, now), created, None)
            .await
            .unwrap()
    }

    async fn rotate(&self, number: u128, to: Successor) -> Rotated {
        let rotated = entry(to.id.as_uuid().as_u128(), Audited::Rotated, to.now.as_micros());
        self.store
            .rotate_key(key_id(number), to, rotated, None)
            .await
            .unwrap()
    }

    async fn revoke(&self, number: u128, entry_number: u128, now: i64) -> Option<ApiKey> {
        let revoked = entry(entry_number, Audited::Revoked, now);
        self.store
            .revoke_key(key_id(number), at(now), revoked)
            .await
            .unwrap()
    }

    async fn key(&self, number: u128) -> ApiKey {
        let keys = self.store.keys().await.unwrap();
        keys.into_iter().find(|key| key.id == key_id(number)).unwrap()
    }

    /// What was told, the newest first.
    async fn told_of_keys(&self) -> Vec<Audited> {
        let entries = self.store.audit(100).await.unwrap();
        entries.iter().map(|entry| entry.what).collect()
    }
}

fn ids(keys: &[ApiKey]) -> Vec<KeyId> {
    keys.iter().map(|key| key.id).collect()
}

pub(super) async fn a_key_is_read_as_it_was_made(db: Database) {
    let mut made = key(7, 1_000);
    made.limits.tokens_per_day = std::num::NonZeroU64::new(1 << 40);
    made.expires = Some(at(5_000));
    made.name = KeyName::parse("Büro „zwei“ 🦀").unwrap();
    let created = db
        .store
        .create_key(made.clone(), entry(7, Audited::Created, 1_000), None)
        .await
        .unwrap();
    assert_eq!(created, made);
    assert_eq!(db.store.keys().await.unwrap(), [made]);
    assert_eq!(
        db.store.audit(10).await.unwrap(),
        [entry(7, Audited::Created, 1_000)]
    );
}

pub(super) async fn a_taken_key_id_is_a_conflict_and_is_not_told(db: Database) {
    let first = db.make_key(7, 1_000).await;
    let mut other = key(7, 2_000);
    other.name = KeyName::parse("another").unwrap();
    let taken = db
        .store
        .create_key(other, entry(8, Audited::Created, 2_000), None)
        .await;
    assert!(matches!(taken, Err(Error::Conflict)), "{taken:?}");
    assert_eq!(db.store.keys().await.unwrap(), [first]);
    assert_eq!(db.told_of_keys().await, [Audited::Created]);
}

pub(super) async fn keys_are_listed_by_age(db: Database) {
    for (number, now) in [(3, 1_000), (1, 3_000), (2, 2_000)] {
        db.make_key(number, now).await;
    }
    assert_eq!(
        ids(&db.store.keys().await.unwrap()),
        [key_id(3), key_id(2), key_id(1)]
    );
}

pub(super) async fn a_revoked_key_stays_as_it_is(db: Database) {
    db.make_key(7, 1_000).await;
    let revoked = db.revoke(7, 8, 2_000).await.unwrap();
    assert_eq!(revoked.revoked, Some(at(2_000)));
    assert_eq!(
        db.revoke(7, 9, 3_000).await,
        Some(revoked.clone()),
        "the first time counts"
    );
    assert_eq!(db.key(7).await, revoked);
    assert_eq!(db.told_of_keys().await, [Audited::Revoked, Audited::Created]);
    assert_eq!(db.revoke(6, 10, 3_000).await, None);
    assert_eq!(
        db.told_of_keys().await.len(),
        2,
        "nothing happened to a key that is not there"
    );
}

pub(super) async fn a_key_takes_the_place_of_another(db: Database) {
    let old = db.make_key(7, 1_000).await;
    let Rotated::Made(new) = db.rotate(7, successor(8, 500, 2_000)).await else {
        panic!("it opens something");
    };
    let expected = ApiKey {
        id: key_id(8),
        digest: KeyDigest::new([8; 32]),
        created: at(2_000),
        expires: Some(at(9_000)),
        ..old.clone()
    };
    assert_eq!(new, expected);
    assert_eq!(db.key(8).await, expected);
    assert_eq!(new.owner, Owner::of(key_id(7)), "it is the same line");
    assert_eq!(db.key(7).await.expires, Some(at(2_500)));
    assert_eq!(db.told_of_keys().await, [Audited::Rotated, Audited::Created]);

    // Again, with more time: that does not give the old one more.
    db.rotate(7, successor(9, 5_000, 2_100)).await;
    assert_eq!(db.key(7).await.expires, Some(at(2_500)));
    assert_eq!(db.key(9).await.owner, Owner::of(key_id(7)));
}

pub(super) async fn what_opens_nothing_has_no_successor(db: Database) {
    assert_eq!(db.rotate(7, successor(8, 0, 2_000)).await, Rotated::NoKey);
    db.make_key(7, 1_000).await;
    db.rotate(7, successor(8, 0, 2_000)).await;
    assert_eq!(
        db.rotate(7, successor(9, 0, 2_000)).await,
        Rotated::NotActive,
        "it has expired"
    );
    db.make_key(5, 1_000).await;
    db.revoke(5, 6, 1_500).await;
    assert_eq!(db.rotate(5, successor(10, 0, 2_000)).await, Rotated::NotActive);
    assert_eq!(db.store.keys().await.unwrap().len(), 3);
    assert_eq!(db.store.audit(100).await.unwrap().len(), 4);
}

pub(super) async fn changes_of_keys_are_read_once(db: Database) {
    let none = db.store.keys_changed(0).await.unwrap();
    assert_eq!((none.keys.len(), none.last), (0, 0));
    db.make_key(1, 1_000).await;
    db.make_key(2, 2_000).await;

    let all = db.store.keys_changed(0).await.unwrap();
    assert_eq!(ids(&all.keys), [key_id(1), key_id(2)]);
    let none = db.store.keys_changed(all.last).await.unwrap();
    assert_eq!((none.keys.len(), none.last), (0, all.last));

    db.revoke(1, 10, 3_000).await;
    let revoked = db.store.keys_changed(all.last).await.unwrap();
    assert_eq!(revoked.keys, [db.key(1).await]);
    db.rotate(2, successor(3, 10, 4_000)).await;
    let rotated = db.store.keys_changed(revoked.last).await.unwrap();
    assert_eq!(rotated.keys, [db.key(2).await, db.key(3).await]);

    db.store.touch_keys(vec![(key_id(3), at(5_000))]).await.unwrap();
    db.revoke(1, 11, 5_000).await;
    let none = db.store.keys_changed(rotated.last).await.unwrap();
    assert_eq!(none.keys, [], "use is no change, nor is what changes nothing");
    assert_eq!(
        ids(&db.store.keys_changed(0).await.unwrap().keys),
        [key_id(1), key_id(2), key_id(3)]
    );
}

pub(super) async fn no_change_of_keys_is_missed(db: Database) {
    const KEYS: u128 = 40;
    let make = join_all((1..=KEYS).map(|number| db.make_key(number, 1_000)));
    let watch = async {
        let (mut seen, mut last) = (Vec::new(), 0);
        while seen.len() < KEYS as usize {
            let changes = db.store.keys_changed(last).await.unwrap();
            assert!(changes.last >= last);
            last = changes.last;
            seen.extend(ids(&changes.keys));
            tokio::task::yield_now().await;
        }
        seen
    };
    let (_, mut seen) = tokio::join!(make, watch);
    seen.sort_unstable();
    assert_eq!(seen, (1..=KEYS).map(key_id).collect::<Vec<_>>(), "each once");
}

pub(super) async fn the_last_use_never_steps_back(db: Database) {
    db.make_key(1, 1_000).await;
    db.make_key(2, 1_000).await;
    let used = |keys: &[(u128, i64)]| -> Vec<(KeyId, Timestamp)> {
        keys.iter()
            .map(|(number, now)| (key_id(*number), at(*now)))
            .collect()
    };
    db.store
        .touch_keys(used(&[(1, 2_000), (9, 2_000)]))
        .await
        .unwrap();
    assert_eq!(
        (db.key(1).await.last_used, db.key(2).await.last_used),
        (Some(at(2_000)), None)
    );
    db.store
        .touch_keys(used(&[(2, 3_000), (1, 1_500), (2, 3_500), (2, 3_100)]))
        .await
        .unwrap();
    assert_eq!(
        (db.key(1).await.last_used, db.key(2).await.last_used),
        (Some(at(2_000)), Some(at(3_500)))
    );
    db.store.touch_keys(Vec::new()).await.unwrap();
}

pub(super) async fn what_happened_is_told_the_newest_first_and_forgotten_in_time(db: Database) {
    let refused = AuditEntry {
        id: Uuid::from_u128(20),
        at: at(2_000),
        what: Audited::Refused,
        key: None,
        by: Actor::Anonymous,
        address: Some("192.0.2.1".to_owned()),
        count: 12,
    };
    let default = entry(21, Audited::DefaultKey, 2_000);
    let early = entry(22, Audited::Refused, 1_000);
    let entries = vec![early.clone(), refused.clone(), default.clone()];
    db.store.note(entries, at(0)).await.unwrap();

    let told = db.store.audit(10).await.unwrap();
    assert_eq!(told, [default.clone(), refused.clone(), early]);
    assert_eq!(db.store.audit(1).await.unwrap(), told[..1]);
    assert_eq!(db.store.audit(0).await.unwrap(), []);

    let late = entry(23, Audited::Refused, 3_000);
    db.store.note(vec![late.clone()], at(2_000)).await.unwrap();
    assert_eq!(db.store.audit(10).await.unwrap(), [late, default, refused]);
    db.store.note(Vec::new(), at(4_000)).await.unwrap();
    assert_eq!(db.store.audit(10).await.unwrap(), []);
}

/// The command line works on the keys of a database that a service has open.
pub(super) async fn keys_that_are_changed_from_beside_are_seen(db: Database) {
    let mine = db.make_key(1, 1_000).await;
    let beside = db.beside().await;
    let seen = db.store.keys_changed(0).await.unwrap().last;
    assert_eq!(beside.keys().await.unwrap(), [mine]);

    let made = beside
        .create_key(key(2, 2_000), entry(2, Audited::Created, 2_000), None)
        .await
        .unwrap();
    let rotated = beside
        .rotate_key(
            key_id(2),
            successor(3, 100, 3_000),
            entry(3, Audited::Rotated, 3_000),
            None,
        )
        .await;
    let Ok(Rotated::Made(next)) = rotated else {
        panic!("{rotated:?}")
    };
    assert_eq!(next.owner, made.owner);
    let revoked = beside
        .revoke_key(key_id(1), at(4_000), entry(4, Audited::Revoked, 4_000))
        .await;
    assert_eq!(revoked.unwrap().unwrap().revoked, Some(at(4_000)));

    let changes = db.store.keys_changed(seen).await.unwrap();
    assert_eq!(ids(&changes.keys), [key_id(2), key_id(3), key_id(1)]);
    assert_eq!(changes, beside.keys_changed(seen).await.unwrap());
    assert_eq!(
        db.told_of_keys().await,
        [
            Audited::Revoked,
            Audited::Rotated,
            Audited::Created,
            Audited::Created
        ]
    );
    assert_eq!(beside.audit(10).await.unwrap(), db.store.audit(10).await.unwrap());
    let taken = beside
        .create_key(key(2, 5_000), entry(5, Audited::Created, 5_000), None)
        .await;
    assert!(matches!(taken, Err(Error::Conflict)), "{taken:?}");
    beside.touch_keys(vec![(key_id(3), at(6_000))]).await.unwrap();
    beside
        .note(vec![entry(6, Audited::Refused, 6_000)], at(3_000))
        .await
        .unwrap();
    assert_eq!(
        db.told_of_keys().await,
        [Audited::Refused, Audited::Revoked, Audited::Rotated]
    );
    assert_eq!(db.key(3).await.last_used, Some(at(6_000)));
    beside.spend(vec![(Owner::OPERATOR, 5)], 3).await.unwrap();
    assert_eq!(beside.spent(3).await.unwrap(), [(Owner::OPERATOR, 5)]);
}
