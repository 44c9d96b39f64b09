//! What asking a provider once has cost, however that ended: by its own account or, where it gave none, by an estimate of
//! what was heard. So whoever cancels every reply just before its end pays for it all the same.

use crate::{config::BYTES_PER_TOKEN, model::Usage, provider::Prompt};

pub(super) struct Meter {
    /// Bytes that the provider was given to read.
    read: usize,
    /// Bytes that it wrote.
    written: usize,
    usage: Option<Usage>,
}

impl Meter {
    pub(super) fn of(prompt: &Prompt) -> Self {
        let history = prompt.history.iter().map(|line| line.text.as_str().len());
        let instructions = prompt.options.instructions.as_ref();
        let instructions = instructions.map_or(0, |text| text.as_str().len());
        Self {
            read: history.sum::<usize>() + instructions + prompt.text.as_str().len(),
            written: 0,
            usage: None,
        }
    }

    /// A piece came.
    pub(super) fn wrote(&mut self, piece: &str) {
        self.written += piece.len();
    }

    /// The provider's own account, if it gave one.
    pub(super) fn said(&mut self, usage: Option<Usage>) {
        self.usage = usage;
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Read and written. Of a provider that never said a word it is not known that it read any.
    pub(super) fn tokens(&self) -> u64 {
        match self.usage {
            Some(usage) => usage.input_tokens.saturating_add(usage.output_tokens),
            None if self.written == 0 => 0,
            None => u64::try_from((self.read + self.written).div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Instructions, Line, MessageText, ReplyOptions, Role};

    /// A prompt of twelve bytes.
    fn meter() -> Meter {
        let text = MessageText::parse("four").unwrap();
        Meter::of(&Prompt {
            history: vec![Line {
                role: Role::User,
                text: text.clone(),
            }],
            text,
            model: String::new(),
            options: ReplyOptions {
                instructions: Some(Instructions::parse("more").unwrap()),
                ..ReplyOptions::default()
            },
        })
    }

    #[test]
    fn what_the_provider_says_is_what_counts() {
        let mut meter = meter();
        meter.wrote("a long answer");
        meter.said(Some(Usage {
            input_tokens: 2,
            output_tokens: 3,
            cached_tokens: 1,
        }));
        assert_eq!(meter.tokens(), 5);
    }

    #[test]
    fn what_it_does_not_say_is_estimated_once_it_has_begun() {
        let mut meter = meter();
        assert_eq!(meter.tokens(), 0);
        meter.wrote("one");
        meter.wrote(" ");
        assert_eq!(meter.tokens(), 6, "16 bytes, three a token");
    }
}
