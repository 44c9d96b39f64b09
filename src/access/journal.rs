//! What is to be told in the audit and was not a write of its own: it waits in memory for the next tick.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::desk;
use crate::{
    clock::Stopwatch,
    ids::IdSource,
    model::{Actor, AuditEntry, Audited, KeyId, Timestamp},
};

/// How many refusals are told apart at a time; the rest is one entry of each kind, without an address.
const TOLD_APART: usize = 99;

/// How seldom they are written down once some were: whoever guesses all day is not to fill the disk.
const PAUSE: Duration = Duration::from_mins(1);

/// How many entries wait for a database that is away.
const MOST_WAITING: usize = 300;

/// What was refused, where it came from, and the key that was used or pretended to.
type Source = (Audited, Option<String>, Option<KeyId>);

#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<AuditEntry>,
    refusals: HashMap<Source, u32>,
    others: HashMap<Audited, u32>,
    written: Option<Stopwatch>,
}

impl Journal {
    /// Credentials were refused, or what was asked with them.
    pub(super) fn refused(&self, source: Source) {
        let mut pages = self.pages();
        let count = if pages.refusals.contains_key(&source) || pages.refusals.len() < TOLD_APART {
            pages.refusals.entry(source).or_default()
        } else {
            pages.others.entry(source.0).or_default()
        };
        *count = count.saturating_add(1);
    }

    /// Something to tell with the next tick; what no place is left for is forgotten.
    pub(super) fn add(&self, entries: impl IntoIterator<Item = AuditEntry>) {
        let mut pages = self.pages();
        let room = MOST_WAITING.saturating_sub(pages.entries.len());
        pages.entries.extend(entries.into_iter().take(room));
    }

    /// What is to be written down now. `is_last`: there is no later.
    pub(super) fn take(&self, now: Timestamp, ids: &IdSource, is_last: bool) -> Vec<AuditEntry> {
        let mut pages = self.pages();
        let mut entries = std::mem::take(&mut pages.entries);
        let paused = pages.written.is_some_and(|written| written.elapsed() < PAUSE);
        if pages.refusals.is_empty() || paused && !is_last {
            return entries;
        }
        pages.written = Some(Stopwatch::start());
        let refusals = std::mem::take(&mut pages.refusals);
        let others = std::mem::take(&mut pages.others);
        drop(pages);
        let rest = others
            .into_iter()
            .map(|(what, count)| ((what, None, None), count));
        let all = refusals.into_iter().chain(rest);
        entries.extend(all.map(|((what, address, key), count)| {
            let by = match (what, key) {
                (Audited::Forbidden, Some(key)) => Actor::Key(key),
                _ => Actor::Anonymous,
            };
            AuditEntry {
                address,
                count,
                ..desk::entry(ids.entry(now), now, what, key, by)
            }
        }));
        entries
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(journal: &Journal, is_last: bool) -> Vec<AuditEntry> {
        journal.take(Timestamp::from_micros(0), &IdSource::counting(), is_last)
    }

    #[test]
    fn refusals_of_one_source_are_one_entry() {
        let journal = Journal::default();
        let key = KeyId::from_number(7);
        for _ in 0..3 {
            journal.refused((Audited::Refused, Some("192.0.2.1".to_owned()), None));
        }
        journal.refused((Audited::Refused, Some("192.0.2.1".to_owned()), Some(key)));

        let mut entries = taken(&journal, false);

        entries.sort_by_key(|entry| entry.count);
        let told: Vec<_> = entries
            .iter()
            .map(|entry| (entry.address.as_deref(), entry.key, entry.count))
            .collect();
        assert_eq!(
            told,
            [(Some("192.0.2.1"), Some(key), 1), (Some("192.0.2.1"), None, 3)]
        );
    }

    #[test]
    fn what_a_key_may_not_do_is_told_apart_from_what_is_no_key() {
        let journal = Journal::default();
        let (key, from) = (KeyId::from_number(7), || Some("192.0.2.1".to_owned()));
        for _ in 0..2 {
            journal.refused((Audited::Forbidden, from(), Some(key)));
        }
        journal.refused((Audited::Refused, from(), Some(key)));

        let mut entries = taken(&journal, false);

        entries.sort_by_key(|entry| entry.count);
        let told: Vec<_> = entries
            .iter()
            .map(|entry| (entry.what, entry.by, entry.count))
            .collect();
        assert_eq!(
            told,
            [
                (Audited::Refused, Actor::Anonymous, 1),
                (Audited::Forbidden, Actor::Key(key), 2)
            ]
        );
    }

    #[test]
    fn a_crowd_is_told_in_a_hundred_entries() {
        let journal = Journal::default();
        for at in 0..100_000 {
            journal.refused((Audited::Refused, Some(format!("2001:db8::{at:x}")), None));
        }

        let entries = taken(&journal, false);

        assert_eq!(entries.len(), TOLD_APART + 1);
        assert_eq!(entries.iter().map(|entry| entry.count).sum::<u32>(), 100_000);
        let rest = entries.iter().find(|entry| entry.address.is_none());
        assert_eq!(rest.map(|rest| rest.count), Some(100_000 - 99));
    }

    #[test]
    fn later_refusals_wait_for_a_while_but_not_for_ever() {
        let journal = Journal::default();
        journal.refused((Audited::Refused, None, None));
        assert_eq!(taken(&journal, false).len(), 1);

        journal.refused((Audited::Refused, None, None));

        assert_eq!(taken(&journal, false).len(), 0);
        assert_eq!(taken(&journal, true).len(), 1);
    }

    #[test]
    fn what_waits_for_a_database_is_bounded() {
        let journal = Journal::default();
        let now = Timestamp::from_micros(0);
        let one = desk::entry(
            IdSource::counting().entry(now),
            now,
            Audited::DefaultKey,
            None,
            Actor::Service,
        );
        journal.add(std::iter::repeat_n(one, 1_000));
        assert_eq!(taken(&journal, false).len(), MOST_WAITING);
    }
}
