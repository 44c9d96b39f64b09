//! Puts the parts together, in the order in which they start, and takes them apart in the opposite one.
//!
//! Start: address, HTTP (answering 503), database, replies, then requests are let in. Stop: nothing new
//! is taken, what is under way gets its time, then the database is closed.

use std::{fmt, io, io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};

use crate::{
    clock::Clock,
    config::{Config, Database},
    http::{self, Http, Listener},
    ids::IdSource,
    provider::rules::Rules,
    reply::{self, Intake},
    service::Service,
    shutdown::Shutdown,
    store::{
        self, ReplyStore, Store,
        sqlite::{self, OpenError, SqliteStore},
    },
};

/// Files that are open besides connections: the database, logs, and some to spare.
const RESERVED_FILES: u64 = 64;

/// Why the service did not run, or does not run any more.
#[derive(Debug)]
pub enum Failure {
    /// The address cannot be had.
    Listen(SocketAddr, io::Error),
    /// The database cannot be opened.
    Open(OpenError),
    /// The database failed while the service ran.
    Broken(String),
    /// Something else that a service needs is missing.
    Other(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, cause) => write!(f, "cannot listen on {address}: {cause}"),
            Self::Open(cause) => cause.fmt(f),
            Self::Broken(cause) => write!(f, "the database failed while writing: {cause}"),
            Self::Other(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen(..) => {
                "stop what uses it, or give another address: --listen 127.0.0.1:0 picks a free port"
            }
            Self::Open(cause) => cause.hint(),
            Self::Broken(_) => {
                "check the disk and run `engagement check`, then start again: whatever was acknowledged is still there"
            }
            Self::Other(_) => "see the log",
        }
    }
}

/// Serves until a signal says to stop, or the database fails.
pub async fn serve(config: Config) -> Result<(), Failure> {
    let shutdown = Shutdown::default();
    let mut signals = Signals::new().map_err(Failure::Other)?;
    let address = config.http.listen;
    let listener = Listener::bind(address).map_err(|cause| Failure::Listen(address, cause))?;
    let address = listener.address();
    let mut settings = config.http.clone();
    settings.listen = address;
    settings.max_connections = settings.max_connections.min(raise_file_limit());

    let http = Http::new(settings.clone(), &config.access.key, shutdown.clone());
    let router = http::router(&http);
    let (report, served) = oneshot::channel();
    let shutdown_of_http = shutdown.clone();
    shutdown.spawn(async move {
        let served = http::serve(listener, router, &settings, &shutdown_of_http).await;
        // Nobody listens when it is the others who stop.
        let _ = report.send(served);
    });

    let store = open(&config).await?;
    if config.access.is_seed_key {
        tracing::warn!(
            "THE DEFAULT API KEY IS IN USE. Everybody knows it: set ENGAGEMENT_API_KEY before anybody else can reach this service"
        );
    }
    let (clock, ids, intake) = (Clock::system(), IdSource::random(), Intake::default());
    reclaim(store.as_ref(), &clock, &config).await?;
    let provider = Arc::new(Rules);
    reply::start(
        Arc::clone(&store),
        provider,
        clock.clone(),
        ids.clone(),
        config.replies.clone(),
        intake.clone(),
        &shutdown,
    );
    http.open(Service::new(Arc::clone(&store), clock, ids, intake));
    announce(address);

    let mut ended = Ok(());
    tokio::select! {
        name = signals.next() => tracing::info!(signal = name, "stopping"),
        reason = store.broken() => {
            // Nothing can be stored any more, so there is nothing to wait for.
            shutdown.force();
            ended = Err(Failure::Broken(reason));
        }
        served = served => {
            let cause = served.map_err(io::Error::other).and_then(|served| served).err();
            ended = Err(Failure::Other(cause.unwrap_or_else(|| io::Error::other("the listener ended"))));
        }
    }
    tokio::select! {
        () = stop(&shutdown, store.as_ref(), config.http.drain_timeout) => {}
        name = signals.next() => tracing::warn!(signal = name, "stopping at once"),
    }
    ended
}

/// Opens the database on a thread that may block: a migration can take long, and health is asked for meanwhile.
async fn open(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let Database::Sqlite(path) = &config.database;
    let mut options = sqlite::Options::new(path);
    options.readers = worker_threads();
    options.scan_deadline = config.http.handler_timeout;
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&options)).await;
    let store = opened
        .map_err(|cause| Failure::Other(io::Error::other(cause)))?
        .map_err(Failure::Open)?;
    Ok(Arc::new(store))
}

/// This process alone holds the database, so whatever is marked as running was left by one that is gone.
async fn reclaim(store: &dyn Store, clock: &Clock, config: &Config) -> Result<(), Failure> {
    let reclaimed = ReplyStore::reclaim_replies(store, clock.now(), config.replies.most_lost).await;
    let swept = reclaimed.map_err(|cause: store::Error| Failure::Broken(cause.to_string()))?;
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
fn announce(address: SocketAddr) {
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    let mut stdout = io::stdout();
    // Nobody may be reading; that is no reason not to serve.
    let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());
}

async fn stop(shutdown: &Shutdown, store: &dyn Store, drain: Duration) {
    shutdown.begin();
    if timeout(drain, shutdown.finished()).await.is_err() {
        tracing::warn!("letting go of what is still under way");
        shutdown.force();
        // Releasing leases takes one write; more than this would be a database that does not answer.
        let _ = timeout(Duration::from_secs(1), shutdown.finished()).await;
    }
    store.close().await;
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
