//! A provider that does what a test tells it to. No configuration leads here.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Prompt, Provider, Refusal};

/// What happens when the provider is called.
#[derive(Debug, Clone)]
pub enum Step {
    /// It answers this.
    Answer(String),
    /// It refuses.
    Refuse(Refusal),
    /// It panics.
    Panic,
    /// It waits until it is let go, and then answers this.
    Hold(String),
}

/// Plays its steps in order, one for each call, and echoes the prompt once they are used up.
#[derive(Debug, Default)]
pub struct Scripted {
    steps: Mutex<VecDeque<Step>>,
    release: Arc<Notify>,
    calls: AtomicUsize,
    dropped: Arc<AtomicUsize>,
}

impl Scripted {
    /// A provider with these steps.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: Mutex::new(steps.into_iter().collect()),
            ..Self::default()
        }
    }

    /// How often it was called.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many calls were called off while they were held.
    pub fn called_off(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Lets one held call go, now or when it comes.
    pub fn release(&self) {
        self.release.notify_one();
    }
}

#[async_trait]
impl Provider for Scripted {
    async fn answer(&self, prompt: &Prompt) -> Result<String, Refusal> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let step = self
            .steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        match step {
            None => Ok(prompt.text.as_str().to_owned()),
            Some(Step::Answer(text)) => Ok(text),
            Some(Step::Refuse(refusal)) => Err(refusal),
            #[expect(clippy::panic, reason = "the script says so")]
            Some(Step::Panic) => panic!("scripted"),
            Some(Step::Hold(text)) => {
                let mut held = CountDrop(Some(Arc::clone(&self.dropped)));
                self.release.notified().await;
                held.0 = None;
                Ok(text)
            }
        }
    }
}

struct CountDrop(Option<Arc<AtomicUsize>>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}
