//! An answer that is being written, piece by piece.

use super::{MessageText, text::is_blank};

/// Collects pieces, and gives out only what will be in the stored text, so that what was shown while it was written is
/// what is read afterwards: NUL is removed, white space at either end never shows, and nothing shows beyond the limit.
#[derive(Default)]
pub struct Draft {
    text: String,
    /// Up to here, the text ends in a character that trimming keeps.
    solid: usize,
    /// Up to here, it was given out.
    taken: usize,
    /// Code points in the text.
    length: usize,
    cut: bool,
}

impl Draft {
    /// Adds a piece. What is beyond the limit is left out.
    pub fn push(&mut self, piece: &str) {
        for c in piece.chars() {
            if c == '\0' || (self.text.is_empty() && is_blank(c)) {
                continue;
            }
            if self.length == MessageText::MAX {
                self.cut |= !is_blank(c);
                continue;
            }
            self.text.push(c);
            self.length += 1;
            if !is_blank(c) {
                self.solid = self.text.len();
            }
        }
    }

    /// Whether there was more to say than fits: whatever else comes is left out.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// What can be shown and was not given out yet; empty when there is nothing.
    pub fn waiting(&self) -> &str {
        self.text.get(self.taken..self.solid).unwrap_or_default()
    }

    /// Counts as given out what [`Draft::waiting`] gave.
    pub fn take(&mut self) -> String {
        let piece = self.waiting().to_owned();
        self.taken = self.solid;
        piece
    }

    /// How many bytes were given out.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// The whole text, of which [`Draft::take`] gave the beginning; `None` when it is blank.
    pub fn finish(mut self) -> Option<MessageText> {
        self.text.truncate(self.solid);
        (!self.text.is_empty()).then(|| MessageText::from_stored(self.text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(pieces: &[&str]) -> (String, Option<String>) {
        let mut draft = Draft::default();
        let mut shown = String::new();
        for piece in pieces {
            draft.push(piece);
            shown.push_str(&draft.take());
        }
        let text = draft.finish().map(|text| text.as_str().to_owned());
        (shown, text)
    }

    #[test]
    fn white_space_at_the_ends_never_shows_and_inside_it_waits_for_what_follows() {
        assert_eq!(
            shown(&["  \n", "a ", " b", "\u{1c}\t "]),
            ("a  b".into(), Some("a  b".into()))
        );
        assert_eq!(shown(&["", " ", "\0"]), (String::new(), None));
    }

    #[test]
    fn the_text_ends_at_the_limit() {
        let mut draft = Draft::default();
        draft.push(&"é".repeat(MessageText::MAX));
        assert!(!draft.is_cut());
        draft.push(" ");
        assert!(!draft.is_cut(), "what trimming removes is not missed");
        draft.push("x");
        assert!(draft.is_cut());
        assert_eq!(draft.taken(), 0);
        assert_eq!(draft.take().chars().count(), MessageText::MAX);
    }

    proptest! {
        #[test]
        fn what_was_shown_is_what_is_stored_however_it_came(text in "[ \\na-c\\x00\\x1cé😀]{0,40}", cuts in prop::collection::vec(0_usize..40, 0..8)) {
            let chars: Vec<char> = text.chars().collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(chars.len())).collect();
            cuts.extend([0, chars.len()]);
            cuts.sort_unstable();
            let pieces: Vec<String> = cuts.windows(2).map(|cut| chars[cut[0]..cut[1]].iter().collect()).collect();
            let (shown, stored) = shown(&pieces.iter().map(String::as_str).collect::<Vec<_>>());
            let whole = MessageText::from_provider(&text).map(|(text, _)| text.as_str().to_owned());
            prop_assert_eq!(&stored, &whole);
            prop_assert_eq!(shown, whole.unwrap_or_default());
        }
    }
}
