//! Kinds of values that settings have.

use std::{convert::Infallible, str::FromStr};

use serde::Deserialize;

/// A list: separated by commas in the environment and on the command line, an array in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "Spelled")]
pub struct List(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Spelled {
    Text(String),
    Array(Vec<String>),
}

impl From<Spelled> for List {
    fn from(spelled: Spelled) -> Self {
        match spelled {
            Spelled::Text(text) => Self::from(text.as_str()),
            Spelled::Array(items) => Self(items),
        }
    }
}

impl From<&str> for List {
    fn from(text: &str) -> Self {
        Self(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }
}

impl FromStr for List {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(text))
    }
}

/// Reads a switch as people write them.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Ok(true),
        "" | "0" | "false" | "off" | "no" => Ok(false),
        _ => Err("give 1 or 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_separated_by_commas() {
        assert_eq!(
            List::from(" a, b,,c "),
            List(vec!["a".into(), "b".into(), "c".into()])
        );
        assert_eq!(List::from(""), List::default());
    }

    #[test]
    fn switches_are_read_as_people_write_them() {
        for on in ["1", "true", "ON", "yes"] {
            assert_eq!(switch(on), Ok(true), "{on}");
        }
        for off in ["0", "false", "Off", "no", ""] {
            assert_eq!(switch(off), Ok(false), "{off}");
        }
        assert!(switch("maybe").is_err());
    }
}
