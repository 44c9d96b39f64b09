//! Requests that come again.

use super::{Result, Service};
use crate::store::{Mark, Once, Remembered};

impl Service {
    /// What is remembered of a request with this mark's id.
    pub async fn remembered(&self, id: uuid::Uuid) -> Result<Option<Remembered>> {
        let forgotten = self.clock.now().before(self.settings.idempotency_kept);
        Ok(self.store.remembered(id, forgotten).await?)
    }

    /// Makes a write happen once; `answer` says what is to be remembered of it.
    pub fn once<T>(&self, mark: Mark, answer: impl Fn(&T) -> String + Send + Sync + 'static) -> Once<T> {
        let now = self.clock.now();
        Once::new(mark, now, now.before(self.settings.idempotency_kept), answer)
    }
}
