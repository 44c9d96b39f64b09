//! Who waits for something to happen in a conversation.
//!
//! A hint and no more: it says that something may have happened, never what. Whoever is told looks into the store.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::model::ConversationId;

/// Tells those who wait.
#[derive(Debug, Clone, Default)]
pub struct News(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<HashMap<u64, Waiting>>,
    /// Looked at first: mostly nobody waits.
    subscriptions: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    happened: Arc<Notify>,
    subscriptions: usize,
}

impl News {
    /// Waits for what happens in a conversation from now on.
    pub fn subscribe(&self, conversation: ConversationId) -> Subscription {
        let key = key(conversation);
        let mut waiting = self.waiting();
        let entry = waiting.entry(key).or_default();
        entry.subscriptions += 1;
        let happened = Arc::clone(&entry.happened);
        drop(waiting);
        self.0.subscriptions.fetch_add(1, Ordering::SeqCst);
        Subscription {
            key,
            happened,
            news: self.clone(),
        }
    }

    /// How many wait, in any conversation.
    pub fn subscriptions(&self) -> usize {
        self.0.subscriptions.load(Ordering::SeqCst)
    }

    /// Something may have happened in this conversation.
    pub fn tell(&self, conversation: ConversationId) {
        self.tell_key(key(conversation));
    }

    /// As [`News::tell`], for a conversation that is known by its key only.
    pub(super) fn tell_key(&self, key: u64) {
        if self.subscriptions() == 0 {
            return;
        }
        if let Some(waiting) = self.waiting().get(&key) {
            waiting.happened.notify_waiters();
        }
    }

    /// Something may have happened anywhere.
    pub(super) fn tell_all(&self) {
        for waiting in self.waiting().values() {
            waiting.happened.notify_waiters();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands for a conversation between nodes: half of its identifier, which opens nothing by itself.
pub(super) fn key(conversation: ConversationId) -> u64 {
    conversation.as_uuid().as_u64_pair().0
}

/// Somebody who waits.
#[derive(Debug)]
pub struct Subscription {
    key: u64,
    happened: Arc<Notify>,
    news: News,
}

impl Subscription {
    /// Answers when something may have happened since this was called: so call it, then look, then await it.
    pub fn happened(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        Arc::clone(&self.happened).notified_owned()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiting = self.news.waiting();
        if let Some(entry) = waiting.get_mut(&self.key) {
            entry.subscriptions -= 1;
            if entry.subscriptions == 0 {
                waiting.remove(&self.key);
            }
        }
        drop(waiting);
        self.news.0.subscriptions.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn whoever_waits_is_told_and_nobody_else() {
        let (here, there) = (ConversationId::from([1; 16]), ConversationId::from([2; 16]));
        let news = News::default();
        let (first, second, other) = (news.subscribe(here), news.subscribe(here), news.subscribe(there));
        let (told, told_too, not_told) = (first.happened(), second.happened(), other.happened());
        news.tell(here);
        assert_eq!(told.now_or_never(), Some(()));
        assert_eq!(told_too.now_or_never(), Some(()));
        assert_eq!(not_told.now_or_never(), None);
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let news = News::default();
        drop(news.subscribe(ConversationId::from([1; 16])));
        assert_eq!(news.subscriptions(), 0);
        assert!(news.waiting().is_empty());
    }
}
