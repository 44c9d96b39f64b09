//! How many replies may be unfinished: all together, and those that one owner asked for.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{clock::Stopwatch, model::Owner, store::Result};

/// The store is asked again no sooner than this after it answered, and no sooner than after so many times as long as that took.
const PAUSE: Duration = Duration::from_millis(100);
const REST: u32 = 10;

/// Why there is no room for a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// There are too many unfinished ones.
    ForAnybody,
    /// There are too many that this owner asked for.
    ForOwner,
}

/// Counts from above: what was unfinished when the store was last asked, and all that came since. Only when that is too
/// much, the store is asked anew; so nobody who stays below the limits costs it a look.
#[derive(Debug)]
pub(super) struct Backlog {
    most: u64,
    counted: Mutex<Counted>,
    /// Held by whoever asks the store: the others wait for what it says.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Counted {
    all: u64,
    by_owner: HashMap<Owner, u64>,
    /// Since when, and until when it is good enough.
    looked: Option<(Stopwatch, Duration)>,
}

impl Counted {
    fn judge(&self, most: u64, owner: Owner, most_of_owner: Option<u64>) -> Option<NoRoom> {
        let of_owner = || self.by_owner.get(&owner).copied().unwrap_or_default();
        if self.all >= most {
            Some(NoRoom::ForAnybody)
        } else if most_of_owner.is_some_and(|most| of_owner() >= most) {
            Some(NoRoom::ForOwner)
        } else {
            None
        }
    }

    fn is_good_enough(&self) -> bool {
        self.looked.is_some_and(|(since, pause)| since.elapsed() < pause)
    }
}

impl Backlog {
    /// A backlog of at most so many.
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            counted: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Counts one more reply, if there is room for it. `look` asks the store.
    pub(super) async fn admit(
        &self,
        owner: Owner,
        most_of_owner: Option<u64>,
        look: impl AsyncFnOnce() -> Result<Vec<(Owner, u64)>>,
    ) -> Result<Option<NoRoom>> {
        if self.count_one(owner, most_of_owner).is_none() {
            return Ok(None);
        }
        // What was counted from above says only that it is time to look. Whoever comes meanwhile is not refused for that.
        let _looking = self.looking.lock().await;
        if self.counted().is_good_enough() {
            return Ok(self.count_one(owner, most_of_owner));
        }
        let watch = Stopwatch::start();
        let pending = look().await;
        {
            let mut counted = self.counted();
            // After a failure, too: those who waited are not to wait for another one.
            counted.looked = Some((Stopwatch::start(), PAUSE.max(watch.elapsed() * REST)));
            let pending = pending?;
            counted.all = pending.iter().map(|(_, count)| count).sum();
            counted.by_owner = pending.into_iter().collect();
        }
        Ok(self.count_one(owner, most_of_owner))
    }

    fn count_one(&self, owner: Owner, most_of_owner: Option<u64>) -> Option<NoRoom> {
        let mut counted = self.counted();
        let no_room = counted.judge(self.most, owner, most_of_owner);
        if no_room.is_none() {
            counted.all += 1;
            *counted.by_owner.entry(owner).or_default() += 1;
        }
        no_room
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const OWNER: Owner = Owner::OPERATOR;

    /// Two, which are all that there may be, as far as is known.
    async fn counted_full() -> Backlog {
        let backlog = Backlog::new(2);
        for _ in 0..2 {
            let admitted = backlog
                .admit(OWNER, None, async || panic!("no need to look"))
                .await;
            assert_eq!(admitted.unwrap(), None);
        }
        backlog
    }

    #[tokio::test]
    async fn who_comes_during_a_look_waits_for_what_it_says() {
        let backlog = counted_full().await;
        let (found, finds) = oneshot::channel();

        let (first, second, ()) = tokio::join!(
            backlog.admit(OWNER, None, async || Ok(finds.await.unwrap())),
            backlog.admit(OWNER, None, async || panic!("somebody looks already")),
            async { found.send(Vec::new()).unwrap() },
        );

        assert_eq!((first.unwrap(), second.unwrap()), (None, None));
    }

    #[tokio::test]
    async fn who_waited_is_refused_when_there_is_no_room_indeed() {
        let backlog = counted_full().await;

        let (first, second) = tokio::join!(
            backlog.admit(OWNER, None, async || Ok(vec![(OWNER, 1)])),
            backlog.admit(OWNER, None, async || panic!("somebody looks already")),
        );

        assert_eq!(
            (first.unwrap(), second.unwrap()),
            (None, Some(NoRoom::ForAnybody))
        );
    }
}
