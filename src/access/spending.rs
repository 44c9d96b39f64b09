//! What owners spend on models in a day, in tokens. Counted as replies end, and shared by all nodes through the store within
//! seconds; what a killed process counted last is forgotten. It is a limit, and no bill.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    model::{Owner, Timestamp},
    store::{KeyStore, Result},
};

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// A handle to what was spent.
#[derive(Debug, Clone, Default)]
pub struct Spending(Arc<Mutex<Spent>>);

#[derive(Debug, Default)]
struct Spent {
    /// The day that `today` is about.
    day: i64,
    /// What the store knew at the last look.
    today: HashMap<Owner, u64>,
    /// What it is to be told.
    unsaid: HashMap<Owner, u64>,
}

impl Spending {
    /// Counts what a reply has cost.
    pub fn add(&self, owner: Owner, tokens: u64) {
        if tokens > 0 {
            *self.spent().unsaid.entry(owner).or_default() += tokens;
        }
    }

    /// What an owner has spent on this day, as far as is known here.
    pub fn of(&self, owner: Owner, now: Timestamp) -> u64 {
        let spent = self.spent();
        let known = |counts: &HashMap<Owner, u64>| counts.get(&owner).copied().unwrap_or_default();
        let today = if spent.day == day(now) {
            known(&spent.today)
        } else {
            0
        };
        today + known(&spent.unsaid)
    }

    /// Tells the store what was counted here, and learns what was counted elsewhere. When it fails, what was counted is kept.
    pub async fn share(&self, store: &(impl KeyStore + ?Sized), now: Timestamp) -> Result<()> {
        let day = day(now);
        let saying = std::mem::take(&mut self.spent().unsaid);
        if !saying.is_empty()
            && let Err(error) = store
                .spend(
                    saying.iter().map(|(owner, tokens)| (*owner, *tokens)).collect(),
                    day,
                )
                .await
        {
            let mut spent = self.spent();
            for (owner, tokens) in saying {
                *spent.unsaid.entry(owner).or_default() += tokens;
            }
            return Err(error);
        }
        let today = store.spent(day).await?.into_iter().collect();
        let mut spent = self.spent();
        spent.day = day;
        spent.today = today;
        Ok(())
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Days since 1970-01-01.
fn day(now: Timestamp) -> i64 {
    now.as_micros().div_euclid(DAY)
}

/// How long until what was spent counts no more.
pub fn until_next_day(now: Timestamp) -> std::time::Duration {
    now.until(Timestamp::from_micros((day(now) + 1) * DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight() {
        let second = 1_000_000;
        let now = Timestamp::from_micros(3 * DAY - second);
        assert_eq!(day(now), 2);
        assert_eq!(until_next_day(now).as_secs(), 1);
    }

    #[test]
    fn what_was_counted_here_counts_at_once() {
        let (spending, now) = (Spending::default(), Timestamp::from_micros(5));
        spending.add(Owner::OPERATOR, 3);
        spending.add(Owner::OPERATOR, 4);
        assert_eq!(spending.of(Owner::OPERATOR, now), 7);
    }
}
