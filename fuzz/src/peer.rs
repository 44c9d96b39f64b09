//! The service within this process, on a real connection: listening, limits and HTTP are those of the program.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use engagement::{
    app::{self, Duty},
    config::{Config, Settings},
    provider::routes::Providers,
    telemetry::Telemetry,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    time::timeout,
};

use crate::wire::{self, Answer};

/// The key that the service of a run is opened with.
pub const KEY: &str = "a-key-for-the-fuzzing-of-headers";

/// Messages in the conversation that is there from the beginning.
const MESSAGES: usize = 25;

/// And of these, user messages, each of which gets a reply.
const REPLIES: usize = 5;

/// How long an answer may take. The service has nothing to wait for: whatever is sent ends.
const SOON: Duration = Duration::from_secs(10);

/// How long nothing comes over a stream on which nothing happens.
const QUIET: Duration = Duration::from_millis(50);

/// Somebody to talk to.
pub struct Peer {
    runtime: Runtime,
    address: SocketAddr,
    kept: Option<TcpStream>,
    /// A conversation that is there.
    pub conversation: String,
    /// A message in it.
    pub message: String,
    _home: tempfile::TempDir,
}

impl Peer {
    /// The service, with something in it.
    pub fn service() -> Result<Self> {
        // Its address has to be known before it has taken it, and others may be faster.
        Self::started()
            .or_else(|_| Self::started())
            .or_else(|_| Self::started())
    }

    fn started() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let database = home.path().join("engagement.db");
        let settings: Settings = toml::from_str(&format!(
            "listen = '{address}'\ndatabase_url = 'sqlite://{}'\napi_key = '{KEY}'\n",
            database.display()
        ))?;
        let config = Config::new(&settings).context("the settings")?;
        let runtime = runtime()?;
        let served = runtime.spawn(app::run(
            config,
            Providers::rules(),
            Telemetry::default(),
            Duty::Everything,
        ));
        let mut peer = Self::at(address, runtime, home);
        while peer
            .exchange(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", true)
            .is_err()
        {
            if served.is_finished() {
                bail!("the service ended: {:?}", peer.runtime.block_on(served)?);
            }
            let pause = async { tokio::time::sleep(Duration::from_millis(10)).await };
            peer.runtime.block_on(pause);
        }
        peer.fill()?;
        Ok(peer)
    }

    /// Whoever answers at this address.
    pub fn at(address: SocketAddr, runtime: Runtime, home: tempfile::TempDir) -> Self {
        let nobody = "11111111-1111-4111-8111-111111111111".to_owned();
        Self {
            runtime,
            address,
            kept: None,
            conversation: nobody.clone(),
            message: nobody,
            _home: home,
        }
    }

