//! A reader of live events, as a browser is one: it keeps the number of the last event that it saw, and comes back with it
//! after every cut.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::ACCEPT;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::SOON;
use super::client::no_tls;

/// Before it comes back. Browsers wait for as long as `retry` says.
const A_MOMENT: Duration = Duration::from_millis(20);

/// One event, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its number; only a conversation's last event has none.
    pub(crate) number: Option<u64>,
    pub(crate) name: Box<str>,
    pub(crate) data: Box<str>,
}

impl Event {
    pub(crate) fn payload(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Whether it is `name` and about this message.
    pub(crate) fn is(&self, name: &str, message: &str) -> bool {
        *self.name == *name && self.payload()["message_id"] == message
    }

    /// Whether the reply to this message is final with it.
    pub(crate) fn ends_reply_to(&self, message: &str) -> bool {
        ["reply.succeeded", "reply.failed", "reply.cancelled"]
            .iter()
            .any(|name| self.is(name, message))
    }
}

/// How reading from one connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With what was looked for. The connection is closed from this side.
    Found,
    /// The server ended the stream, as the protocol has it.
    Cleanly,
    /// The connection broke off, or there was none.
    Cut,
    /// There was another answer than a stream.
    Refused(u16),
}

/// Somebody who reads one stream over as many connections as it takes.
pub(crate) struct Reader {
    http: reqwest::Client,
    address: SocketAddr,
    path: String,
    last: Option<u64>,
    says_what_it_saw: bool,
    /// Everything it saw, in this order.
    pub(crate) log: Vec<Event>,
    /// How many connections gave a stream.
    pub(crate) streams: usize,
    /// How many of them broke off.
    pub(crate) cuts: usize,
    /// How many streams ended cleanly in the middle of an event.
    pub(crate) halves: usize,
}

impl Reader {
    /// Reads `/conversations/{conversation}/events`.
    pub(crate) fn of_conversation(address: SocketAddr, conversation: &str) -> Self {
        Self::of(address, &format!("/conversations/{conversation}/events"))
    }

    /// Reads one reply.
    pub(crate) fn of_reply(address: SocketAddr, conversation: &str, message: &str) -> Self {
        let path = format!("/conversations/{conversation}/messages/{message}/reply?stream=true");
        Self::of(address, &path)
    }

    fn of(address: SocketAddr, path: &str) -> Self {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(no_tls())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(SOON)
            .build();
        Self {
            http: http.expect("a client"),
            address,
            path: path.to_owned(),
            last: None,
            says_what_it_saw: true,
            log: Vec::new(),
            streams: 0,
            cuts: 0,
            halves: 0,
        }
    }

    /// For controls: it comes back without a word of what it saw.
    pub(crate) fn forgetful(self) -> Self {
        Self {
            says_what_it_saw: false,
            ..self
        }
    }

    /// Another one, who has seen nothing yet.
    pub(crate) fn newcomer(&self) -> Self {
        Self {
            http: self.http.clone(),
            address: self.address,
            path: self.path.clone(),
            last: None,
            says_what_it_saw: true,
            log: Vec::new(),
            streams: 0,
            cuts: 0,
            halves: 0,
        }
    }

    /// The service is somewhere else from now on.
    pub(crate) fn move_to(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// Reads over one connection, until `found`.
    pub(crate) async fn read(&mut self, found: impl FnMut(&Event) -> bool) -> Ended {
        match self.open().await {
            Ok(stream) => self.take_all(stream, found).await,
            Err(ended) => ended,
        }
    }

    /// Opens a stream and reads nothing of it.
    pub(crate) async fn open(&mut self) -> Result<reqwest::Response, Ended> {
        let mut request = self
            .http
            .get(format!("http://{}{}", self.address, self.path))
            .header(ACCEPT, "text/event-stream");
        if let Some(last) = self.last.filter(|_| self.says_what_it_saw) {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.map_err(|_| Ended::Cut)?;
        if response.status() != 200 {
            return Err(Ended::Refused(response.status().as_u16()));
        }
        self.streams += 1;
        Ok(response)
    }

    /// Reads what comes over an open stream, until `found`.
    pub(crate) async fn take_all(
        &mut self,
        mut response: reqwest::Response,
        mut found: impl FnMut(&Event) -> bool,
    ) -> Ended {
        let (mut unread, mut searched) = (Vec::new(), 0);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => unread.extend_from_slice(&chunk),
                Ok(None) => {
                    self.halves += usize::from(!unread.is_empty());
                    return Ended::Cleanly;
                }
                Err(_) => {
                    self.cuts += 1;
                    return Ended::Cut;
                }
            }
            while let Some(end) = unread[searched..].windows(2).position(|window| window == b"\n\n") {
                let frame: Vec<u8> = unread.drain(..searched + end + 2).collect();
                searched = 0;
                let Some(event) = event(&frame) else { continue };
                self.last = event.number.or(self.last);
                let is_found = found(&event);
                self.log.push(event);
                if is_found {
                    return Ended::Found;
                }
            }
            searched = unread.len().saturating_sub(1);
        }
    }

    /// Reads until `found`, and comes back for as long as it takes; panics with `what` if that is too long. Gives how it ended:
    /// [`Ended::Found`], or [`Ended::Refused`] by an answer that no patience changes.
    pub(crate) async fn read_on(
        &mut self,
        what: &str,
        within: Duration,
        mut found: impl FnMut(&Event) -> bool,
    ) -> Ended {
        let reading = async {
            loop {
                match self.read(&mut found).await {
                    Ended::Found => return Ended::Found,
                    Ended::Refused(status) if !matches!(status, 429 | 503) => return Ended::Refused(status),
                    Ended::Cleanly | Ended::Cut | Ended::Refused(_) => sleep(A_MOMENT).await,
                }
            }
        };
        let ended = timeout(within, reading).await;
        ended.unwrap_or_else(|_| {
            let last = self.log.last();
            panic!(
                "not within {within:?}: {what}; the last of {} events was {last:?}",
                self.log.len()
            );
        })
    }
}

/// What a frame tells; `None` where it is a comment, or says when to come back.
fn event(frame: &[u8]) -> Option<Event> {
    let frame = std::str::from_utf8(frame).expect("UTF-8");
    let field = |name: &str| {
        let mut lines = frame
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = lines.next();
        assert_eq!(lines.next(), None, "one `{name}` in {frame:?}");
        value
    };
    let data = field("data")?;
    Some(Event {
        number: field("id").map(|number| number.parse().expect("a number")),
        name: field("event").expect("a name").into(),
        data: data.into(),
    })
}
