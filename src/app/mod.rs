//! Puts the parts together, in the order in which they start, and takes them apart in the opposite one.
//!
//! Start: address, HTTP (answering 503), database, replies, then requests are let in. Stop: nothing new
//! is taken, what is under way gets its time, then the database is closed.

pub mod backup;
pub mod copy;
pub mod database;
mod figures;
pub mod keys;
mod listening;
pub mod transfer;
mod upkeep;

use std::{fmt, io, io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use crate::{
    access::Keyring,
    clock::Clock,
    config::{Config, ConfigError, Stored},
    http,
    ids::IdSource,
    provider::routes::Providers,
    reply::{self, Parts},
    service::Service,
    shutdown::Shutdown,
    store::Store,
    telemetry::{Telemetry, metrics::Metrics},
};

use self::{database::OpenError, listening::Listening};

/// Files that are open besides connections: the database, logs, and some to spare.
const RESERVED_FILES: u64 = 64;

/// How long traces that are not sent yet keep the process from ending.
const FOR_TRACES: Duration = Duration::from_secs(1);

/// Why the service did not run, or does not run any more.
#[derive(Debug)]
pub enum Failure {
    /// The address cannot be had.
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Where another one is given: a flag with an example.
        instead: &'static str,
        /// Why not.
        cause: io::Error,
    },
    /// The database cannot be opened.
    Open(OpenError),
    /// The configuration makes no sense together with what is in the database.
    Refused(ConfigError),
    /// The database failed while the service ran.
    Broken(String),
    /// Something else that a service needs is missing.
    Other(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, cause, .. } => write!(f, "cannot listen on {address}: {cause}"),
            Self::Open(cause) => cause.fmt(f),
            Self::Refused(cause) => cause.fmt(f),
            Self::Broken(cause) => write!(f, "the database failed while writing: {cause}"),
            Self::Other(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// What to do about it.
    pub fn hint(&self) -> &str {
        match self {
            Self::Refused(cause) => &cause.hint,
            Self::Listen { instead, .. } => instead,
            Self::Open(cause) => cause.hint(),
            Self::Broken(_) => {
                "check the disk and run `engagement check`, then start again: whatever was acknowledged is still there"
            }
            Self::Other(_) => "see the log",
        }
    }
}

/// What a process of the service is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It answers requests and works on replies.
    Everything,
    /// It answers requests; the replies are left to others.
    Requests,
    /// It works on replies, and answers nothing but questions for its health, if it listens at all.
    Replies {
        /// Whether it listens.
        listens: bool,
    },
}

/// What is counted of a service with this configuration.
pub fn metrics(config: &Config) -> Result<Metrics, Failure> {
    if !config.http.metrics {
        return Ok(Metrics::off());
    }
    let metrics = Metrics::on(config.database.kind(), &http::templates());
    metrics.map_err(|cause| Failure::Other(io::Error::other(cause)))
}

/// Does its duty until a signal says to stop, or the database fails.
pub async fn run(
    config: Config,
    providers: Providers,
    telemetry: Telemetry,
    duty: Duty,
) -> Result<(), Failure> {
    let shutdown = Shutdown::default();
    let mut signals = Signals::new().map_err(Failure::Other)?;
    let mut listening = Listening::begin(&config, duty, &telemetry, &shutdown)?;
    let Telemetry { metrics, traces } = telemetry;
    let opened = tokio::select! {
        opened = database::open(&config, &metrics) => opened.map_err(Failure::Open)?,
        // Opening can take long: a server that is away, a schema that is being changed.
        _ = signals.next() => return Ok(()),
    };
    let store = database::traced(opened.store, &config.database, &traces);
    let mut parts = Parts::over(Arc::clone(&store), providers);
    parts.metrics = metrics.replies();
    parts.traces = traces;
    metrics.ask(Arc::new(figures::Figures::of(opened.gauged, parts.clock.clone())));
    let keyring = match duty {
        // Whoever only works on replies lets nobody in.
        Duty::Replies { .. } => None,
        Duty::Everything | Duty::Requests => {
            match open_keyring(&config, &store, &parts.clock, &parts.ids).await {
                Ok(keyring) => Some(keyring),
                Err(failure) => {
                    store.close().await;
                    return Err(failure);
                }
            }
        }
    };
    let of_replies = parts.clone();
    if opened.is_ours_alone {
        reclaim(&parts, &config).await?;
    }
    shutdown.spawn(upkeep::run(
        parts.clone(),
        config.service.idempotency_kept,
        shutdown.clone(),
    ));
    if duty != Duty::Requests {
        reply::start(parts.clone(), config.replies.clone(), &shutdown);
    }
    if let Some(keyring) = keyring {
        keyring.keep(&shutdown);
        listening.http.let_in(keyring);
    }
    listening.http.open(Service::new(parts, config.service));
    match listening.address {
        None => announce("working on replies"),
        Some(address) => {
            tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
            announce(format_args!("listening on http://{address}"));
        }
    }

    let mut ended = Ok(());
    tokio::select! {
        name = signals.next() => tracing::info!(signal = name, "stopping"),
        reason = store.broken() => {
            // Nothing can be stored any more, so there is nothing to wait for.
            shutdown.force();
            ended = Err(Failure::Broken(reason));
        }
        cause = listening.ended() => ended = Err(Failure::Other(cause)),
    }
    tokio::select! {
        () = stop(&shutdown, &of_replies, config.http.drain_timeout) => {}
        name = signals.next() => tracing::warn!(signal = name, "stopping at once"),
    }
    ended
}

