//! A network that fails on demand: a TCP proxy between a node and its database.
//!
//! - [`Proxy`] listens on a port of its own and carries bytes to an [`Upstream`]; its switches work at once, on
//!   connections that are open too.
//! - `cut_…` and [`Proxy::judge`] arm a hook on what clients send: it ends a connection right after, or right before,
//!   certain bytes reach the server. What the client cannot know then is what a test is about.
//!
//! `control.rs` holds what the switches say, `relay.rs` carries the bytes of one connection.

mod control;
mod relay;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use control::{Control, Hook, Mode};
use relay::Socket;

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// When a connection is cut: the server has got the bytes and the client never hears of it, or it never gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    AfterSending,
    BeforeSending,
}

/// What becomes of the bytes that a client has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    ForwardThenReset,
    ResetBefore,
}

/// A running proxy. Dropping it resets its connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    _accepting: DropGuard,
}

impl Proxy {
    /// Carries everything, until told otherwise.
    pub(crate) async fn start(upstream: Upstream) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port's number");
        let control = Arc::new(Control::new(upstream));
        let stop = CancellationToken::new();
        let accepting = accept(listener, Arc::clone(&control));
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self {
            address,
            control,
            _accepting: stop.drop_guard(),
        }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything flows, also what was held back by [`Proxy::stall`].
    pub(crate) fn pass(&self) {
        self.control.set(Mode::Pass);
    }

    /// Resets every connection, and new ones as soon as they are made.
    pub(crate) fn refuse(&self) {
        self.control.set(Mode::Refuse);
        self.control.reset_all();
    }

    /// Nothing flows, not even the end of a connection, and new connections are silent. What is under way stays so.
    pub(crate) fn stall(&self) {
        self.control.set(Mode::Stall);
    }

    /// Bytes that go this way are lost, for good. A connection that has lost some stays silent that way, whatever comes
    /// after: only new connections work again.
    pub(crate) fn lose(&self, direction: Direction) {
        self.control.set(Mode::Lose(direction));
    }

    /// Resets every connection there is. New ones are served.
    pub(crate) fn reset_all(&self) {
        self.control.reset_all();
    }

    /// New connections lead to this server: the old one may have come back under another address.
    pub(crate) fn lead_to(&self, upstream: Upstream) {
        self.control.lead_to(upstream);
    }

    /// Each connection that is made from now on is reset when its time is over.
    pub(crate) fn limit_lives(&self, lives: impl FnMut() -> Duration + Send + 'static) {
        self.control.limit_lives(Box::new(lives));
    }

    /// Cuts the first connection on which a client sends these bytes, in one piece or in several.
    ///
    /// A prepared statement is sent once and then only named: arm before it is prepared, or count chunks.
    pub(crate) fn cut_when(&self, bytes: &[u8], cut: Cut) {
        assert!(
            (1..=relay::REMEMBERED).contains(&bytes.len()),
            "bytes to look for"
        );
        self.control.arm(Hook::Bytes(bytes.to_vec(), cut));
    }

    /// Cuts when the `nth` chunk of client bytes from now on comes, over all connections; the first is number 1. A chunk
    /// is what arrives at once, which for a client that flushes after every request is a request.
    pub(crate) fn cut_at_chunk(&self, nth: usize, cut: Cut) {
        self.control.arm(Hook::Chunk(nth, cut));
    }

    /// Asks about every chunk of client bytes, over all connections, until [`Proxy::disarm`] or another hook.
    pub(crate) fn judge(&self, judge: impl FnMut(&[u8]) -> Verdict + Send + 'static) {
        self.control.arm(Hook::Judge(Box::new(judge)));
    }

    /// Takes away whatever was armed and has not happened.
    pub(crate) fn disarm(&self) {
        self.control.arm(Hook::None);
    }

    /// How many connections clients have made so far.
    pub(crate) fn connections(&self) -> usize {
        self.control.connections.load(Ordering::SeqCst)
    }

    /// How many of them are open now.
    pub(crate) fn open(&self) -> usize {
        self.control.open.load(Ordering::SeqCst)
    }

    /// How many of them a hook has cut. It counts before the client can notice.
    pub(crate) fn cuts(&self) -> usize {
        self.control.cuts.load(Ordering::SeqCst)
    }

    /// How many bytes [`Proxy::lose`] has taken.
    pub(crate) fn lost(&self) -> usize {
        self.control.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
    }
}

async fn accept(listener: TcpListener, control: Arc<Control>) {
    loop {
        // Out of descriptors, say: the client sees that nothing answers, and so does the test.
        let Ok((client, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        control.connections.fetch_add(1, Ordering::SeqCst);
        control.open.fetch_add(1, Ordering::SeqCst);
        // Taken here, so that a reset that comes after `connections` was counted is not missed.
        let reset = control.reset_token().child_token();
        let (upstream, life) = (control.upstream(), control.life());
        let control = Arc::clone(&control);
        tokio::spawn(async move {
            let served = serve(client, &upstream, &control, &reset);
            match life {
                None => served.await,
                Some(life) => {
                    let expired = async {
                        sleep(life).await;
                        reset.cancel();
                    };
                    tokio::pin!(served);
                    tokio::select! {
                        () = &mut served => {}
                        () = expired => served.await,
                    }
                }
            }
            control.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn serve(client: TcpStream, upstream: &Upstream, control: &Control, reset: &CancellationToken) {
    let server = tokio::select! {
        biased;
        () = reset.cancelled() => None,
        server = relay::connect(upstream, control) => server,
    };
    match server {
        Some(server) => relay::run(client, server, control, reset).await,
        None => client.reset(),
    }
}
