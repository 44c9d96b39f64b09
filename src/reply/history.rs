//! How much of what was said before a prompt takes along.

use crate::model::{Line, Role};

/// What a line counts besides its text.
const LINE: usize = 16;

/// The newest whole turns that have at most so many bytes together. A turn is a user's line and what follows it.
pub(super) fn fitting(history: &[Line], bytes: usize) -> &[Line] {
    let (mut from, mut used) = (history.len(), 0);
    for (at, line) in history.iter().enumerate().rev() {
        used += line.text.as_str().len() + LINE;
        if used > bytes {
            break;
        }
        if line.role == Role::User || at == 0 {
            from = at;
        }
    }
    history.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MessageText;

    fn line(role: Role, text: &str) -> Line {
        Line {
            role,
            text: MessageText::parse(text).unwrap(),
        }
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn whole_turns_are_kept_the_newest_first() {
        let history = [
            line(Role::Assistant, "welcome"),
            line(Role::User, "one"),
            line(Role::Assistant, "two"),
            line(Role::User, "three"),
            line(Role::Assistant, "four"),
        ];
        assert_eq!(texts(fitting(&history, 10_000)).len(), 5);
        let last = "three".len() + "four".len() + 2 * LINE;
        assert_eq!(texts(fitting(&history, last)), ["three", "four"]);
        assert_eq!(texts(fitting(&history, last - 1)), Vec::<&str>::new());
        let both = last + "one".len() + "two".len() + 2 * LINE;
        assert_eq!(
            texts(fitting(&history, both - 1)),
            ["three", "four"],
            "no half turn"
        );
        assert_eq!(texts(fitting(&history, both)), ["one", "two", "three", "four"]);
    }
}
