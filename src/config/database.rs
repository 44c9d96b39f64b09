//! Where the data is.

use std::path::PathBuf;

use super::ConfigError;

/// A database, as its URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// One SQLite file: `sqlite:PATH`.
    Sqlite(PathBuf),
}

impl Default for Database {
    fn default() -> Self {
        Self::Sqlite("engagement.db".into())
    }
}

/// Reads a database URL.
pub fn parse(url: &str) -> Result<Database, ConfigError> {
    let wrong = |problem: &str| {
        Err(ConfigError::new(
            "database_url",
            problem,
            "for instance: --database-url sqlite:engagement.db",
        ))
    };
    match url.split_once(':') {
        Some(("sqlite", "" | "//")) => wrong("names no file"),
        Some(("sqlite", ":memory:")) => wrong("keeps nothing; data needs a file"),
        // sqlite:///absolute and sqlite:relative, as other programs write them.
        Some(("sqlite", path)) => Ok(Database::Sqlite(path.strip_prefix("//").unwrap_or(path).into())),
        _ => wrong("must begin with sqlite:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_url_is_a_path() {
        for (url, path) in [
            ("sqlite:engagement.db", "engagement.db"),
            ("sqlite:///data/e.db", "/data/e.db"),
            ("sqlite:/e.db", "/e.db"),
        ] {
            assert_eq!(parse(url), Ok(Database::Sqlite(path.into())), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_with_an_example() {
        for url in ["sqlite:", "sqlite::memory:", "mysql://x", "engagement.db", ""] {
            assert!(parse(url).unwrap_err().hint.contains("--database-url"), "{url}");
        }
    }
}
