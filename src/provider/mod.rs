//! Who writes the replies: one trait, and behind it everything that can answer a prompt.
//!
//! A provider knows nothing of queues, leases or databases. It alone knows its own errors, so it says
//! whether another try can help.

mod anthropic;
mod breaker;
mod build;
mod client;
mod egress;
mod hear;
mod json;
mod judge;
mod openai;
pub mod routes;
pub mod rules;
pub mod scripted;
mod sse;
mod trouble;

pub use build::build;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::model::{Failure, FinishReason, Line, MessageText, ReplyOptions, Usage};

/// Pieces of an answer that may wait to be stored. A provider that is faster waits.
pub const PIECES: usize = 32;

/// Where a provider puts the pieces of its answer, in their order, none longer than a few KiB if it can be helped.
/// Sending fails once nobody wants them any more; the provider then just ends.
pub type Pieces = mpsc::Sender<String>;

/// What a reply is to answer.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// What was said before, oldest first: each answer behind its question.
    pub history: Vec<Line>,
    /// What the user said.
    pub text: MessageText,
    /// The model, as the provider calls it.
    pub model: String,
    /// How to answer. Its model and busy policy are without meaning here.
    pub options: ReplyOptions,
}

/// What is to be known about an answer besides its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// Why it ends there.
    pub finish: FinishReason,
    /// What it took, if the provider says so.
    pub usage: Option<Usage>,
    /// The model that wrote it, if the provider says so.
    pub model: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another try can help, not before this much time has passed if it is given.
    Retry {
        /// The provider's own wish.
        after: Option<Duration>,
        /// What to say if it was the last try.
        failure: Failure,
    },
    /// It was not asked, since it is just being tried whether it answers again. That is known soon.
    Later {
        /// When to come back.
        after: Duration,
        /// What to say if it was the last try.
        failure: Failure,
    },
    /// The prompt is longer than the model can read. A shorter history can help.
    TooLong(Failure),
    /// Another try cannot help.
    Fail(Failure),
}

impl Refusal {
    /// What to say of it.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Retry { failure, .. }
            | Self::Later { failure, .. }
            | Self::TooLong(failure)
            | Self::Fail(failure) => failure,
        }
    }
}

/// Writes replies.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Answers a prompt: the text goes out in pieces, and what comes back at the end is what else there is to know.
    /// Dropping the future calls the work off, upstream too.
    async fn answer(&self, prompt: &Prompt, pieces: Pieces) -> Result<Completion, Refusal>;

    /// How many more prompts it wants just now. Those that come all the same are told to come later.
    fn wants(&self) -> usize {
        usize::MAX
    }
}
