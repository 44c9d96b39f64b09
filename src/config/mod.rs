//! Configuration: defaults < `engagement.toml` < environment < flags.
//!
//! `settings` lists every setting once; the sections turn what was given into what the program runs
//! with, and refuse what makes no sense. The environment and the command line are read here and
//! nowhere else.

mod access;
mod database;
mod error;
mod file;
mod http;
mod limits;
mod logs;
mod providers;
mod replies;
mod secrets;
mod service;
mod settings;
mod traces;
mod value;

use std::{fmt, ops::RangeInclusive, path::Path, time::Duration};

use clap::{ArgMatches, parser::ValueSource};

pub use access::{Access, SEED_KEY, Stored, key};
pub use database::{Database, PostgresSettings, at as database_at, section as database};
pub use error::ConfigError;
pub use http::{HttpSettings, MetricsAccess, ProxyHeaders, Reads};
pub use limits::LimitSettings;
pub use logs::{LogFormat, LogLevel, LogSettings, LoggedIds};
pub(crate) use providers::BYTES_PER_TOKEN;
pub use providers::{Api, OutputLimit, ProviderKind, ProviderSettings, ProviderTables, Providers};
pub use replies::ReplySettings;
pub use service::{Ownership, ServiceSettings};
pub use settings::Settings;
pub use traces::TraceSettings;
pub use value::DatabaseUrl;

/// What the program runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the data is.
    pub database: Database,
    /// Who may do what.
    pub access: Access,
    /// How HTTP is served.
    pub http: HttpSettings,
    /// What the operations go by.
    pub service: ServiceSettings,
    /// How replies are worked on.
    pub replies: ReplySettings,
    /// Who writes them.
    pub providers: Providers,
    /// What is logged.
    pub logs: LogSettings,
    /// Where traces go, if anywhere.
    pub traces: Option<TraceSettings>,
}

impl Config {
    /// Makes sense of the settings, or says which one makes none.
    pub fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let http = http::section(settings)?;
        let database = database::section(settings)?;
        let access = access::section(settings, &http)?;
        let service = service::section(settings)?;
        let replies = replies::section(settings)?;
        let providers = providers::section(settings)?;
        let logs = logs::section(settings)?;
        let traces = traces::section(settings)?;
        Ok(Self {
            database,
            access,
            http,
            service,
            replies,
            providers,
            logs,
            traces,
        })
    }
}

/// Settings together with where each came from.
#[derive(Debug)]
pub struct Given {
    /// The settings, by precedence.
    pub settings: Settings,
    sources: Vec<(&'static str, Source)>,
}

/// Where a setting came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// `engagement.toml`.
    File,
    /// An `ENGAGEMENT_…` variable.
    Environment,
    /// The command line.
    Flag,
}

impl Given {
    /// Joins what the command line and environment say (`matches`) with the file, if there is one.
    pub fn gather(
        from_command: Settings,
        matches: &ArgMatches,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let from_file = file::read(file)?;
        let sources = Settings::NAMES
            .iter()
            .map(|name| {
                let source = match matches.value_source(name) {
                    Some(ValueSource::CommandLine) => Source::Flag,
                    Some(ValueSource::EnvVariable) => Source::Environment,
                    _ if from_file.shown(name).is_some() => Source::File,
                    _ => Source::Default,
                };
                (*name, source)
            })
            .collect();
        Ok(Self {
            settings: from_command.or(from_file),
            sources,
        })
    }

    /// Every setting with the value in effect, secrets masked, and its source.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, String, Source)> {
        self.sources
            .iter()
            .zip(Settings::DEFAULTS)
            .map(|((name, source), default)| {
                (
                    *name,
                    self.settings.shown(name).unwrap_or_else(|| (*default).to_owned()),
                    *source,
                )
            })
    }

    /// Every key of every provider with the value in effect, and its source. Keys of providers are nowhere among them.
    pub fn providers(&self) -> impl Iterator<Item = (String, String, Source)> {
        self.settings.providers.shown().map(|(name, value, is_given)| {
            let source = if is_given { Source::File } else { Source::Default };
            (name, value, source)
        })
    }
}

/// The most of what takes memory for each: connections, requests, streams, workers.
const MOST_AT_ONCE: usize = 1_000_000;

/// The longest time that something may take, in seconds: a day. Far beyond it, clocks have no moment to wait for.
const LONGEST_S: u64 = 24 * 60 * 60;

/// A number within these bounds. Without them, one with too many digits would be found out by whoever runs out of memory.
fn within<N: PartialOrd + fmt::Display>(
    name: impl Into<String>,
    given: Option<N>,
    default: N,
    bounds: &RangeInclusive<N>,
) -> Result<N, ConfigError> {
    let Some(number) = given else {
        return Ok(default);
    };
    if bounds.contains(&number) {
        return Ok(number);
    }
    Err(ConfigError::new(
        name,
        format!("must be from {} to {}", bounds.start(), bounds.end()),
        format!("leave it out for {default}"),
    ))
}

/// A time in whole seconds.
fn seconds(name: impl Into<String>, given: Option<u64>, default: u64) -> Result<Duration, ConfigError> {
    within(name, given, default, &(1..=LONGEST_S)).map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
