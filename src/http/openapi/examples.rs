//! Examples, written as they go over the wire.
//!
//! The library's value sorts the fields of an object. So that an example has them in the contract's order, its text travels
//! through the document as a marked string, and is put in its place when the document is written.

use serde_json::Value;
use utoipa::openapi::example::{Example as Named, ExampleBuilder};

/// No text of the document begins so.
const MARK: char = '\u{1}';

/// An example in JSON.
pub(in crate::http) struct Example {
    summary: &'static str,
    json: String,
}

impl Example {
    pub(in crate::http) fn new(json: impl Into<String>) -> Self {
        Self {
            summary: "",
            json: json.into(),
        }
    }

    /// One of several, with a title.
    pub(in crate::http) fn titled(summary: &'static str, json: impl Into<String>) -> Self {
        Self {
            summary,
            json: json.into(),
        }
    }

    pub(in crate::http) fn value(self) -> Value {
        Value::String(format!("{MARK}{}", self.json))
    }

    pub(super) fn described(self) -> Named {
        let named = ExampleBuilder::new().summary(self.summary);
        named.value(Some(self.value())).build()
    }
}

/// Puts the examples of a document into their places. Each of them is the last thing on its line.
pub(super) fn placed(document: &str) -> String {
    let mut placed = String::with_capacity(document.len());
    for line in document.lines() {
        match marked(line) {
            Some((before, json, comma)) => placed.extend([before, &json, comma]),
            None => placed.push_str(line),
        }
        placed.push('\n');
    }
    placed
}

fn marked(line: &str) -> Option<(&str, String, &str)> {
    let at = line.find("\"\\u0001")?;
    let (before, rest) = line.split_at_checked(at)?;
    let (text, comma) = rest.strip_suffix(',').map_or((rest, ""), |text| (text, ","));
    let json: String = serde_json::from_str(text).ok()?;
    Some((before, json.strip_prefix(MARK)?.to_owned(), comma))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_keeps_the_order_of_its_fields() {
        let example = Example::new(r#"{"b": "x, \"y\"", "a": 1}"#).value();
        let document = serde_json::json!({ "after": [1], "example": example, "x": "y" });

        let placed = placed(&serde_json::to_string_pretty(&document).unwrap());

        assert!(
            placed.contains("\n  \"example\": {\"b\": \"x, \\\"y\\\"\", \"a\": 1},\n"),
            "{placed}"
        );
        let read: Value = serde_json::from_str(&placed).unwrap();
        assert_eq!(read["example"]["a"], 1);
        assert_eq!(read["x"], "y");
    }
}
