//! What is done about keys beside the requests: learning of changes, ending what expired, writing down what waits.

use std::{sync::PoisonError, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{Keyring, desk};
use crate::{
    clock::{Seldom, Stopwatch},
    model::{Actor, Audited},
    shutdown::Shutdown,
    store,
};

/// How often that is.
const TICK: Duration = Duration::from_secs(1);

/// How long the audit remembers, and how often it is told to forget.
const AUDIT_KEPT: Duration = Duration::from_hours(365 * 24);
const FORGET_EVERY: Duration = Duration::from_hours(24);

impl Keyring {
    /// Keeps the ring up to date, and writes down what waits, until the service stops.
    pub fn keep(&self, shutdown: &Shutdown) {
        if self.lets_default_key_in() {
            let now = self.0.clock.now();
            let id = self.0.ids.entry(now);
            let used = desk::entry(id, now, Audited::DefaultKey, None, Actor::Service);
            self.0.journal.add([used]);
        }
        let (ring, of_service) = (self.clone(), shutdown.clone());
        shutdown.spawn(async move { ring.run(&of_service).await });
    }

    async fn run(&self, shutdown: &Shutdown) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let complaints = Seldom::every(Duration::from_mins(1));
        let mut forgot: Option<Stopwatch> = None;
        loop {
            tokio::select! {
                biased;
                () = shutdown.begun() => break,
                _ = ticks.tick() => {}
            }
            self.0.end_what_expired();
            let is_due = forgot.is_none_or(|forgot| forgot.elapsed() >= FORGET_EVERY);
            let done = async {
                self.look().await?;
                self.write_down(is_due, false).await
            };
            match done.await {
                Ok(()) if is_due => forgot = Some(Stopwatch::start()),
                Ok(()) => {}
                Err(error) => {
                    if let Some(unsaid) = complaints.pass() {
                        tracing::warn!(%error, unsaid, "keys cannot be kept up to date; those that are known go on");
                    }
                }
            }
        }
        if let Err(error) = self.write_down(false, true).await {
            tracing::warn!(%error, "the last of the audit could not be written");
        }
    }

    /// Stores when keys were used and what is to be told; what cannot be stored now waits for the next time.
    async fn write_down(&self, and_forget: bool, is_last: bool) -> store::Result<()> {
        let ring = &*self.0;
        let used = std::mem::take(&mut *ring.used.lock().unwrap_or_else(PoisonError::into_inner));
        if !used.is_empty() {
            let pairs = used.iter().map(|(id, at)| (*id, *at)).collect();
            if let Err(error) = ring.store.touch_keys(pairs).await {
                let mut waiting = ring.used.lock().unwrap_or_else(PoisonError::into_inner);
                for (id, at) in used {
                    waiting.entry(id).or_insert(at);
                }
                return Err(error);
            }
        }
        let now = ring.clock.now();
        let entries = ring.journal.take(now, &ring.ids, is_last);
        if entries.is_empty() && !and_forget {
            return Ok(());
        }
        let count = |what| -> u64 {
            let entries = entries.iter().filter(|entry| entry.what == what);
            entries.map(|entry| u64::from(entry.count)).sum()
        };
        let (refused, forbidden) = (count(Audited::Refused), count(Audited::Forbidden));
        if refused > 0 {
            tracing::warn!(
                event = "login.refused",
                count = refused,
                "credentials were refused"
            );
        }
        if forbidden > 0 {
            tracing::warn!(
                event = "scope.refused",
                count = forbidden,
                "keys were used for what they may not do"
            );
        }
        let noted = ring.store.note(entries.clone(), now.before(AUDIT_KEPT)).await;
        if noted.is_err() {
            ring.journal.add(entries);
        }
        noted
    }
}
