//! The text of a key: what is written is read, and nothing else is. The input is a text, and what a key is made of.

use anyhow::Result;
use engagement::model::{Environment, KeyId, KeyText};

use crate::engine::Trial;

pub(super) const WORDS: &[&str] = &[
    "eng_live_",
    "eng_test_",
    "_",
    "eng_live_00000LjaL3EZ_0123456789abcdefghijABCDEFGHIJ0123456789abc2FNvZC",
    "000000",
    "zzzzzz",
    "\u{661}",
];

#[expect(
    clippy::unnecessary_wraps,
    reason = "other targets have something to open that can fail"
)]
pub(super) fn trial() -> Result<Trial> {
    Ok(Box::new(|input| {
        if let Ok(text) = std::str::from_utf8(input)
            && let Some(key) = KeyText::parse(text)
            && key.compose() != text
        {
            return Err(format!("a key that is written in two ways: {}", key.compose()));
        }
        let secret = KeyText::secret_of(input.iter().copied().chain(0..43));
        let number = input
            .iter()
            .fold(0_u64, |number, byte| number.rotate_left(7) ^ u64::from(*byte));
        let written = KeyText {
            environment: if input.len() % 2 == 0 {
                Environment::Live
            } else {
                Environment::Test
            },
            id: KeyId::from_number((number >> 8).into()),
            secret: &secret,
        };
        let text = written.compose();
        if KeyText::parse(&text) != Some(written) {
            return Err(format!("{text} is not read as it was written"));
        }
        // Of one wrong character, CRC-32 lets none pass.
        let at = input.len() % text.len();
        let other = char::from(input.first().copied().unwrap_or(b'0') & 0x7f);
        let wrong = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        if wrong != text && KeyText::parse(&wrong).is_some() {
            return Err(format!("{wrong} is taken for {text}"));
        }
        Ok(())
    }))
}
