//! Who writes the replies: one trait, and behind it everything that can answer a prompt.
//!
//! A provider knows nothing of queues, leases or databases. It alone knows its own errors, so it says
//! whether another try can help.

pub mod rules;
pub mod scripted;

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Failure, MessageText};

/// What a reply is to answer.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// What the user said.
    pub text: MessageText,
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
    /// Another try cannot help.
    Fail(Failure),
}

/// Writes replies.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Answers a prompt with the assistant's text. Dropping the future calls the work off.
    async fn answer(&self, prompt: &Prompt) -> Result<String, Refusal>;
}
