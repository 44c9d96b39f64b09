//! What is remembered of everybody: one number each, in a table that cannot grow beyond its bound.
//!
//! A subject is known by a keyed hash of 64 bits, so that nobody can choose whom to collide with, and an entry is 16 bytes
//! whatever the subject is. Each shard has two generations. When the young one is full it becomes the old one, and the old one
//! is forgotten; who comes again is young again. Forgotten means that the quota is whole, as it is for everybody who stays away.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A power of two: enough that two threads seldom meet.
const SHARDS: usize = 64;

/// What an entry takes in a `HashMap`: hash, number, and a byte of the map's own.
const ENTRY: usize = 17;

pub(super) struct Table {
    key: RandomState,
    shards: Vec<Mutex<Shard>>,
    /// Entries in a generation of a shard.
    most: usize,
}

#[derive(Default)]
struct Shard {
    young: HashMap<u64, u64, AsItIs>,
    old: HashMap<u64, u64, AsItIs>,
}

/// A subject's place.
#[derive(Clone, Copy)]
pub(super) struct Place(u64);

impl Table {
    /// A table that remembers the last `1 << log2` or so, and at most twice as many. It takes memory as it fills.
    pub(super) fn remembering(log2: u32) -> Self {
        // A map is at its fullest at seven eighths of a power of two.
        Self::with_generations_of((1_usize << log2) / SHARDS * 7 / 8)
    }

    fn with_generations_of(most: usize) -> Self {
        Self {
            key: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            most,
        }
    }

    /// Where a subject is found.
    pub(super) fn place(&self, subject: impl Hash) -> Place {
        Place(self.key.hash_one(subject))
    }

    /// What is remembered, or nothing's number, 0.
    pub(super) fn get(&self, place: Place) -> u64 {
        self.shard(place).map_or(0, |shard| shard.get(place))
    }

    /// Remembers another number instead, if `change` gives one.
    pub(super) fn change<T>(&self, place: Place, change: impl FnOnce(u64) -> (Option<u64>, T)) -> Option<T> {
        let mut shard = self.shard(place)?;
        let (number, given) = change(shard.get(place));
        if let Some(number) = number {
            shard.put(place, number, self.most);
        }
        Some(given)
    }

    /// The bytes that the entries take, with the room for more.
    pub(super) fn bytes(&self) -> usize {
        let maps = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // A map is full at seven eighths.
            [&shard.young, &shard.old].map(|map| map.capacity() * 8 / 7)
        });
        maps.flatten().sum::<usize>() * ENTRY
    }

    /// `None` never comes: there are as many shards as the bits can say.
    fn shard(&self, Place(hash): Place) -> Option<MutexGuard<'_, Shard>> {
        // A map takes its bits from both ends of the hash; these are in between.
        let number = usize::try_from((hash >> 32) % SHARDS as u64).ok()?;
        let shard = self.shards.get(number)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shard {
    fn get(&self, Place(hash): Place) -> u64 {
        let known = self.young.get(&hash).or_else(|| self.old.get(&hash));
        known.copied().unwrap_or_default()
    }

    fn put(&mut self, Place(hash): Place, number: u64, most: usize) {
        if let Some(known) = self.young.get_mut(&hash) {
            *known = number;
            return;
        }
        if self.young.len() >= most {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        // What the old generation may still say of it is not asked any more.
        self.young.insert(hash, number);
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct Unchanged(u64);

type AsItIs = BuildHasherDefault<Unchanged>;

impl Hasher for Unchanged {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &Table, subject: u64, number: u64) {
        table
            .change(table.place(subject), |_| (Some(number), ()))
            .unwrap();
    }

    #[test]
    fn what_was_put_last_is_what_is_found() {
        let table = Table::remembering(10);
        assert_eq!(table.get(table.place("new")), 0);
        put(&table, 1, 10);
        put(&table, 2, 20);
        put(&table, 1, 11);
        assert_eq!(table.get(table.place(1_u64)), 11);
        let seen = table.change(table.place(2_u64), |number| (None, number));
        assert_eq!(seen, Some(20));
        assert_eq!(table.get(table.place(2_u64)), 20);
    }

    #[test]
    fn who_keeps_coming_is_remembered_among_any_number_of_others() {
        let table = Table::remembering(12);
        put(&table, 0, 7);
        for other in 1..100_000 {
            put(&table, other, 1);
            if other % 500 == 0 {
                let seen = table.change(table.place(0_u64), |number| (Some(number), number));
                assert_eq!(seen, Some(7), "after {other} others");
            }
        }
        let bound = 2 * (1 << 12) * ENTRY;
        assert!(table.bytes() <= bound, "{} bytes", table.bytes());
    }

    /// Of the bound on the table's memory, see `tests/it/limits.rs`.
    #[test]
    fn control_a_table_whose_generations_never_end_grows_beyond_any_bound() {
        let table = Table::with_generations_of(usize::MAX);
        for subject in 0..2_000_000 {
            put(&table, subject, 1);
        }
        assert!(table.bytes() > 64 << 20, "{} bytes", table.bytes());
    }
}