/// Learns the keys; refuses to serve where nobody could be let in, or everybody.
async fn open_keyring(
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Clock,
    ids: &IdSource,
) -> Result<Keyring, Failure> {
    let keys = Arc::clone(store);
    let opened = Keyring::open(keys, &config.access, clock.clone(), ids.clone()).await;
    let keyring = opened.map_err(|cause| Failure::Open(OpenError::Other(io::Error::other(cause))))?;
    let stored = keyring.stored();
    config.access.judge(stored).map_err(Failure::Refused)?;
    if keyring.lets_default_key_in() {
        tracing::warn!(
            event = "default_key.used",
            "THE DEFAULT API KEY IS IN USE. Everybody knows it: make a key with `engagement keys create NAME` before anybody else can reach this service"
        );
    } else if config.access.key.is_none() && stored == Stored::NothingThatOpens {
        tracing::warn!("no key opens this service: make one with `engagement keys create NAME`");
    }
    Ok(keyring)
}

/// This process alone holds the database, so whatever is marked as running was left by one that is gone.
async fn reclaim(parts: &Parts, config: &Config) -> Result<(), Failure> {
    let (store, now) = (&parts.store, parts.clock.now());
    let reclaimed = store.reclaim_replies(now, config.replies.most_lost).await;
    let swept = reclaimed.map_err(|cause| Failure::Broken(cause.to_string()))?;
    parts.metrics.took_back(swept.requeued, swept.failed);
    if swept.requeued + swept.failed > 0 {
        tracing::info!(
            requeued = swept.requeued,
            failed = swept.failed,
            "took up the replies of the last run"
        );
    }
    Ok(())
}

/// The one line on stdout: programs wait for it.
fn announce(what: impl fmt::Display) {
    let mut stdout = io::stdout();
    // Nobody may be reading; that is no reason not to serve.
    let _ = writeln!(stdout, "{what}").and_then(|()| stdout.flush());
}

async fn stop(shutdown: &Shutdown, parts: &Parts, drain: Duration) {
    shutdown.begin();
    if timeout(drain, shutdown.finished()).await.is_err() {
        tracing::warn!("letting go of what is still under way");
        shutdown.force();
        // Releasing leases takes one write; more than this would be a database that does not answer.
        let _ = timeout(Duration::from_secs(1), shutdown.finished()).await;
    }
    // What the last replies have cost is known only now. A database that does not answer keeps nobody from ending.
    let _ = timeout(Duration::from_millis(500), upkeep::share(parts)).await;
    parts.store.close().await;
    parts.traces.stop(FOR_TRACES).await;
    tracing::info!("stopped");
}

/// How many threads run requests: one for each processor, and a second on a single one, because a read
/// in place blocks its thread for as long as the disk takes.
pub fn worker_threads() -> usize {
    std::thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .max(2)
}

/// Raises the limit on open files as far as it goes; gives how many connections that leaves room for.
fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = if setrlimit(Resource::Nofile, wanted).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    let room = current.map_or(u64::MAX, |files| files.saturating_sub(RESERVED_FILES).max(1));
    usize::try_from(room).unwrap_or(usize::MAX)
}

/// The signals that ask to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
