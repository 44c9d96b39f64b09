//! JSON bodies: an object whose fields are judged one by one, all wrong ones reported at once.
//!
//! A field is judged by the type it has in JSON; nothing is turned into a string that is none. Fields that nobody
//! asked for are skipped whatever they hold.

use std::borrow::Cow;

use serde::de::Deserializer as _;
use serde_json::{Deserializer, value::RawValue};

use super::object::{Bytes, Object, Root};
use crate::{
    http::problem::{Details, Problem, shortened},
    model::{Change, Role, TextProblem},
};

/// The deepest nesting of objects and arrays.
const DEEPEST: usize = 64;

/// The fields of a body, and what was found wrong with them so far.
pub(super) struct Fields<'a> {
    given: Vec<(&'static str, &'a RawValue)>,
    wrong: Details,
}

impl<'a> Fields<'a> {
    /// Reads an object, of which these fields are wanted. No body at all is an object without fields.
    pub(super) fn parse(body: &'a [u8], wanted: &'static [&'static str]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self {
                given: Vec::new(),
                wrong: Details::new(),
            });
        }
        let text = std::str::from_utf8(body)
            .map_err(|error| not_json(&format!("invalid UTF-8 at byte {}", error.valid_up_to())))?;
        match nesting(body) {
            None => return Err(not_json("a control character in a string")),
            Some(depth) if depth > DEEPEST => {
                return Err(not_json(&format!("nesting deeper than {DEEPEST} levels.")));
            }
            Some(_) => {}
        }
        let mut json = Deserializer::from_str(text);
        let read = json
            .deserialize_any(Object { wanted })
            .and_then(|root| json.end().map(|()| root));
        match read.map_err(|error| not_json(&error.to_string()))? {
            Root::Object { given, duplicates } if duplicates.is_empty() => Ok(Self {
                given,
                wrong: Details::new(),
            }),
            Root::Object { duplicates, .. } => {
                let twice = duplicates
                    .into_iter()
                    .map(|key| (Cow::Owned(key), vec!["Duplicate key.".to_owned()]));
                Err(Problem::invalid(twice.collect()))
            }
            Root::Other("null") => Err(Problem::invalid_field("non_field_errors", "No data provided.")),
            Root::Other(kind) => {
                let text = format!("Invalid data. Expected a dictionary, but got {kind}.");
                Err(Problem::invalid_field("non_field_errors", text))
            }
        }
    }

    /// A text that must be there.
    pub(super) fn text<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, Vec<TextProblem>>,
    ) -> Option<T> {
        match self.get(name) {
            None => self.refuse(name, "This field is required."),
            Some(value) if value.get() == "null" => self.refuse(name, "This field may not be null."),
            Some(value) => self.parse_text(name, value, parse),
        }
    }

    /// A text that may be missing or null.
    pub(super) fn optional_text<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, Vec<TextProblem>>,
    ) -> Option<T> {
        let value = self.get(name).filter(|value| value.get() != "null")?;
        self.parse_text(name, value, parse)
    }

    /// A role that must be there.
    pub(super) fn role(&mut self, name: &'static str) -> Option<Role> {
        match self.get(name) {
            None => self.refuse(name, "This field is required."),
            Some(value) if value.get() == "null" => self.refuse(name, "This field may not be null."),
            Some(value) => self.choice(name, value, Role::parse),
        }
    }

    /// A field that may be missing or null, which mean different things; `read` judges any other value.
    pub(super) fn change<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'a RawValue) -> Option<T>,
    ) -> Change<T> {
        match self.get(name) {
            None => Change::Keep,
            Some(value) if value.get() == "null" => Change::Clear,
            Some(value) => read(self, value).map_or(Change::Keep, Change::Set),
        }
    }

    /// A text that may be missing or null, which mean different things.
    pub(super) fn text_change<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, Vec<TextProblem>>,
    ) -> Change<T> {
        self.change(name, |fields, value| fields.parse_text(name, value, parse))
    }

    /// An object that may be missing or null. What is wrong with one of its fields is said of `name.field`.
    pub(super) fn within<T>(
        &mut self,
        name: &'static str,
        wanted: &'static [&'static str],
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        let value = self.get(name).filter(|value| value.get() != "null")?.get();
        if !value.starts_with('{') {
            return self.refuse(name, "Invalid data. Expected a dictionary.");
        }
        let Ok(mut inner) = Self::parse(value.as_bytes(), wanted) else {
            return self.refuse(name, "Duplicate key.");
        };
        let found = read(&mut inner);
        let wrong = inner.wrong.into_iter();
        self.wrong
            .extend(wrong.map(|(field, texts)| (Cow::Owned(format!("{name}.{field}")), texts)));
        Some(found)
    }

    /// Whether there is such a field, null or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// What was found wrong, if anything was.
    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.wrong.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(self.wrong))
        }
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.given
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| *value)
    }

    fn parse_text<T>(
        &mut self,
        name: &'static str,
        value: &RawValue,
        parse: fn(&str) -> Result<T, Vec<TextProblem>>,
    ) -> Option<T> {
        let text = match string(value.get()) {
            None => return self.refuse(name, "Not a valid string."),
            Some(Err(surrogate)) => {
                return self.refuse(
                    name,
                    format!("Surrogate characters are not allowed: U+{surrogate:X}."),
                );
            }
            Some(Ok(text)) => text,
        };
        match parse(&text) {
            Ok(parsed) => Some(parsed),
            Err(problems) => {
                for problem in problems {
                    self.refuse::<T>(name, described(problem));
                }
                None
            }
        }
    }

    /// A value that is one of some names.
    pub(super) fn choice<T>(
        &mut self,
        name: &'static str,
        value: &RawValue,
        parse: fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = value.get();
        let given = match string(value) {
            Some(Ok(text)) => text,
            Some(Err(_)) | None => Cow::Borrowed(value.trim_matches('"')),
        };
        match parse(&given) {
            Some(choice) if value.starts_with('"') => Some(choice),
            _ => self.refuse(name, format!("\"{}\" is not a valid choice.", shortened(&given))),
        }
    }

    /// Says what is wrong with a field.
    pub(super) fn refuse<T>(&mut self, name: &'static str, text: impl Into<String>) -> Option<T> {
        self.wrong
            .entry(Cow::Borrowed(name))
            .or_default()
            .push(text.into());
        None
    }
}

