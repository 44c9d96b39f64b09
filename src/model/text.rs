//! The texts that clients write, as types that cannot hold a wrong one.

use std::fmt;

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextProblem {
    /// Nothing is left after trimming.
    Blank,
    /// More than this many Unicode code points after trimming.
    TooLong(usize),
    /// It holds U+0000, which some databases cannot keep.
    Nul,
}

/// Removes what Python's `str.strip` removes, so that blank means the same as it did in Django:
/// Unicode white space and U+001C to U+001F, but not U+200B.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// What [`trim`] removes.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, at most $max:literal, $blank:ident if blank) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// The limit, in Unicode code points after trimming.
            pub const MAX: usize = $max;

            /// Trims and checks; all problems are reported at once.
            pub fn parse(raw: &str) -> Result<Self, Vec<TextProblem>> {
                let text = trim(raw);
                let mut problems = Vec::new();
                if text.is_empty() && text!(@$blank) {
                    return Err(vec![TextProblem::Blank]);
                }
                // A code point takes at least one byte, so short texts need no counting.
                if text.len() > Self::MAX && text.chars().count() > Self::MAX {
                    problems.push(TextProblem::TooLong(Self::MAX));
                }
                if text.as_bytes().contains(&0) {
                    problems.push(TextProblem::Nul);
                }
                if problems.is_empty() { Ok(Self(text.to_owned())) } else { Err(problems) }
            }

            /// Takes a text back from a database that only ever got checked ones.
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // What people write stays out of logs: only its size shows.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }
    };
    (@refused) => { true };
    (@allowed) => { false };
}

text! {
    /// A conversation's title; may be empty.
    Title, at most 200, allowed if blank
}
text! {
    /// A conversation's description.
    Description, at most 500, refused if blank
}
text! {
    /// A message's text.
    MessageText, at most 100_000, refused if blank
}
text! {
    /// What a model is told before anything else.
    Instructions, at most 20_000, refused if blank
}
text! {
    /// A model's name: `model` or `provider/model`.
    ModelName, at most 200, refused if blank
}

impl MessageText {
    /// Makes a text that a provider wrote fit: NUL removed, trimmed, and cut at the limit.
    ///
    /// Gives the text and whether it was cut; `None` when nothing is left.
    pub fn from_provider(raw: &str) -> Option<(Self, bool)> {
        let cleaned;
        let raw = if raw.as_bytes().contains(&0) {
            cleaned = raw.replace('\0', "");
            cleaned.as_str()
        } else {
            raw
        };
        let text = trim(raw);
        if text.is_empty() {
            return None;
        }
        match text.char_indices().nth(Self::MAX) {
            Some((end, _)) => text.get(..end).map(|cut| (Self(cut.to_owned()), true)),
            None => Some((Self(text.to_owned()), false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_trimmed_as_python_trims() {
        assert_eq!(trim(" \u{a0}\u{2003}\u{1c}hi\r\nthere \n\u{1f}"), "hi\r\nthere");
        assert_eq!(trim("\u{200b}"), "\u{200b}");
    }

    #[test]
    fn lengths_are_code_points_after_trimming() {
        assert!(Description::parse(&format!("  {}  ", "😀".repeat(500))).is_ok());
        assert_eq!(
            Description::parse(&"😀".repeat(501)).err(),
            Some(vec![TextProblem::TooLong(500)])
        );
        assert_eq!(
            Title::parse(&"x".repeat(201)).err(),
            Some(vec![TextProblem::TooLong(200)])
        );
    }

    #[test]
    fn blank_is_an_empty_title_but_no_description() {
        assert_eq!(
            Title::parse("  ").map(|title| title.as_str().to_owned()),
            Ok(String::new())
        );
        assert_eq!(
            Description::parse(" \u{1c} ").err(),
            Some(vec![TextProblem::Blank])
        );
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let long = format!("{}\0", "x".repeat(500));
        assert_eq!(
            Description::parse(&long).err(),
            Some(vec![TextProblem::TooLong(500), TextProblem::Nul])
        );
    }

    #[test]
    fn what_a_provider_writes_is_made_to_fit() {
        let text =
            |raw: &str| MessageText::from_provider(raw).map(|(text, cut)| (text.as_str().to_owned(), cut));
        assert_eq!(text(" a\0b "), Some(("ab".to_owned(), false)));
        assert_eq!(text(" \0\n"), None);
        assert_eq!(text(&"é".repeat(100_001)), Some(("é".repeat(100_000), true)));
    }
}
