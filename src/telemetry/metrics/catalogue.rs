//! Every metric, once: its name, its kind, its labels and what it means. `docs/metrics.md` is this table.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, from 0 at the start of the process.
    Counter,
    /// It rises and falls.
    Gauge,
    /// How often values were up to this large.
    Histogram,
}

impl Kind {
    /// As it is called on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($variant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// How it behaves.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }

            /// Its name, with its unit.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The names of its labels.
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)* }
            }

            /// What it means.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

metrics! {
    HttpRequests: Counter "engagement_http_requests_total" ["method", "route", "status"] "Requests that were answered; a stream counts when it begins.";
    HttpDuration: Histogram "engagement_http_request_duration_seconds" ["method", "route"] "Time from a request's head to the head of its answer, the body's arrival included.";
    HttpInFlight: Gauge "engagement_http_requests_in_flight" [] "Requests that wait for the head of their answer.";
    HttpConnections: Gauge "engagement_http_connections" [] "Open connections.";
    HttpDropped: Counter "engagement_http_connections_dropped_total" ["reason"] "Connections that were closed on their clients: there were too many, a head came too slowly, an answer was not taken.";
    HttpBodies: Gauge "engagement_http_bodies_held_bytes" [] "Bytes of request bodies that are held.";
    HttpAnswers: Gauge "engagement_http_answers_held_bytes" [] "Bytes of long answers that their clients have not taken yet.";
    HttpWriteLimit: Gauge "engagement_http_writes_limit" [] "Writes that are let in at once at present, judged by how long they take.";
    HttpOverload: Counter "engagement_http_overload_refused_total" ["reason"] "Requests that were answered 503 because something was full.";
    LimitExceeded: Counter "engagement_limit_exceeded_total" ["limit"] "Requests that were answered 429, by the limit that they met.";
    Replays: Counter "engagement_idempotent_replays_total" [] "Requests with an Idempotency-Key that were answered again instead of carried out again.";
    ReplaysForgotten: Counter "engagement_idempotent_requests_forgotten_total" [] "Requests with an Idempotency-Key that became too old to be remembered.";
    Streams: Gauge "engagement_streams" [] "Streams of events that are open.";
    StreamsEnded: Counter "engagement_streams_ended_total" ["reason"] "Streams that ended: what was watched was over, the service stopped, the key was taken back, the client left or took nothing.";
    ReplyAttempts: Counter "engagement_reply_attempts_total" ["outcome", "code"] "Attempts at replies that ended, by what came of them and, of failures, their code.";
    ReplyDuration: Histogram "engagement_reply_attempt_duration_seconds" ["outcome"] "Time from the claim of a reply until what came of it was stored.";
    ReplyInProgress: Gauge "engagement_reply_attempts_in_progress" [] "Replies that this process works on.";
    LeasesLost: Counter "engagement_reply_leases_lost_total" ["outcome"] "Replies that this process took back because their worker had vanished.";
    DeltasForgotten: Counter "engagement_reply_deltas_forgotten_total" [] "Final replies whose pieces became too old to be kept.";
    RepliesQueued: Gauge "engagement_replies_queued" [] "Replies in the database that wait: for a worker, for their time or for their turn.";
    RepliesDue: Gauge "engagement_replies_due" [] "Those of them that only wait for a worker.";
    RepliesRunning: Gauge "engagement_replies_running" [] "Replies in the database that somebody works on.";
    OldestDue: Gauge "engagement_replies_oldest_due_seconds" [] "For how long the first of those that only wait for a worker could have been worked on; 0 if there is none.";
    ProviderRequests: Counter "engagement_provider_requests_total" ["provider", "outcome"] "Prompts by what came of them; those left alone were not sent, as the provider had failed too often.";
    ProviderDuration: Histogram "engagement_provider_request_duration_seconds" ["provider"] "Time from a prompt until the provider had answered or refused.";
    ProviderFirstToken: Histogram "engagement_provider_first_token_seconds" ["provider"] "Time from a prompt to the first piece of its answer.";
    ProviderTokens: Counter "engagement_provider_tokens_total" ["provider", "type"] "Tokens that the provider says it read (input), wrote (output) and did not have to read anew (cached, part of input).";
    ProviderInFlight: Gauge "engagement_provider_requests_in_flight" ["provider"] "Prompts that are at the provider.";
    ProviderLimit: Gauge "engagement_provider_requests_limit" ["provider"] "Prompts that may be there at once.";
    ProviderBreaker: Gauge "engagement_provider_breaker" ["provider", "state"] "1 for the state that it is in: closed (it is asked), open (it is left alone), probing (it is tried).";
    DatabaseUp: Gauge "engagement_database_up" [] "Whether the database answered when it was last asked for its figures.";
    DatabaseSize: Gauge "engagement_database_size_bytes" [] "Size of the database.";
    WalSize: Gauge "engagement_sqlite_wal_size_bytes" [] "Size of the file of the write-ahead log. SQLite only.";
    WriteGroup: Histogram "engagement_database_write_group_size" [] "Writes that were committed together.";
    WriteWait: Histogram "engagement_database_write_wait_seconds" [] "Time that a write waited until its group was begun.";
    Commit: Histogram "engagement_database_commit_duration_seconds" [] "SQLite: time that a commit took, flush included. PostgreSQL: time that the statement of a group took, commit included.";
    PoolWait: Histogram "engagement_database_pool_wait_seconds" ["pool"] "Time that something waited for a connection: a long read (scans) or, on PostgreSQL, a write that is not grouped (desk).";
    DatabaseConnections: Gauge "engagement_database_connections" ["pool", "state"] "Connections to PostgreSQL, by what they are for and whether they are there. PostgreSQL only.";
    LogLinesLost: Counter "engagement_log_lines_lost_total" ["output"] "Log lines that could not be written.";
    Build: Gauge "engagement_build_info" ["version", "database"] "Always 1; its labels say what runs.";
    ProcessStart: Gauge "process_start_time_seconds" [] "When the process started, in seconds since 1970.";
    ProcessCpu: Counter "process_cpu_seconds_total" [] "Processor time that was used, by the program and for it.";
    ProcessResident: Gauge "process_resident_memory_bytes" [] "Memory that is in use.";
    ProcessVirtual: Gauge "process_virtual_memory_bytes" [] "Addresses that are in use.";
    ProcessFiles: Gauge "process_open_fds" [] "Open files, connections included.";
    ProcessMostFiles: Gauge "process_max_fds" [] "How many may be open.";
}
