//! Who is asking: which key a request came with, whose that is, what it may do and how much.
//!
//! The [`Keyring`] knows all keys and judges credentials without asking the database; the [`Desk`] makes, lists and
//! takes back keys, for whoever may. What happens around keys is told in the audit.
//!
//! No HTTP here, and no SQL.

mod desk;
mod journal;
mod keeping;
mod keyring;
mod spending;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use desk::{Desk, Drawn, Error, Made, NewKey, Remember};
pub use keyring::{Keyring, Refused};
pub use spending::{Spending, until_next_day};

use crate::model::{Actor, KeyId, KeyLimits, Owner, Scopes};

/// Somebody who came with a key that opens something.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose the key is.
    pub owner: Owner,
    /// The key; `None` for the one of the configuration.
    pub key: Option<KeyId>,
    /// What it may do.
    pub scopes: Scopes,
    /// How much.
    pub limits: KeyLimits,
    /// Cancelled once the key opens nothing any more: what it opened ends with it. Behind an `Arc`, as a token takes a lock
    /// to be cloned, which all requests with the key would meet at.
    pub ended: Arc<CancellationToken>,
}

impl Caller {
    /// Who runs the service.
    pub fn operator() -> Self {
        Self {
            owner: Owner::OPERATOR,
            key: None,
            scopes: Scopes::ALL,
            limits: KeyLimits::default(),
            ended: Arc::default(),
        }
    }

    /// As the audit names them.
    pub const fn actor(&self) -> Actor {
        Actor::holding(self.key)
    }
}
