//! Listening: connections with a limit on their number, on silence and on stubbornness.
//!
//! axum's own `serve` has none of these; axum-server has, and is used here and nowhere else.

mod connection;

use std::{
    future::{Ready, ready},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, http::Request};
use axum_server::{AddrListener, Address, Handle, accept::Accept};
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

pub(super) use connection::{Attended, Connection};

use super::Http;
use crate::telemetry::metrics::{Dropped, HttpMetrics, Open};

/// The largest request head, in bytes and in headers.
const LARGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;

/// Connections of those who watch the process, which crowds elsewhere take nothing of.
const WATCHERS: usize = 32;

/// How long a client may take no byte of its answer.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// How long answers say `Connection: close` before connections are closed.
const FAREWELL: Duration = Duration::from_millis(200);

/// An address that is listened on.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    /// Whether it is for those who watch the process.
    for_watchers: bool,
}

impl Listener {
    /// Takes the address; with port 0, a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            for_watchers: false,
        })
    }

    /// The same, for those who watch the process: few, under whatever name, and however often they ask.
    #[must_use]
    pub fn for_watchers(mut self) -> Self {
        self.for_watchers = true;
        self
    }

    /// The address it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves until shutdown begins and what was under way is finished, or its time is over.
pub async fn serve(listener: Listener, router: Router, http: &Http) -> io::Result<()> {
    let (settings, shutdown) = (&http.settings, &http.shutdown);
    let (handle, closing) = (Handle::new(), CancellationToken::new());
    let for_watchers = listener.for_watchers;
    let places = if for_watchers {
        WATCHERS
    } else {
        settings.max_connections
    };
    let gate = Gate {
        places: Arc::new(Semaphore::new(places)),
        for_watchers,
        counts: http.counts.clone(),
        closing: closing.clone(),
        header_timeout: settings.header_timeout,
    };
    let mut server = axum_server::Server::<Here>::from_listener(Door::new(listener, closing.clone())?)
        .acceptor(gate)
        .handle(handle.clone())
        .http1_only()
        .first_request_timeout(settings.header_timeout)
        .accept_error_handler(|_, error| tracing::warn!(%error, "a connection was not accepted"));
    server
        .http_builder()
        .http1()
        // A client that sent its request and closes its side still wants the answer.
        .half_close(true)
        .header_read_timeout(settings.idle_timeout)
        .max_headers(MOST_HEADERS)
        .max_buf_size(LARGEST_HEAD);
    let farewell = async {
        shutdown.begun().await;
        // The door closes after one farewell; who came in last has another to say what it wants.
        sleep(FAREWELL).await;
        closing.cancel();
        sleep(FAREWELL).await;
        handle.graceful_shutdown(Some(settings.drain_timeout.saturating_sub(2 * FAREWELL)));
        std::future::pending().await
    };
    tokio::select! {
        ended = server.serve(router.into_make_service()) => ended,
        never = farewell => never,
    }
}

/// An address whose listener ends by itself.
#[derive(Debug, Clone)]
struct Here(SocketAddr);

impl Address for Here {
    type Stream = TcpStream;
    type Listener = Door;
}

/// Lets connections in until a farewell after shutdown began: first everybody who waits by then, then nobody.
///
/// axum-server closes its listener and all connections without a request in one instant, which would
/// reset the requests of those who just came in.
#[derive(Debug)]
struct Door {
    socket: Mutex<Option<Arc<tokio::net::TcpListener>>>,
    address: SocketAddr,
    closing: CancellationToken,
}

impl Door {
    fn new(listener: Listener, closing: CancellationToken) -> io::Result<Self> {
        listener.socket.set_nonblocking(true)?;
        let socket = Arc::new(tokio::net::TcpListener::from_std(listener.socket)?);
        Ok(Self {
            socket: Mutex::new(Some(socket)),
            address: listener.address,
            closing,
        })
    }

    fn socket(&self) -> MutexGuard<'_, Option<Arc<tokio::net::TcpListener>>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddrListener<TcpStream, Here> for Door {
    async fn bind_to(address: Here) -> io::Result<Self> {
        Self::new(Listener::bind(address.0)?, CancellationToken::new())
    }

