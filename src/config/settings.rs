//! Every setting, once: its name in the file, its flag, its environment variable and what it means.

use std::{net::SocketAddr, path::PathBuf};

use secrecy::SecretString;

use super::{
    LogFormat, LogLevel, LoggedIds, Ownership, ProviderTables, ProxyHeaders, Reads,
    value::{DatabaseUrl, List, switch},
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
shown_by_name!(LogFormat, LogLevel, LoggedIds, Ownership, ProxyHeaders, Reads);

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

impl Shown for DatabaseUrl {
    fn shown(&self) -> String {
        self.to_string()
    }
}

fn help(doc: &str, default: &str) -> String {
    format!("{} [default: {default}]", doc.trim())
}

macro_rules! settings {
    ($(#[doc = $doc:literal] $name:ident: $type:ty, $env:literal, $value:literal, default $default:literal $(, $extra:ident = $with:expr)*;)*) => {
        /// What was given; `None` for what was not.
        #[derive(Debug, Clone, Default, clap::Args, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            $(
                #[doc = $doc]
                #[arg(long, global = true, env = $env, hide_env_values = true, value_name = $value, help_heading = "Settings", help = help($doc, $default) $(, $extra = $with)*)]
                pub $name: Option<$type>,
            )*
            /// The providers, which only the file can name.
            #[arg(skip)]
            pub providers: ProviderTables,
        }

        impl Settings {
            /// The names, as the file spells them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// What holds where nothing is given, in the order of the names, for people to read.
            pub const DEFAULTS: &'static [&'static str] = &[$($default),*];

            /// The environment variables, in the order of the names.
            pub const VARIABLES: &'static [&'static str] = &[$($env),*];

            /// These settings, completed by others.
            #[must_use]
            pub fn or(self, others: Self) -> Self {
                Self {
                    $($name: self.$name.or(others.$name),)*
                    providers: self.providers.or(others.providers),
                }
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
    /// Address to listen on; port 0 picks a free one
    listen: SocketAddr, "ENGAGEMENT_LISTEN", "ADDRESS:PORT", default "127.0.0.1:8000";
    /// Where the data is: sqlite:PATH, or `postgres://USER:PASSWORD@HOST/DATABASE`
    database_url: DatabaseUrl, "ENGAGEMENT_DATABASE_URL", "URL", default "sqlite:engagement.db";
    /// A file that holds the database's URL
    database_url_file: PathBuf, "ENGAGEMENT_DATABASE_URL_FILE", "PATH", default "none";
    /// A PostgreSQL replica that may lag, for reading lists of messages
    database_replica_url: DatabaseUrl, "ENGAGEMENT_DATABASE_REPLICA_URL", "URL", default "none";
    /// Connections to PostgreSQL that short reads share
    database_readers: usize, "ENGAGEMENT_DATABASE_READERS", "NUMBER", default "1";
    /// Connections to PostgreSQL that write messages, each a group at a time
    database_writers: usize, "ENGAGEMENT_DATABASE_WRITERS", "NUMBER", default "1";
    /// Seconds that a statement may take in PostgreSQL, waiting for locks included
    database_timeout_s: u64, "ENGAGEMENT_DATABASE_TIMEOUT_S", "SECONDS", default "5";
    /// An API key that may do everything; see `engagement keys` for others
    api_key: SecretString, "ENGAGEMENT_API_KEY", "KEY", default "the well-known one";
    /// A file that holds the API key
    api_key_file: PathBuf, "ENGAGEMENT_API_KEY_FILE", "PATH", default "none";
    /// Let the publicly known default key open a service that listens beyond loopback
    allow_default_key: bool, "ENGAGEMENT_ALLOW_DEFAULT_KEY", "1|0", default "0",
        value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "1";
    /// Refuse to start on anything unsafe
    production: bool, "ENGAGEMENT_PRODUCTION", "1|0", default "0",
        value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "1";
    /// Whether reads need a key too: public or key
    reads: Reads, "ENGAGEMENT_READS", "WHO", default "public";
    /// Whose conversations are: shared by all keys, or strict, the key's that made them
    ownership: Ownership, "ENGAGEMENT_OWNERSHIP", "WHOSE", default "shared";
    /// Base of the links in pages, for instance `https://chat.example.com`
    public_url: String, "ENGAGEMENT_PUBLIC_URL", "URL", default "from the Host header";
    /// Host names to answer to, separated by commas
    allowed_hosts: List, "ENGAGEMENT_ALLOWED_HOSTS", "HOSTS", default "any";
    /// Origins whose pages may call the API from a browser, separated by commas
    cors_origins: List, "ENGAGEMENT_CORS_ORIGINS", "ORIGINS", default "none";
    /// Proxies whose word on clients counts: addresses or networks, separated by commas
    trusted_proxies: List, "ENGAGEMENT_TRUSTED_PROXIES", "ADDRESSES", default "none";
    /// The headers in which they say it: x-forwarded or forwarded
    proxy_headers: ProxyHeaders, "ENGAGEMENT_PROXY_HEADERS", "WHICH", default "x-forwarded";
    /// The model that answers where none is asked for: MODEL or PROVIDER/MODEL, or rules
    model: String, "ENGAGEMENT_MODEL", "NAME", default "the only provider's first, or rules";
    /// Replies at the provider at once
    workers: usize, "ENGAGEMENT_WORKERS", "NUMBER", default "64";
    /// Replies that may be unfinished; messages that ask for more are answered 503
    max_pending_replies: usize, "ENGAGEMENT_MAX_PENDING_REPLIES", "NUMBER", default "100000";
    /// Hours that a request with an Idempotency-Key is remembered
    idempotency_kept_h: usize, "ENGAGEMENT_IDEMPOTENCY_KEPT_H", "HOURS", default "24";
    /// Days that the pieces are kept in which a reply was streamed, once it is final
    deltas_kept_days: usize, "ENGAGEMENT_DELTAS_KEPT_DAYS", "DAYS", default "7";
    /// Open connections; more are closed at once
    max_connections: usize, "ENGAGEMENT_MAX_CONNECTIONS", "NUMBER", default "8192";
    /// Requests worked on at once; more are answered 503
    max_in_flight: usize, "ENGAGEMENT_MAX_IN_FLIGHT", "NUMBER", default "1024";
    /// MiB of request bodies held at once; more are answered 503
    max_bodies_mib: usize, "ENGAGEMENT_MAX_BODIES_MIB", "MIB", default "64";
    /// Streams of events at once; more are answered 503
    max_streams: usize, "ENGAGEMENT_MAX_STREAMS", "NUMBER", default "4096";
    /// Streams of one conversation at once; more are answered 429
    max_streams_per_conversation: usize, "ENGAGEMENT_MAX_STREAMS_PER_CONVERSATION", "NUMBER", default "1024";
    /// Streams to one address at once; more are answered 429; 0 for any number
    max_streams_per_address: usize, "ENGAGEMENT_MAX_STREAMS_PER_ADDRESS", "NUMBER", default "0";
    /// Reads without a key from one address, in a second; more are answered 429; 0 for any number, here and below
    address_reads_per_s: u32, "ENGAGEMENT_ADDRESS_READS_PER_S", "NUMBER", default "1000";
    /// Answers 401 to one address, in a minute; after that it is answered 429
    address_401s_per_min: u32, "ENGAGEMENT_ADDRESS_401S_PER_MIN", "NUMBER", default "120";
    /// Answers 404 to one address, in a minute; after that it is answered 429
    address_404s_per_min: u32, "ENGAGEMENT_ADDRESS_404S_PER_MIN", "NUMBER", default "600";
    /// Requests of a key that has no limit of its own, in a second; likewise the next three
    key_requests_per_s: u32, "ENGAGEMENT_KEY_REQUESTS_PER_S", "NUMBER", default "0";
    /// Messages created with a key, in a minute
    key_messages_per_min: u32, "ENGAGEMENT_KEY_MESSAGES_PER_MIN", "NUMBER", default "0";
    /// Replies of a key that are waiting or being written
    key_pending_replies: u32, "ENGAGEMENT_KEY_PENDING_REPLIES", "NUMBER", default "0";
    /// Tokens that the replies of a key may cost, in a day
    key_tokens_per_day: u64, "ENGAGEMENT_KEY_TOKENS_PER_DAY", "NUMBER", default "0";
    /// Seconds that a request's head may take
    header_timeout_s: u64, "ENGAGEMENT_HEADER_TIMEOUT_S", "SECONDS", default "10";
    /// Seconds that a connection is kept between two requests; longer than a proxy in front keeps it
    idle_timeout_s: u64, "ENGAGEMENT_IDLE_TIMEOUT_S", "SECONDS", default "75";
    /// Seconds that a request's body may take
    body_timeout_s: u64, "ENGAGEMENT_BODY_TIMEOUT_S", "SECONDS", default "30";
    /// Seconds that answering may take, from the end of the body
    handler_timeout_s: u64, "ENGAGEMENT_HANDLER_TIMEOUT_S", "SECONDS", default "15";
    /// Seconds that running requests and replies get when the service stops
    drain_timeout_s: u64, "ENGAGEMENT_DRAIN_TIMEOUT_S", "SECONDS", default "8";
    /// The log file, or off
    log_file: String, "ENGAGEMENT_LOG_FILE", "PATH", default "logs/engagement.log";
    /// The log file's largest size in MiB, before it is set aside
    log_file_max_mib: u64, "ENGAGEMENT_LOG_FILE_MAX_MIB", "MIB", default "64";
    /// How many full log files are kept
    log_files_kept: u32, "ENGAGEMENT_LOG_FILES_KEPT", "NUMBER", default "5";
    /// How log lines look: text or json
    log_format: LogFormat, "ENGAGEMENT_LOG_FORMAT", "FORMAT", default "text";
    /// Which lines are logged: error, warn, info, debug or trace
    log_level: LogLevel, "ENGAGEMENT_LOG_LEVEL", "LEVEL", default "info";
    /// How identifiers appear in logs: hashed or plain
    log_ids: LoggedIds, "ENGAGEMENT_LOG_IDS", "HOW", default "hashed";
}
