//! Kinds of values that settings have.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::Deserialize;
use url::Url;

/// A database's URL, shown without the password in it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The whole URL, for those who connect.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is something in it that is not shown.
    pub fn holds_password(&self) -> bool {
        self.to_string() != self.0
    }
}

impl From<&str> for DatabaseUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl FromStr for DatabaseUrl {
    type Err = Infallible;

    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(Self::from(url))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = match self.0.split_once(':') {
            Some(("sqlite", _)) => return f.write_str(&self.0),
            Some((scheme, rest)) => (format!("{scheme}:"), rest),
            None => (String::new(), self.0.as_str()),
        };
        let slashes = rest
            .get(..2)
            .filter(|slashes| *slashes == "//")
            .unwrap_or_default();
        let rest = rest.strip_prefix(slashes).unwrap_or(rest);
        // Whatever stands between a colon and the last @ may belong to a password, also to one that should have been
        // encoded: a mistyped URL may show too little, but never the secret.
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let user = rest.strip_suffix(place).and_then(|user| user.strip_suffix('@'));
        let shown = match user.map(|user| user.split_once(':').ok_or(user)) {
            None => place.to_owned(),
            Some(Ok((name, _))) => format!("{name}:***@{place}"),
            Some(Err(name)) => format!("{name}@{place}"),
        };
        write!(f, "{scheme}{slashes}")?;
        // A password can also be a parameter.
        let ends = ['?', '&', ' '];
        for part in shown.split_inclusive(ends) {
            match part.split_once('=') {
                Some((name, value)) if name.contains("password") => {
                    write!(
                        f,
                        "{name}=***{}",
                        value.trim_start_matches(|c| !ends.contains(&c))
                    )?;
                }
                _ => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

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

/// Where something else is reached over HTTP: a host, and perhaps a path. Otherwise, what is wrong and what to do; an example
/// is for the setting to give, and so is where a user and a password belong.
pub(super) fn web_url(
    given: &str,
    example: &'static str,
    secrets: &'static str,
) -> Result<Url, (&'static str, &'static str)> {
    let Ok(url) = Url::parse(given) else {
        return Err(("is not a URL", example));
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(("must begin with http:// or https:// and a host", example));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(("holds a user or a password", secrets));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(("goes on behind its path", "leave out ? and #, and what follows"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_keeps_its_password_to_itself() {
        for (url, shown) in [
            ("sqlite:engagement.db", "sqlite:engagement.db"),
            ("postgres://me@db:5433/chat", "postgres://me@db:5433/chat"),
            (
                "postgres://me:p@ss:word@db/chat?sslmode=require",
                "postgres://me:***@db/chat?sslmode=require",
            ),
            (
                "postgres:///chat?user=me&password=secret",
                "postgres:///chat?user=me&password=***",
            ),
            (
                "postgres://me@db/chat?password=se@cret&sslpassword=secret&sslmode=require",
                "postgres://me@db/chat?password=***&sslpassword=***&sslmode=require",
            ),
            ("postgres://me:se?cr@et/x@db/chat", "postgres://me:***@db/chat"),
            ("postgres:me:secret@db/chat", "postgres:me:***@db/chat"),
            ("mysql://me:secret@db/chat", "mysql://me:***@db/chat"),
            ("postgres://", "postgres://"),
            ("host=db password=secret user=me", "host=db password=*** user=me"),
            ("", ""),
        ] {
            assert_eq!(DatabaseUrl::from(url).to_string(), shown);
            assert_eq!(format!("{:?}", DatabaseUrl::from(url)), shown);
            assert_eq!(DatabaseUrl::from(url).holds_password(), url != shown);
        }
    }

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
