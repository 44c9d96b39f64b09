//! What is known of a connection, by both ends of it: by those who answer requests, and by what holds its bytes.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// What is known of a connection by those who answer on it.
#[derive(Debug, Clone)]
pub(in crate::http) struct Connection {
    /// Who asks, as far as this request is concerned: the peer, or somebody behind it.
    client: IpAddr,
    /// Whether the peer asks for somebody else who cannot be told: then the request counts as the peer's, but is not its own.
    hides_client: bool,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    address: IpAddr,
    /// Whether it is one of those who watch the process.
    watches: bool,
    /// Whose turn it is: the client's while the number is even, the service's while it is odd.
    turns: AtomicUsize,
    /// Whether it is being streamed on.
    streams: AtomicBool,
}

impl Connection {
    /// One that was just taken from this address, perhaps of somebody who watches the process.
    pub(super) fn new(address: IpAddr, watches: bool) -> Self {
        Self {
            client: address,
            hides_client: false,
            state: Arc::new(State {
                address,
                watches,
                turns: AtomicUsize::new(0),
                streams: AtomicBool::new(false),
            }),
        }
    }

    /// Whether it came to the listener for metrics.
    pub(in crate::http) fn watches(&self) -> bool {
        self.state.watches
    }

    /// Where it comes from.
    pub(in crate::http) fn address(&self) -> IpAddr {
        self.state.address
    }

    /// Who asks on it.
    pub(in crate::http) fn client(&self) -> IpAddr {
        self.client
    }

    /// The request on it is somebody else's, for whom the peer asks; `None` if the peer's word on who that is cannot be read.
    pub(in crate::http) fn comes_from(&mut self, client: Option<IpAddr>) {
        match client {
            Some(client) => self.client = client,
            None => self.hides_client = true,
        }
    }

    /// Whether it is this machine itself that asks, and for nobody else.
    pub(in crate::http) fn is_from_here(&self) -> bool {
        !self.hides_client && self.client == self.state.address && self.client.to_canonical().is_loopback()
    }

    /// From now on, and until what this gives is dropped, the connection ends when its client closes its side.
    pub(in crate::http) fn attend(self) -> Attended {
        self.state.streams.store(true, Ordering::Release);
        Attended(self)
    }

    pub(super) fn streams(&self) -> bool {
        self.state.streams.load(Ordering::Acquire)
    }

    /// Whose turn it is.
    pub(super) fn turn(&self) -> usize {
        self.state.turns.load(Ordering::Acquire)
    }

    pub(super) fn pass_turn(&self) {
        self.state.turns.fetch_add(1, Ordering::AcqRel);
    }
}

/// Has it noticed when a client goes away to whom there is nothing to say.
#[derive(Debug)]
pub(in crate::http) struct Attended(Connection);

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.state.streams.store(false, Ordering::Release);
    }
}
