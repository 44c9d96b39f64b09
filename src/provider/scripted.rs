//! A provider that does what a test tells it to. No configuration leads here.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::{
    Completion, Pieces, Prompt, Provider, Refusal,
    routes::{Backend, Providers, Remote},
};
use crate::telemetry::metrics::ProviderMetrics;

/// Prompts that may be there at once, and the bytes of each, where it stands for a provider that is somewhere else.
const CONCURRENCY: usize = 1_000;
const WINDOW: usize = 1024 * 1024;

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
    /// It writes this piece by piece, and waits after each until it is let go.
    Pieces(Vec<String>),
    /// It writes this in the same way, and then refuses.
    Break(Vec<String>, Refusal),
}

/// Plays its steps in order, one for each call, and echoes the prompt once they are used up.
#[derive(Debug)]
pub struct Scripted {
    steps: Mutex<VecDeque<Step>>,
    released: Semaphore,
    prompts: Mutex<Vec<Prompt>>,
    dropped: Arc<AtomicUsize>,
}

impl Scripted {
    /// A provider with these steps.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: Mutex::new(steps.into_iter().collect()),
            released: Semaphore::new(0),
            prompts: Mutex::default(),
            dropped: Arc::default(),
        }
    }

    /// The only provider, as if it were somewhere else: its replies take turns, and are told of while they are written.
    pub fn far_away(self: &Arc<Self>) -> Providers {
        let (name, model) = ("scripted".to_owned(), "scripted".to_owned());
        let backend = Backend {
            metrics: ProviderMetrics::default(),
            name: name.clone(),
            models: vec![model.clone()],
            fallback: Vec::new(),
            remote: Some(Remote::new(CONCURRENCY, WINDOW)),
            provider: Arc::clone(self) as Arc<dyn Provider>,
        };
        Providers::new(vec![backend], (name, model))
    }

    /// How often it was called.
    pub fn calls(&self) -> usize {
        self.prompts().len()
    }

    /// What it was asked, in this order.
    pub fn prompts(&self) -> Vec<Prompt> {
        self.prompts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many calls were called off while they were held.
    pub fn called_off(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Lets one held call go, or go on, now or when it comes.
    pub fn release(&self) {
        self.release_times(1);
    }

    /// The same, so many times.
    pub fn release_times(&self, times: usize) {
        self.released.add_permits(times);
    }

    async fn hold(&self) {
        let mut held = CountDrop(Some(Arc::clone(&self.dropped)));
        // The semaphore is never closed.
        if let Ok(permit) = self.released.acquire().await {
            permit.forget();
        }
        held.0 = None;
    }

    async fn write(&self, text: Vec<String>, pieces: &Pieces) {
        for piece in text {
            // Nobody may want it any more.
            let _ = pieces.send(piece).await;
            self.hold().await;
        }
    }
}

#[async_trait]
impl Provider for Scripted {
    async fn answer(&self, prompt: &Prompt, pieces: Pieces) -> Result<Completion, Refusal> {
        self.prompts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(prompt.clone());
        let step = self
            .steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let text = match step {
            None => prompt.text.as_str().to_owned(),
            Some(Step::Answer(text)) => text,
            Some(Step::Refuse(refusal)) => return Err(refusal),
            #[expect(clippy::panic, reason = "the script says so")]
            Some(Step::Panic) => panic!("scripted"),
            Some(Step::Hold(text)) => {
                self.hold().await;
                text
            }
            Some(Step::Pieces(text)) => {
                self.write(text, &pieces).await;
                return Ok(Completion::default());
            }
            Some(Step::Break(text, refusal)) => {
                self.write(text, &pieces).await;
                return Err(refusal);
            }
        };
        // Nobody may want the answer any more.
        let _ = pieces.send(text).await;
        Ok(Completion::default())
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
