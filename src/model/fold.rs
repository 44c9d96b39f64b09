//! Case folding for search: the same on every database, because it happens here.

use std::borrow::Cow;

/// Unicode default case folding, full (so `ß`, `ss` and `SS` become equal) and without normalisation.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    icu_casemap::CaseMapper::new().fold_string(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_full_and_free_of_locale() {
        for (left, right) in [
            ("Straße", "STRASSE"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("É", "é"),
            ("Ü", "ü"),
            ("İ", "i\u{307}"),
            ("Hello, WORLD", "hello, world"),
        ] {
            assert_eq!(fold(left), fold(right), "{left} and {right}");
        }
        assert_ne!(fold("ı"), fold("i"), "the dotless i is a letter of its own");
        assert_ne!(fold("\u{e9}"), fold("e\u{301}"), "no normalisation");
    }
}
