//! Every setting, once: its name in the file, its flag, its environment variable and what it means.

use std::{net::SocketAddr, path::PathBuf};

use secrecy::SecretString;

use super::{
    LogFormat, LogLevel, LoggedIds, Reads,
    value::{List, switch},
};

/// How a value is shown to people.
trait Shown {
    fn shown(&self) -> String;
}

macro_rules! shown_by_display {
    ($($type:ty),*) => {
        $(impl Shown for $type {
            fn shown(&self) -> String {
                self.to_string()
            }
        })*
    };
}
shown_by_display!(SocketAddr, String, bool, u64, usize, u32);

macro_rules! shown_by_name {
    ($($type:ty),*) => {
        $(impl Shown for $type {
            fn shown(&self) -> String {
                clap::ValueEnum::to_possible_value(self).map_or_else(String::new, |value| value.get_name().to_owned())
            }
        })*
    };
}
shown_by_name!(LogFormat, LogLevel, LoggedIds, Reads);

impl Shown for SecretString {
    fn shown(&self) -> String {
        "(secret)".to_owned()
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> String {
        self.display().to_string()
    }
}

impl Shown for List {
    fn shown(&self) -> String {
        self.0.join(",")
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty, $env:literal, $value:literal $(, $extra:ident = $with:expr)*;)*) => {
        /// What was given; `None` for what was not.
        #[derive(Debug, Clone, Default, clap::Args, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            $(
                $(#[doc = $doc])+
                #[arg(long, global = true, env = $env, hide_env_values = true, value_name = $value, help_heading = "Settings" $(, $extra = $with)*)]
                pub $name: Option<$type>,
            )*
        }

        impl Settings {
            /// The names, as the file spells them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The environment variables, in the order of the names.
            pub const VARIABLES: &'static [&'static str] = &[$($env),*];

            /// These settings, completed by others.
            #[must_use]
            pub fn or(self, others: Self) -> Self {
                Self { $($name: self.$name.or(others.$name)),* }
            }

            /// The value of the setting with this name, as people may see it.
            pub fn shown(&self, name: &str) -> Option<String> {
                match name {
                    $(stringify!($name) => self.$name.as_ref().map(Shown::shown),)*
                    _ => None,
                }
            }
        }
    };
}

settings! {
    /// Address to listen on; port 0 picks a free one [default: 127.0.0.1:8000]
    listen: SocketAddr, "ENGAGEMENT_LISTEN", "ADDRESS:PORT";
    /// Where the data is: sqlite:PATH [default: sqlite:engagement.db]
    database_url: String, "ENGAGEMENT_DATABASE_URL", "URL";
    /// The API key that writes need
    api_key: SecretString, "ENGAGEMENT_API_KEY", "KEY";
    /// A file that holds the API key
    api_key_file: PathBuf, "ENGAGEMENT_API_KEY_FILE", "PATH";
    /// Let the publicly known default key open a service that listens beyond loopback
    allow_default_key: bool, "ENGAGEMENT_ALLOW_DEFAULT_KEY", "1|0",
        value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "1";
    /// Refuse to start on anything unsafe
    production: bool, "ENGAGEMENT_PRODUCTION", "1|0",
        value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "1";
    /// Whether reads need a key too: public or key [default: public]
    reads: Reads, "ENGAGEMENT_READS", "WHO";
    /// Base of the links in pages, for instance `https://chat.example.com` [default: from the Host header]
    public_url: String, "ENGAGEMENT_PUBLIC_URL", "URL";
    /// Host names to answer to, separated by commas [default: any]
    allowed_hosts: List, "ENGAGEMENT_ALLOWED_HOSTS", "HOSTS";
    /// Origins whose pages may call the API from a browser, separated by commas [default: none]
    cors_origins: List, "ENGAGEMENT_CORS_ORIGINS", "ORIGINS";
    /// Replies at the provider at once [default: 64]
    workers: usize, "ENGAGEMENT_WORKERS", "NUMBER";
    /// Open connections; more are closed at once [default: 8192]
    max_connections: usize, "ENGAGEMENT_MAX_CONNECTIONS", "NUMBER";
    /// Requests worked on at once; more are answered 503 [default: 1024]
    max_in_flight: usize, "ENGAGEMENT_MAX_IN_FLIGHT", "NUMBER";
    /// Seconds that a request's head may take, and that an idle connection is kept [default: 10]
    header_timeout_s: u64, "ENGAGEMENT_HEADER_TIMEOUT_S", "SECONDS";
    /// Seconds that a request's body may take [default: 30]
    body_timeout_s: u64, "ENGAGEMENT_BODY_TIMEOUT_S", "SECONDS";
    /// Seconds that answering may take, from the end of the body [default: 15]
    handler_timeout_s: u64, "ENGAGEMENT_HANDLER_TIMEOUT_S", "SECONDS";
    /// Seconds that running requests and replies get when the service stops [default: 8]
    drain_timeout_s: u64, "ENGAGEMENT_DRAIN_TIMEOUT_S", "SECONDS";
    /// The log file, or off [default: logs/engagement.log]
    log_file: String, "ENGAGEMENT_LOG_FILE", "PATH";
    /// The log file's largest size in MiB, before it is set aside [default: 64]
    log_file_max_mib: u64, "ENGAGEMENT_LOG_FILE_MAX_MIB", "MIB";
    /// How many full log files are kept [default: 5]
    log_files_kept: u32, "ENGAGEMENT_LOG_FILES_KEPT", "NUMBER";
    /// How log lines look: text or json [default: text]
    log_format: LogFormat, "ENGAGEMENT_LOG_FORMAT", "FORMAT";
    /// Which lines are logged: error, warn, info, debug or trace [default: info]
    log_level: LogLevel, "ENGAGEMENT_LOG_LEVEL", "LEVEL";
    /// How identifiers appear in logs: hashed or plain [default: hashed]
    log_ids: LoggedIds, "ENGAGEMENT_LOG_IDS", "HOW";
}
