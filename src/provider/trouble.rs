//! What goes wrong at a provider that is somewhere else: what the log, the runner and the public get to know of each case.

use std::time::Duration;

use super::Refusal;
use crate::model::Failure;

/// A failure with its cause, for the log.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// The status of the answer, if there was one.
    pub(super) status: Option<u16>,
    /// In our words or those of the network's code; never the provider's, which can repeat what people write.
    pub(super) cause: String,
    /// How long the provider wants to be left alone.
    pub(super) after: Option<Duration>,
}

/// The cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unreachable,
    TimedOut,
    Failed,
    Overloaded,
    Limited,
    Spent,
    Unauthorized,
    Redirected,
    Garbled,
    Incomplete,
    TooLarge,
    TooLong,
    UnknownModel,
    Rejected,
}

/// Whether another try can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Retry,
    Shorten,
    GiveUp,
}

impl Kind {
    /// The stable code, the sentence for the public, and whether another try can help.
    const fn terms(self) -> (&'static str, &'static str, Verdict) {
        use Verdict::{GiveUp, Retry, Shorten};
        match self {
            Self::Unreachable => ("provider_unreachable", "The assistant cannot be reached.", Retry),
            Self::TimedOut => (
                "provider_timeout",
                "The assistant took too long to answer.",
                Retry,
            ),
            Self::Failed => ("provider_failed", "The assistant failed.", Retry),
            Self::Overloaded => ("provider_overloaded", "The assistant is overloaded.", Retry),
            Self::Limited => (
                "provider_limited",
                "The assistant is asked too much at the moment.",
                Retry,
            ),
            Self::Garbled => (
                "provider_garbled",
                "The assistant's answer could not be understood.",
                Retry,
            ),
            Self::Incomplete => ("incomplete_answer", "The assistant's answer broke off.", Retry),
            Self::TooLong => (
                "context_too_long",
                "The conversation is too long for the assistant.",
                Shorten,
            ),
            Self::Spent => ("provider_spent", "The assistant's allowance is used up.", GiveUp),
            Self::Unauthorized => (
                "provider_unauthorized",
                "The assistant does not accept this service.",
                GiveUp,
            ),
            Self::Redirected => (
                "provider_redirected",
                "The assistant is not where it should be.",
                GiveUp,
            ),
            Self::TooLarge => ("answer_too_large", "The assistant's answer is too large.", GiveUp),
            Self::UnknownModel => ("unknown_model", "The assistant does not know this model.", GiveUp),
            Self::Rejected => ("provider_rejected", "The assistant refused the request.", GiveUp),
        }
    }
}

impl Trouble {
    pub(super) fn new(kind: Kind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            status: None,
            cause: cause.into(),
            after: None,
        }
    }

    pub(super) fn garbled(cause: impl Into<String>) -> Self {
        Self::new(Kind::Garbled, cause)
    }

    /// What the runner gets to know; the log gets the rest, once.
    pub(super) fn refuse(self, provider: &str) -> Refusal {
        let (code, sentence, verdict) = self.kind.terms();
        let Self { status, cause, .. } = &self;
        match self.kind {
            // The runner asks again with less, so this is no failure yet.
            Kind::TooLong => tracing::debug!(provider, status, cause, "the context is too long"),
            Kind::Unauthorized => {
                tracing::error!(provider, status, "a provider refuses the key that it is given");
            }
            _ => tracing::warn!(provider, code, status, cause, "a provider failed"),
        }
        let failure = Failure::new(code, sentence);
        match verdict {
            Verdict::Retry => Refusal::Retry {
                after: self.after,
                failure,
            },
            Verdict::Shorten => Refusal::TooLong(failure),
            Verdict::GiveUp => Refusal::Fail(failure),
        }
    }
}
