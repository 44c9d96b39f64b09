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
shown_by_display!(SocketAddr, String, bool, u64, usize, u32, f64);

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

/// What the settings are listed under.
const HEADING: &str = "Settings";

fn help(doc: &str, default: &str) -> String {
    format!("{} [default: {default}]", doc.trim())
}

/// One sentence, and those that follow it.
fn meaning(doc: &str, more: &str) -> String {
    format!("{}.{}", doc.trim(), more.trim_end())
}

fn long_help(doc: &str, more: &str, default: &str) -> String {
    format!("{} [default: {default}]", meaning(doc, more))
}

macro_rules! settings {
    ($(#[doc = $doc:literal] $(#[doc = $more:literal])* $name:ident: $type:ty, $env:literal, $value:literal, default $default:literal $(, $extra:ident = $with:expr)*;)*) => {
        /// What was given; `None` for what was not.
        #[derive(Debug, Clone, Default, clap::Args, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            $(
                #[doc = $doc]
                $(#[doc = $more])*
                #[arg(long, global = true, env = $env, hide_env_values = true, value_name = $value, help_heading = HEADING,
                    help = help($doc, $default), long_help = long_help($doc, concat!($($more),*), $default) $(, $extra = $with)*)]
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

            /// What each is for, in the order of the names.
            pub fn meanings() -> Vec<String> {
                vec![$(meaning($doc, concat!($($more),*))),*]
            }

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
    /// The line on stdout names the one that was picked.
    listen: SocketAddr, "ENGAGEMENT_LISTEN", "ADDRESS:PORT", default "127.0.0.1:8000";
    /// Address for metrics and probes alone, open to whoever reaches it
    /// `/metrics` is not beside the API then. Without it, `/metrics` is open to the machine itself where the API listens
    /// on loopback and is not in production, and needs a key with the scope `metrics:read` elsewhere.
    metrics_listen: SocketAddr, "ENGAGEMENT_METRICS_LISTEN", "ADDRESS:PORT", default "none";
    /// Whether anything is counted and told at /metrics
    /// Otherwise `/metrics` is 404, on whichever address.
    metrics: bool, "ENGAGEMENT_METRICS", "1|0", default "true",
        value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "1";
    /// Where the data is: sqlite:PATH, or `postgres://USER:PASSWORD@HOST/DATABASE`
    /// A path is relative to the working directory, or absolute as in `sqlite:///srv/engagement.db`. Its directory
    /// must exist; the file is created, readable by its owner only. A password in a flag can be seen in the list of
    /// processes.
    database_url: DatabaseUrl, "ENGAGEMENT_DATABASE_URL", "URL", default "sqlite:engagement.db";
    /// A file that holds the database's URL
    /// For one with a password; not together with `database_url`. Read once, at start.
    database_url_file: PathBuf, "ENGAGEMENT_DATABASE_URL_FILE", "PATH", default "none";
    /// A PostgreSQL replica that may lag, for reading lists of messages
    database_replica_url: DatabaseUrl, "ENGAGEMENT_DATABASE_REPLICA_URL", "URL", default "none";
    /// Connections to PostgreSQL that short reads share
    /// On SQLite this and the next two mean nothing.
    database_readers: usize, "ENGAGEMENT_DATABASE_READERS", "NUMBER", default "1";
    /// Connections to PostgreSQL that write messages, each a group at a time
    database_writers: usize, "ENGAGEMENT_DATABASE_WRITERS", "NUMBER", default "1";
    /// Seconds that a statement may take in PostgreSQL, waiting for locks included
    /// Then the answer is 503. Four fifths of it may go by waiting for a lock; a search may take `handler_timeout_s`.
    database_timeout_s: u64, "ENGAGEMENT_DATABASE_TIMEOUT_S", "SECONDS", default "5";
    /// An API key that may do everything; see `engagement keys` for others
    /// A flag can be seen in the list of processes: prefer `api_key_file`.
    api_key: SecretString, "ENGAGEMENT_API_KEY", "KEY", default "the well-known one";
    /// A file that holds the API key
    /// White space around it does not matter. Read once, at start.
    api_key_file: PathBuf, "ENGAGEMENT_API_KEY_FILE", "PATH", default "none";
    /// Let the publicly known default key open a service that listens beyond loopback
    /// As long as there is no other key.
    allow_default_key: bool, "ENGAGEMENT_ALLOW_DEFAULT_KEY", "1|0", default "false",
        value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "1";
    /// Refuse to start on anything unsafe
    production: bool, "ENGAGEMENT_PRODUCTION", "1|0", default "false",
        value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "1";
    /// Whether reads need a key too: public or key
    /// `public`: whoever knows a conversation's id reads it. `key`: reads need a key too.
    reads: Reads, "ENGAGEMENT_READS", "WHO", default "public";
    /// Whose conversations are: shared by all keys, or strict, the key's that made them
    /// `shared`: every key reaches every conversation. `strict`: a conversation belongs to the key that made it and
    /// to those that followed that one by rotation; with another key it is not found. Who reads without a key is a
    /// matter of `reads`.
    ownership: Ownership, "ENGAGEMENT_OWNERSHIP", "WHOSE", default "shared";
    /// Base of the links in pages, for instance `https://chat.example.com`
    public_url: String, "ENGAGEMENT_PUBLIC_URL", "URL", default "from the Host header";
    /// Host names to answer to, separated by commas
    /// Without ports. Every other one is 400.
    allowed_hosts: List, "ENGAGEMENT_ALLOWED_HOSTS", "HOSTS", default "any";
    /// Origins whose pages may call the API from a browser, separated by commas
    /// Exactly as browsers send them: `https://app.example.com`. No wildcards.
    cors_origins: List, "ENGAGEMENT_CORS_ORIGINS", "ORIGINS", default "none";
    /// Proxies whose word on clients counts: addresses or networks, separated by commas
    /// They are believed when they say who asks, for which host and how.
    trusted_proxies: List, "ENGAGEMENT_TRUSTED_PROXIES", "ADDRESSES", default "none";
    /// The headers in which they say it: x-forwarded or forwarded
    /// `x-forwarded` means `X-Forwarded-For`, `-Proto` and `-Host`; `forwarded` means `Forwarded`. The other ones are
    /// ignored: a proxy that sets one kind passes on what a client puts into the other.
    proxy_headers: ProxyHeaders, "ENGAGEMENT_PROXY_HEADERS", "WHICH", default "x-forwarded";
    /// The model that answers where none is asked for: MODEL or PROVIDER/MODEL, or rules
    /// Of a provider that the settings file names; `rules` are the built-in ones.
    model: String, "ENGAGEMENT_MODEL", "NAME", default "the only provider's first, or rules";
    /// Replies at the provider at once
    workers: usize, "ENGAGEMENT_WORKERS", "NUMBER", default "64";
    /// Replies that may be unfinished; messages that ask for more are answered 503
    /// On all nodes together.
    max_pending_replies: usize, "ENGAGEMENT_MAX_PENDING_REPLIES", "NUMBER", default "100000";
    /// Hours that a request with an Idempotency-Key is remembered
    /// Until then it is answered again instead of carried out again.
    idempotency_kept_h: usize, "ENGAGEMENT_IDEMPOTENCY_KEPT_H", "HOURS", default "24";
    /// Days that the pieces are kept in which a reply was streamed, once it is final
    /// Until then it can be watched again as it was written, piece by piece; after that its text comes in one piece.
    deltas_kept_days: usize, "ENGAGEMENT_DELTAS_KEPT_DAYS", "DAYS", default "7";
    /// Open connections; more are closed at once
    /// Less if the limit on open files leaves room for fewer.
    max_connections: usize, "ENGAGEMENT_MAX_CONNECTIONS", "NUMBER", default "8192";
    /// Requests worked on at once; more are answered 503
    /// A request counts once its body has arrived.
    max_in_flight: usize, "ENGAGEMENT_MAX_IN_FLIGHT", "NUMBER", default "1024";
    /// MiB of request bodies held at once; more are answered 503
    /// What counts is what came, not what was declared.
    max_bodies_mib: usize, "ENGAGEMENT_MAX_BODIES_MIB", "MIB", default "64";
    /// MiB of long answers held at once for clients that have not taken them yet; more are answered 503
    /// Answers of up to 16 KiB do not count. A page of a hundred long messages can have 60 MiB.
    max_answers_mib: usize, "ENGAGEMENT_MAX_ANSWERS_MIB", "MIB", default "256";
    /// Streams of events at once; more are answered 503
    /// A stream is a connection, too, but does not count as a request that is worked on.
    max_streams: usize, "ENGAGEMENT_MAX_STREAMS", "NUMBER", default "4096";
    /// Streams of one conversation at once; more are answered 429
    max_streams_per_conversation: usize, "ENGAGEMENT_MAX_STREAMS_PER_CONVERSATION", "NUMBER", default "1024";
    /// Streams to one address at once; more are answered 429; 0 for any number
    /// Behind a proxy that is not among `trusted_proxies` all clients have the proxy's address: leave it to the proxy
    /// there. An IPv6 network of 64 bits counts as one address.
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
    /// Then the answer is 408.
    body_timeout_s: u64, "ENGAGEMENT_BODY_TIMEOUT_S", "SECONDS", default "30";
    /// Seconds that answering may take, from the end of the body
    /// Then the answer is 503. A search is also stopped after it.
    handler_timeout_s: u64, "ENGAGEMENT_HANDLER_TIMEOUT_S", "SECONDS", default "15";
    /// Seconds that running requests and replies get when the service stops
    drain_timeout_s: u64, "ENGAGEMENT_DRAIN_TIMEOUT_S", "SECONDS", default "8";
    /// The log file, or off
    /// Its directory is created. The console (stderr) gets the same lines.
    log_file: String, "ENGAGEMENT_LOG_FILE", "PATH", default "logs/engagement.log";
    /// The log file's largest size in MiB, before it is set aside
    /// It becomes `engagement.log.1`, and that one `.2`.
    log_file_max_mib: u64, "ENGAGEMENT_LOG_FILE_MAX_MIB", "MIB", default "64";
    /// How many full log files are kept
    log_files_kept: u32, "ENGAGEMENT_LOG_FILES_KEPT", "NUMBER", default "5";
    /// How log lines look: text or json
    /// `text` is for people; `json` for programs, one object a line.
    log_format: LogFormat, "ENGAGEMENT_LOG_FORMAT", "FORMAT", default "text";
    /// Which lines are logged: error, warn, info, debug or trace
    log_level: LogLevel, "ENGAGEMENT_LOG_LEVEL", "LEVEL", default "info";
    /// How identifiers appear in logs: hashed or plain
    /// `hashed`: the same id looks the same until the next start, and nobody can go back from it. `plain`: as they
    /// are; for development, since an id opens its conversation.
    log_ids: LoggedIds, "ENGAGEMENT_LOG_IDS", "HOW", default "hashed";
    /// Where traces are sent: the base URL of an OTLP receiver over HTTP, for instance `http://127.0.0.1:4318`
    /// `/v1/traces` is put behind it. Without it nothing is traced.
    otlp_endpoint: String, "ENGAGEMENT_OTLP_ENDPOINT", "URL", default "none";
    /// Headers that go with the traces: NAME=VALUE, separated by commas
    /// What does not fit a value is percent-encoded. A flag can be seen in the list of processes: prefer
    /// `otlp_headers_file`.
    otlp_headers: SecretString, "ENGAGEMENT_OTLP_HEADERS", "HEADERS", default "none";
    /// A file that holds these headers
    /// White space around them does not matter. Read once, at start.
    otlp_headers_file: PathBuf, "ENGAGEMENT_OTLP_HEADERS_FILE", "PATH", default "none";
    /// A file of certificates in PEM: whom to believe that he is the receiver
    otlp_ca_file: PathBuf, "ENGAGEMENT_OTLP_CA_FILE", "PATH", default "whom the system believes";
    /// What this service is called in traces
    otlp_service_name: String, "ENGAGEMENT_OTLP_SERVICE_NAME", "NAME", default "engagement";
    /// How many of the traces that begin here are recorded, from 0 to 1
    /// One that a client began is recorded if the client records it.
    trace_ratio: f64, "ENGAGEMENT_TRACE_RATIO", "NUMBER", default "1";
}
