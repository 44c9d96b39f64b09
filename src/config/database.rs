//! Where the data is.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{ConfigError, Settings, seconds, value::DatabaseUrl, within};

/// A server has room for about a hundred as it comes.
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000;

/// A database, as its URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// One SQLite file: `sqlite:PATH`.
    Sqlite(PathBuf),
    /// A PostgreSQL database: `postgres://…`.
    Postgres(PostgresSettings),
}

/// A PostgreSQL database and how to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// Where it is.
    pub url: DatabaseUrl,
    /// A copy of it that may lag, for reading lists.
    pub replica_url: Option<DatabaseUrl>,
    /// How many connections short reads share.
    pub readers: usize,
    /// How many connections write groups of messages.
    pub writers: usize,
    /// How long a statement may take, waiting for locks included.
    pub statement_timeout: Duration,
}

impl Database {
    /// Which kind it is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::Sqlite("engagement.db".into())
    }
}

/// Makes sense of the settings.
pub fn section(settings: &Settings) -> Result<Database, ConfigError> {
    let from_file;
    let url = match (&settings.database_url, &settings.database_url_file) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::new(
                "database_url_file",
                "is given twice, as URL and as file",
                "leave out one of database_url and database_url_file",
            ));
        }
        (Some(url), None) => url,
        (None, Some(path)) => {
            let read = std::fs::read_to_string(path).map_err(|cause| {
                ConfigError::new(
                    "database_url_file",
                    format!("cannot read {}: {cause}", path.display()),
                    "give a file that this user can read",
                )
            });
            from_file = DatabaseUrl::from(read?.trim());
            &from_file
        }
        (None, None) => return refuse_replica(settings, Database::default()),
    };
    match at("--database-url", url, settings)? {
        Database::Postgres(database) => Ok(Database::Postgres(PostgresSettings {
            replica_url: settings.database_replica_url.clone(),
            ..database
        })),
        database @ Database::Sqlite(_) => refuse_replica(settings, database),
    }
}

/// The database with this URL, which this flag gives.
pub fn at(flag: &str, url: &DatabaseUrl, settings: &Settings) -> Result<Database, ConfigError> {
    match url.expose().split_once(':') {
        Some(("postgres" | "postgresql", _)) => Ok(Database::Postgres(PostgresSettings {
            url: url.clone(),
            replica_url: None,
            readers: within("database_readers", settings.database_readers, 1, &CONNECTIONS)?,
            writers: within("database_writers", settings.database_writers, 1, &CONNECTIONS)?,
            statement_timeout: seconds("database_timeout_s", settings.database_timeout_s, 5)?,
        })),
        _ => Ok(Database::Sqlite(parse_sqlite(flag, url.expose())?)),
    }
}

fn refuse_replica(settings: &Settings, database: Database) -> Result<Database, ConfigError> {
    if settings.database_replica_url.is_none() {
        return Ok(database);
    }
    Err(ConfigError::new(
        "database_replica_url",
        "only a PostgreSQL database has replicas",
        "leave it out, or give --database-url postgres://…",
    ))
}

fn parse_sqlite(flag: &str, url: &str) -> Result<PathBuf, ConfigError> {
    let wrong = |problem: &str| {
        Err(ConfigError::new(
            flag.trim_start_matches('-').replace('-', "_"),
            problem,
            format!("for instance: {flag} sqlite:engagement.db, or {flag} postgres://user@host/database"),
        ))
    };
    match url.split_once(':') {
        Some(("sqlite", "" | "//")) => wrong("names no file"),
        Some(("sqlite", ":memory:")) => wrong("keeps nothing; data needs a file"),
        // sqlite:///absolute and sqlite:relative, as other programs write them.
        Some(("sqlite", path)) => Ok(path.strip_prefix("//").unwrap_or(path).into()),
        _ => wrong("must begin with sqlite: or postgres:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Database, ConfigError> {
        section(&Settings {
            database_url: Some(url.into()),
            ..Settings::default()
        })
    }

    #[test]
    fn a_postgres_url_brings_its_settings_along() {
        let Ok(Database::Postgres(settings)) = parse("postgresql://me@db/chat") else {
            panic!("no PostgreSQL database");
        };
        assert_eq!(settings.url.expose(), "postgresql://me@db/chat");
        assert_eq!((settings.readers, settings.writers), (1, 1));
    }

    #[test]
    fn a_replica_needs_a_primary() {
        let settings = Settings {
            database_replica_url: Some("postgres://replica/chat".into()),
            ..Settings::default()
        };
        assert_eq!(section(&settings).unwrap_err().setting, "database_replica_url");
    }

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