    fn fill(&mut self) -> Result<()> {
        let text = |answer: Result<Answer, String>, field: &str| {
            let json = answer
                .and_then(|answer| answer.json())
                .map_err(anyhow::Error::msg)?;
            let text = json[field].as_str().with_context(|| json.to_string())?;
            anyhow::Ok(text.to_owned())
        };
        let made = self.exchange(&post("/conversations/", br#"{"description": "d"}"#), true);
        self.conversation = text(made, "conversation_id")?;
        let path = format!("/conversations/{}/messages/create", self.conversation);
        for number in 0..MESSAGES {
            let role = if number % (MESSAGES / REPLIES) == 0 {
                "user"
            } else {
                "assistant"
            };
            let body = format!(r#"{{"text": "Straße number {number}", "role": "{role}"}}"#);
            let id = text(self.exchange(&post(&path, body.as_bytes()), true), "message_id")?;
            if role == "user" {
                self.message = id;
            }
        }
        self.happened().map_err(anyhow::Error::msg)?;
        Ok(())
    }

    /// All that has happened in the conversation, once nothing happens any more: every reply is there.
    pub fn happened(&mut self) -> Result<Answer, String> {
        let path = format!("/conversations/{}/events", self.conversation);
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.exchange_until(request.as_bytes(), true, |answer| {
            let text = String::from_utf8_lossy(&answer.body);
            let times = |name: &str| text.matches(&format!("event: {name}\n")).count();
            times("message.created") == MESSAGES + REPLIES
                && times("reply.succeeded") == REPLIES
                && text.ends_with("\n\n")
        })
    }

    /// Puts in what a seed can only name.
    pub fn fill_in(&self, input: &[u8]) -> Vec<u8> {
        let mut filled = input.to_vec();
        for (name, value) in [
            ("{conversation}", self.conversation.as_str()),
            ("{message}", &self.message),
            ("{key}", KEY),
        ] {
            while let Some(at) = find(&filled, name.as_bytes()) {
                filled.splice(at..at + name.len(), value.bytes());
            }
        }
        filled
    }

    /// Sends these bytes and nothing more on a connection of their own; all that comes back until it ends.
    pub fn send(&mut self, bytes: &[u8]) -> Result<Came, String> {
        let address = self.address;
        let exchange = async {
            let mut stream = connect(address).await?;
            // It may have seen enough, answered and closed.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut came = Vec::new();
            let was_cut = loop {
                // A stream lasts for as long as the service has not read up to the end of what it was sent.
                let lasts = wire::lasts(&came);
                let patience = if lasts { QUIET } else { SOON };
                match timeout(patience, stream.read_buf(&mut came)).await {
                    Ok(Ok(1..)) => {}
                    Ok(Ok(0)) => break false,
                    // Closed before all was read: the kernel takes back what it had not delivered.
                    Ok(Err(_)) => break true,
                    Err(_) if lasts => break false,
                    Err(_) => return Err("neither answered nor closed".to_owned()),
                }
            };
            Ok(Came { bytes: came, was_cut })
        };
        self.runtime.block_on(exchange)
    }

    /// Sends one request on the connection that is kept, and reads its answer.
    pub fn exchange(&mut self, request: &[u8], has_body: bool) -> Result<Answer, String> {
        self.exchange_until(request, has_body, |_| true)
    }

    /// The same, with an answer that lasts until enough of it is there.
    pub fn exchange_until(
        &mut self,
        request: &[u8],
        has_body: bool,
        is_enough: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, String> {
        let (address, mut kept) = (self.address, self.kept.take());
        let exchange = async {
            let mut came = Vec::with_capacity(4096);
            let (mut stream, first_read) = loop {
                let was_kept = kept.is_some();
                let mut stream = match kept.take() {
                    Some(stream) => stream,
                    None => connect(address).await?,
                };
                let _ = stream.write_all(request).await;
                let read = stream.read_buf(&mut came).await;
                // A kept one may have been closed before.
                if !was_kept || matches!(read, Ok(length) if length > 0) {
                    break (stream, read);
                }
            };
            let mut read = first_read;
            loop {
                let is_over = !matches!(read, Ok(length) if length > 0);
                if let Some((answer, _)) = wire::first(&came, has_body, is_over)? {
                    let keeps = !is_over && answer.header("connection") != Some("close");
                    return Ok((answer, keeps.then_some(stream)));
                }
                if is_over {
                    return Err("closed without an answer".to_owned());
                }
                // What lasts has no end: it is enough as soon as somebody says so.
                if let Some((answer, _)) = wire::first(&came, has_body, true).ok().flatten()
                    && answer.lasts()
                    && is_enough(&answer)
                {
                    return Ok((answer, None));
                }
                read = stream.read_buf(&mut came).await;
            }
        };
        let ended = self.runtime.block_on(async { timeout(SOON, exchange).await });
        let (answer, stream) = ended.map_err(|_| "neither answered nor closed".to_owned())??;
        self.kept = stream;
        answer.judge(has_body)?;
        Ok(answer)
    }
}

/// What came over a connection that has ended.
pub struct Came {
    pub bytes: Vec<u8>,
    /// Whether it was reset, which can cut off the last of it.
    pub was_cut: bool,
}

/// A runtime of one thread, so that little but the input decides what happens.
pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    // From many addresses of this machine: a closed connection keeps its pair of ports for a minute.
    let from = 2 + LAST.fetch_add(1, Ordering::Relaxed) % 200;
    let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + from);
    let connect = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.set_nodelay(true)?;
        socket.connect(address).await
    };
    connect.await.map_err(|error| format!("not reached: {error}"))
}

/// A POST with the key.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    request("POST", path, body)
}

/// A request with the key and a JSON body.
pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Where a part begins.
pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