/// The words that clients of the Django service know.
fn described(problem: TextProblem) -> String {
    match problem {
        TextProblem::Blank => "This field may not be blank.".to_owned(),
        TextProblem::TooLong(most) => format!("Ensure this field has no more than {most} characters."),
        TextProblem::Nul => "Null characters are not allowed.".to_owned(),
    }
}

fn not_json(problem: &str) -> Problem {
    Problem::bad_request(format!("JSON parse error - {problem}"))
}

/// How deep objects and arrays are nested, whether or not the text is JSON. `None` where a control character stands in a
/// string unescaped: the parser overlooks it in a key that is read as bytes.
fn nesting(json: &[u8]) -> Option<usize> {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            0..0x20 if in_string => return None,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Some(deepest)
}

/// The string that a JSON value is; `None` when it is none, `Err` with a surrogate that stands alone in it.
fn string(json: &str) -> Option<Result<Cow<'_, str>, u32>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Ok(Cow::Borrowed(inner)));
    }
    let bytes = Deserializer::from_str(json).deserialize_bytes(Bytes).ok()?;
    Some(
        String::from_utf8(bytes)
            .map(Cow::Owned)
            .map_err(|error| lone_surrogate(error.as_bytes())),
    )
}

/// The first surrogate in a text that `serde_json` gives as WTF-8, where it is the three bytes `ED A0..BF 80..BF`.
fn lone_surrogate(wtf8: &[u8]) -> u32 {
    wtf8.windows(3)
        .find_map(|bytes| match bytes {
            [0xed, second @ 0xa0..=0xbf, third] => {
                Some(0xd000 | u32::from(second & 0x3f) << 6 | u32::from(third & 0x3f))
            }
            _ => None,
        })
        .unwrap_or(0xd800)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_counts_brackets_outside_strings() {
        assert_eq!(nesting(br#"{"a": [[]], "b": "[[[[\"[["}"#), Some(3));
        assert_eq!(nesting("[".repeat(100_000).as_bytes()), Some(100_000));
        assert_eq!(nesting(b"]]]["), Some(1));
    }

    #[test]
    fn a_control_character_may_stand_between_strings_and_not_in_them() {
        assert_eq!(nesting(b"{\n\t\"a\\n\":\r1}"), Some(1));
        assert_eq!(nesting(b"{\"a\tb\": 1}"), None);
    }

    #[test]
    fn strings_are_decoded_and_lone_surrogates_named() {
        assert_eq!(string(r#""plain""#), Some(Ok("plain".into())));
        assert_eq!(string(r#""\ud83d\ude00 \u0007""#), Some(Ok("😀 \u{7}".into())));
        assert_eq!(string(r#""a\ud800b""#), Some(Err(0xd800)));
        assert_eq!(string(r#""\udfff""#), Some(Err(0xdfff)));
        assert_eq!(string("12"), None);
    }
}