    async fn accept_stream(&self) -> io::Result<(TcpStream, Here)> {
        let socket = self.socket().clone();
        let Some(socket) = socket else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            accepted = socket.accept() => accepted.map(|(stream, from)| (stream, Here(from))),
            () = self.closing.cancelled() => {
                drop(socket);
                self.socket().take();
                std::future::pending().await
            }
        }
    }

    fn get_local_addr(&self) -> io::Result<Here> {
        Ok(Here(self.address))
    }
}

/// Lets in as many connections as there are places, and closes others at once.
#[derive(Debug, Clone)]
struct Gate {
    places: Arc<Semaphore>,
    for_watchers: bool,
    counts: HttpMetrics,
    closing: CancellationToken,
    header_timeout: Duration,
}

impl<S> Accept<TcpStream, S> for Gate {
    type Stream = Guarded;
    type Service = Counted<S>;
    type Future = Ready<io::Result<(Guarded, Counted<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.counts.dropped(Dropped::TooMany);
            return ready(Err(io::Error::other("there are too many connections")));
        };
        // Answers are small and whole; waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            return ready(Err(error));
        }
        // One that is gone already has no address, and no need of one.
        let address = stream
            .peer_addr()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let connection = Connection::new(address, self.for_watchers);
        let guarded = Guarded {
            stream,
            connection: connection.clone(),
            closing: self.closing.clone(),
            header_timeout: self.header_timeout,
            head: None,
            stalled: None,
            _open: self.counts.connected(),
            counts: self.counts.clone(),
            _place: place,
        };
        ready(Ok((guarded, Counted { service, connection })))
    }
}

/// A service that counts the turns of its connection.
#[derive(Debug, Clone)]
struct Counted<S> {
    service: S,
    connection: Connection,
}

impl<S, B> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.connection.pass_turn();
        request.extensions_mut().insert(self.connection.clone());
        let (answer, connection) = (self.service.call(request), self.connection.clone());
        Box::pin(async move {
            let answer = answer.await;
            connection.pass_turn();
            answer
        })
    }
}

/// A connection that holds its place. It fails when its client begins a request and does not come to the
/// end of the head, or stops reading the answer.
///
/// hyper has one timer for a head and for the wait before it. Kept connections are to live long (a proxy that
/// sends on one just as it is closed has lost that request), heads are not, so the head's timer is here.
struct Guarded {
    stream: TcpStream,
    connection: Connection,
    closing: CancellationToken,
    header_timeout: Duration,
    /// Since when a head is under way, and in which turn that was.
    head: Option<(usize, Pin<Box<Sleep>>)>,
    stalled: Option<BoxFuture<'static, ()>>,
    counts: HttpMetrics,
    _open: Open,
    _place: OwnedSemaphorePermit,
}

impl Guarded {
    /// Passes progress on, and turns too long a wait for it into an error.
    fn judge<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let stalled = self.stalled.get_or_insert_with(|| {
            let streams = self.connection.streams();
            Box::pin(patience(streams.then(|| self.closing.clone())))
        });
        ready!(stalled.as_mut().poll(context));
        self.counts.dropped(Dropped::Stalled);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Fails when something is streamed to a client that has closed its side. Nobody reads while an answer is under way, so
    /// that it would be noticed no sooner than with the second heartbeat, and the stream's place be taken until then.
    fn attend(&self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.connection.streams() {
            return Ok(());
        }
        let mut byte = [0];
        match self.stream.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }
}

/// How long a client may take nothing: a stream, whose client loses nothing by it, no longer than until the door closes.
async fn patience(closing: Option<CancellationToken>) {
    match closing {
        None => sleep(WRITE_STALL).await,
        // Either is a reason to let go.
        Some(closing) => drop(timeout(WRITE_STALL, closing.cancelled()).await),
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let turn = self.connection.turn();
        // A head that has come to its end has passed the turn on.
        self.head.take_if(|(begun_in, _)| *begun_in != turn);
        let before = buffer.filled().len();
        let progress = Pin::new(&mut self.stream).poll_read(context, buffer);
        let clients_turn = turn.is_multiple_of(2);
        if progress.is_ready() && buffer.filled().len() > before && clients_turn {
            let timeout = self.header_timeout;
            self.head.get_or_insert_with(|| (turn, Box::pin(sleep(timeout))));
        }
        if progress.is_pending()
            && let Some((_, late)) = &mut self.head
        {
            ready!(late.as_mut().poll(context));
            self.counts.dropped(Dropped::SlowHead);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        progress
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.attend(context)?;
        let progress = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
