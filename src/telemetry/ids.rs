//! Identifiers in logs. A public read makes a conversation's id a secret, so logs show a keyed hash of it.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
};

use crate::config::LoggedIds;

static SHOWN: OnceLock<LoggedIds> = OnceLock::new();
static KEY: OnceLock<RandomState> = OnceLock::new();

/// Decides once how identifiers appear; until then they are hashed.
pub(super) fn show(how: LoggedIds) {
    // A second decision changes nothing: there is one logger in a process.
    let _ = SHOWN.set(how);
}

/// An identifier as logs may show it.
pub struct Logged<T>(pub T);

impl<T: fmt::Display + std::hash::Hash> fmt::Display for Logged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if SHOWN.get() == Some(&LoggedIds::Plain) {
            return self.0.fmt(f);
        }
        // SipHash under a key from the operating system: a pseudo-random function of the id.
        write!(f, "#{:016x}", KEY.get_or_init(RandomState::new).hash_one(&self.0))
    }
}
