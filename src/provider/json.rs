//! JSON as providers write it: what is not needed may be anything, and what is needed may be a little wrong.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// More than any answer has choices, parts or items: a list that goes on is garbage that should not fill the memory.
const MOST: usize = 256;

/// A short list.
#[derive(Debug)]
pub(super) struct Few<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Short<T>(Vec<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Short<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a short list")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Vec<T>, A::Error> {
                while let Some(item) = list.next_element()? {
                    if self.0.len() == MOST {
                        return Err(A::Error::custom("a list goes on and on"));
                    }
                    self.0.push(item);
                }
                Ok(self.0)
            }
        }
        deserializer.deserialize_seq(Short(Vec::new())).map(Few)
    }
}

/// The text, if it is one.
pub(super) fn text(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

/// The text of what is either one, or a list of parts that have one each.
pub(super) fn content(raw: Option<&RawValue>) -> Option<String> {
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow, default)]
        text: Option<&'a RawValue>,
    }
    let raw = raw?;
    let parts = || {
        let parts: Few<Part<'_>> = serde_json::from_str(raw.get()).ok()?;
        Some(parts.0.iter().filter_map(|part| text(part.text)).collect())
    };
    text(Some(raw)).or_else(parts)
}

/// What can be read of something whose loss does not matter.
pub(super) fn lenient<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// The document with each escape of half a character replaced by that of U+FFFD. JSON has such escapes, texts do not.
pub(super) fn whole_characters(json: String) -> String {
    if !json.contains("\\ud") && !json.contains("\\uD") {
        return json;
    }
    let mut repaired = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        repaired.push_str(before);
        let length = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                repaired.push_str("\\ufffd");
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            (Some(_), _) => 6,
            // The escaped character may be a backslash, which then begins no other escape. It may be no ASCII in what
            // is no JSON.
            (None, _) => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (kept, after) = escape.split_at(length);
        repaired.push_str(kept);
        rest = after;
    }
    repaired.push_str(rest);
    repaired
}

/// The UTF-16 unit that a text begins with as an escape.
fn unit(escape: &str) -> Option<u32> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    // Python and C allow a sign here, JSON does not.
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_characters_are_replaced_and_whole_ones_stay() {
        for (json, expected) in [
            (r#""a""#, r#""a""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uD83D\uDE00""#, r#""\uD83D\uDE00""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83dx\n""#, r#""\\\ufffdx\n""#),
            (r"\ud83", r"\ud83"),
            ("\\ud83d\\", "\\ufffd\\"),
            ("\\ud800\\é", "\\ufffd\\é"),
        ] {
            assert_eq!(whole_characters(json.to_owned()), expected, "{json}");
        }
    }

    #[test]
    fn content_is_a_text_or_parts_of_one() {
        let content = |json: &str| content(Some(&RawValue::from_string(json.to_owned()).unwrap()));
        assert_eq!(content(r#""a""#), Some("a".to_owned()));
        assert_eq!(
            content(r#"[{"type":"text","text":"a"},{"type":"image"},{"text":"b"}]"#),
            Some("ab".to_owned())
        );
        assert_eq!(content("7"), None);
        assert_eq!(content(&format!("[{}]", ["{}"; 257].join(","))), None);
    }

    proptest! {
        #[test]
        fn what_was_json_stays_so_and_what_was_broken_by_halves_becomes_so(
            text in r"(\\ud83d|\\ude00|\\uD9ab|\\\\|\\n|\\u0041|a|é){0,12}"
        ) {
            let json = whole_characters(format!("\"{text}\""));
            prop_assert!(serde_json::from_str::<String>(&json).is_ok(), "{json}");
        }

        #[test]
        fn nothing_makes_it_panic(text in r"(\\|u|d8|dc00|\\ud83d|é|.){0,20}") {
            whole_characters(text);
        }
    }
}
