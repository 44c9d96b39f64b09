//! The history of the schema, the same on every database. Each adapter has the SQL of each step.

use std::fmt;

use crate::model::Timestamp;

/// One step of the schema's history.
#[derive(Debug)]
pub(super) struct Migration {
    pub(super) version: u32,
    /// Its number and what it adds; also the name of its SQL file in each adapter's folder.
    pub(super) name: &'static str,
    /// The oldest program, by the last migration it knows, that can still work with this schema.
    pub(super) needs: u32,
}

const fn migration(version: u32, name: &'static str, needs: u32) -> Migration {
    Migration { version, name, needs }
}

pub(super) const MIGRATIONS: [Migration; 9] = [
    migration(1, "0001_conversations_and_messages", 1),
    migration(2, "0002_role_and_title", 1),
    migration(3, "0003_order_counts_and_search", 3),
    migration(4, "0004_replies", 4),
    migration(5, "0005_purges", 5),
    migration(6, "0006_copies", 5),
    migration(7, "0007_events", 5),
    migration(8, "0008_keys", 5),
    migration(9, "0009_traces", 5),
];

/// The last migration this program knows.
pub const LATEST: u32 = 9;

/// Why this program cannot copy a database: it would leave things out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherSchema {
    /// So many migrations are still to be applied.
    Older(usize),
    /// A newer program has added to it.
    Newer,
}

impl OtherSchema {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Older(_) => "bring it up to date: run `engagement migrate apply` on it",
            Self::Newer => "copy it with the newer version of engagement",
        }
    }
}

impl fmt::Display for OtherSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older(pending) => write!(f, "its schema is not up to date, migrations pending: {pending}"),
            Self::Newer => f.write_str("its schema was made by a newer program"),
        }
    }
}

/// Refuses every schema but the latest that this program knows.
pub(super) fn refuse_other(history: &[MigrationState]) -> Result<(), OtherSchema> {
    let pending = history.iter().filter(|state| state.applied.is_none()).count();
    if history.iter().any(|state| state.version > LATEST) {
        Err(OtherSchema::Newer)
    } else if pending > 0 {
        Err(OtherSchema::Older(pending))
    } else {
        Ok(())
    }
}

/// What to do about a database into which another one is still to be copied.
pub(super) const FINISH_COPY: &str = "finish it: engagement copy --from … --to …";

const _: () = assert!(
    MIGRATIONS.len() == LATEST as usize,
    "LATEST is the number of the last migration"
);

/// A migration, and when it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationState {
    /// Its number.
    pub version: u32,
    /// Its name, number included.
    pub name: String,
    /// When it was applied; `None` when it is still to be.
    pub applied: Option<Timestamp>,
}

impl Migration {
    pub(super) fn state(&self, applied: Option<Timestamp>) -> MigrationState {
        MigrationState {
            version: self.version,
            name: self.name.to_owned(),
            applied,
        }
    }
}

/// The migrations that were applied, also those of a newer program, and behind them those that are still to be.
pub(super) fn history(mut applied: Vec<MigrationState>) -> Vec<MigrationState> {
    for known in &MIGRATIONS {
        if applied.iter().all(|state| state.version != known.version) {
            applied.push(known.state(None));
        }
    }
    applied.sort_by_key(|state| state.version);
    applied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_shows_what_was_applied_and_what_is_still_to_be() {
        let applied = |version, name: &str| MigrationState {
            version,
            name: name.to_owned(),
            applied: Some(Timestamp::from_micros(7)),
        };
        let first = applied(1, "0001_conversations_and_messages");
        let newer = applied(LATEST + 1, "9999_of_a_newer_program");

        let history = history(vec![first.clone(), newer.clone()]);

        assert_eq!(history.first(), Some(&first));
        assert_eq!(
            history.get(1).map(|state| (state.version, state.applied)),
            Some((2, None))
        );
        assert_eq!(history.last(), Some(&newer));
    }

    #[test]
    fn only_the_latest_schema_is_copied() {
        let now = Some(Timestamp::from_micros(7));
        let mut history: Vec<_> = MIGRATIONS.iter().map(|migration| migration.state(now)).collect();
        assert_eq!(refuse_other(&history), Ok(()));
        history.push(migration(LATEST + 1, "of_a_newer_program", 1).state(now));
        assert_eq!(refuse_other(&history), Err(OtherSchema::Newer));
        history.truncate(5);
        assert_eq!(refuse_other(&super::history(history)), Err(OtherSchema::Older(4)));
    }
}
