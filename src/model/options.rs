//! What a conversation, or one message of it, wants of its replies.

use std::num::NonZeroU32;

use super::{Instructions, ModelName};

/// How replies are to be written. What is `None` is decided further out: a message's options come before its
/// conversation's, and those before what the operator configured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReplyOptions {
    /// Which model writes.
    pub model: Option<ModelName>,
    /// What the model is told before anything else (the system prompt).
    pub instructions: Option<Instructions>,
    /// How freely words are chosen.
    pub temperature: Option<Temperature>,
    /// From how much of the probability words are chosen.
    pub top_p: Option<TopP>,
    /// The longest answer, in the model's tokens.
    pub max_output_tokens: Option<NonZeroU32>,
    /// What a user message means for a reply that is being written.
    pub busy: Option<BusyPolicy>,
}

impl ReplyOptions {
    /// These options, completed by others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            model: self.model.or(others.model),
            instructions: self.instructions.or(others.instructions),
            temperature: self.temperature.or(others.temperature),
            top_p: self.top_p.or(others.top_p),
            max_output_tokens: self.max_output_tokens.or(others.max_output_tokens),
            busy: self.busy.or(others.busy),
        }
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What to do with a field: leave it, empty it, or give it a value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Change<T> {
    /// As it was.
    #[default]
    Keep,
    /// Nothing from now on.
    Clear,
    /// This from now on.
    Set(T),
}

impl<T> Change<T> {
    /// The value after the change.
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// A change of [`ReplyOptions`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OptionsChange {
    /// Of the model.
    pub model: Change<ModelName>,
    /// Of the instructions.
    pub instructions: Change<Instructions>,
    /// Of the temperature.
    pub temperature: Change<Temperature>,
    /// Of the part of the probability.
    pub top_p: Change<TopP>,
    /// Of the longest answer.
    pub max_output_tokens: Change<NonZeroU32>,
    /// Of the busy policy.
    pub busy: Change<BusyPolicy>,
}

impl OptionsChange {
    /// The options after the change.
    pub fn apply(self, before: ReplyOptions) -> ReplyOptions {
        ReplyOptions {
            model: self.model.apply(before.model),
            instructions: self.instructions.apply(before.instructions),
            temperature: self.temperature.apply(before.temperature),
            top_p: self.top_p.apply(before.top_p),
            max_output_tokens: self.max_output_tokens.apply(before.max_output_tokens),
            busy: self.busy.apply(before.busy),
        }
    }

    /// Whether everything stays.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, 0.0 to $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
        pub struct $name(f64);

        impl $name {
            /// The largest value; the smallest is 0.
            pub const MAX: f64 = $max;

            /// `None` when it lies outside, or is no number.
            pub fn new(value: f64) -> Option<Self> {
                (0.0..=Self::MAX).contains(&value).then_some(Self(value))
            }

            /// The number itself.
            pub const fn get(self) -> f64 {
                self.0
            }
        }
    };
}

number! {
    /// A sampling temperature.
    Temperature, 0.0 to 2.0
}
number! {
    /// The part of the probability that words are chosen from (nucleus sampling).
    TopP, 0.0 to 1.0
}

/// What happens to a user message that arrives while an earlier reply of its conversation is unfinished. It concerns
/// only replies that [take turns](super::NewReply::lane).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusyPolicy {
    /// Its reply waits for the earlier ones, and sees them.
    #[default]
    Queue,
    /// It is refused.
    Reject,
    /// The unfinished replies are cancelled.
    Interrupt,
}

impl BusyPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Reject, Self::Interrupt];

    /// The name on the wire and in databases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Reject => "reject",
            Self::Interrupt => "interrupt",
        }
    }

    /// Reads the exact, case-sensitive name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(Temperature::new(2.0).map(Temperature::get), Some(2.0));
        for wrong in [-0.1, 2.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Temperature::new(wrong), None, "{wrong}");
        }
        assert_eq!(TopP::new(1.1), None);
    }

    #[test]
    fn the_nearer_options_win() {
        let near = ReplyOptions {
            temperature: Temperature::new(0.5),
            ..ReplyOptions::default()
        };
        let far = ReplyOptions {
            temperature: Temperature::new(1.0),
            top_p: TopP::new(0.9),
            ..ReplyOptions::default()
        };
        let both = near.or(far);
        assert_eq!(both.temperature, Temperature::new(0.5));
        assert_eq!(both.top_p, TopP::new(0.9));
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let before = ReplyOptions {
            temperature: Temperature::new(0.5),
            top_p: TopP::new(0.9),
            ..ReplyOptions::default()
        };
        let change = OptionsChange {
            top_p: Change::Clear,
            busy: Change::Set(BusyPolicy::Reject),
            ..OptionsChange::default()
        };
        let after = change.apply(before.clone());
        assert_eq!(after.temperature, before.temperature);
        assert_eq!(after.top_p, None);
        assert_eq!(after.busy, Some(BusyPolicy::Reject));
    }
}
