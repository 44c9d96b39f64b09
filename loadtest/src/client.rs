//! A blocking client for one connection: setting up, lone requests, and the honest client that keeps its pace.

use crate::histogram::Histogram;
use crate::http::{self, Head, parse_head};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that was silent for longer may be about to be closed: servers keep idle ones for a while only.
const IDLE: Duration = Duration::from_secs(5);

/// One keep-alive connection, made anew after a long silence.
pub struct Client {
    addr: SocketAddr,
    stream: TcpStream,
    used: Instant,
    buffer: Vec<u8>,
    headers: String,
}

/// A response: its head, and the raw bytes of head and body.
pub struct Response<'a> {
    /// The parsed head.
    pub head: Head,
    /// Everything as it came.
    pub raw: &'a [u8],
}

impl Response<'_> {
    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.raw[self.head.body_at..]
    }

    /// The body as JSON, when the status says success.
    pub fn json(&self) -> Result<Value> {
        if !self.head.is_success() {
            bail!(
                "status {}: {}",
                self.head.status,
                String::from_utf8_lossy(self.body())
            );
        }
        Ok(serde_json::from_slice(self.body())?)
    }
}

fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

impl Client {
    /// Connects; posts with the key that everybody knows.
    pub fn new(addr: SocketAddr) -> Result<Self> {
        Self::with_key(addr, http::API_KEY)
    }

    /// Connects; posts with this key.
    pub fn with_key(addr: SocketAddr, key: &str) -> Result<Self> {
        Ok(Self {
            addr,
            stream: connect(addr)?,
            used: Instant::now(),
            buffer: vec![0; 64 * 1024],
            headers: format!("x-api-key: {key}\r\n"),
        })
    }

    /// Sends a request and waits for its response.
    pub fn send(&mut self, request: &[u8]) -> Result<Response<'_>> {
        if self.used.elapsed() > IDLE {
            self.stream = connect(self.addr)?;
        }
        self.used = Instant::now();
        self.stream.write_all(request)?;
        let mut filled = 0;
        let mut head: Option<Head> = None;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = self
                .stream
                .read(&mut self.buffer[filled..])
                .context("no answer in time")?;
            if read == 0 {
                bail!("the server closed the connection");
            }
            filled += read;
            if head.is_none() {
                head = parse_head(&self.buffer[..filled])?;
            }
            if let Some(head) = head
                && filled >= head.total()
            {
                let raw = &self.buffer[..head.total()];
                return Ok(Response { head, raw });
            }
        }
    }

    /// GET as JSON.
    pub fn get(&mut self, path: &str) -> Result<Value> {
        self.send(&http::get(path))?
            .json()
            .with_context(|| format!("GET {path}"))
    }

    /// POST as JSON.
    pub fn post(&mut self, path: &str, body: &str) -> Result<Value> {
        self.send(&http::post_with(path, &self.headers, body))?
            .json()
            .with_context(|| format!("POST {path}"))
    }

    /// Makes a conversation and returns its id.
    pub fn conversation(&mut self, title: &str) -> Result<String> {
        let body =
            serde_json::json!({ "title": title, "description": "A conversation that the load test made" });
        let made = self.post("/conversations/", &body.to_string())?;
        text_of(&made, "conversation_id")
    }

    /// Posts assistant messages, which no reply follows.
    pub fn fill(&mut self, conversation: &str, count: u64) -> Result<()> {
        let path = create_path(conversation);
        for index in 0..count {
            self.post(&path, &http::message("assistant", &sentence(index)))?;
        }
        Ok(())
    }

    /// How many messages a listing counts.
    pub fn count(&mut self, conversation: &str, query: &str) -> Result<u64> {
        let page = self.get(&format!(
            "/conversations/{conversation}/messages?page_size=1{query}"
        ))?;
        page.get("count")
            .and_then(Value::as_u64)
            .context("a page without count")
    }

    /// Times one request; any status but success is an error.
    pub fn time(&mut self, request: &[u8]) -> Result<Duration> {
        let sent = Instant::now();
        let response = self.send(request)?;
        let took = sent.elapsed();
        if !response.head.is_success() {
            bail!(
                "status {}: {}",
                response.head.status,
                String::from_utf8_lossy(response.body())
            );
        }
        Ok(took)
    }

    /// Times a request again and again: at most `count` times and for about `limit`, at least three times.
    pub fn time_many(&mut self, request: &[u8], count: u64, limit: Duration) -> Result<Histogram> {
        let mut seen = Histogram::default();
        let start = Instant::now();
        while seen.len() < 3 || (seen.len() < count && start.elapsed() < limit) {
            seen.record(self.time(request)?);
        }
        Ok(seen)
    }
}

/// A field that must be a string.
pub fn text_of(value: &Value, field: &str) -> Result<String> {
    let text = value.get(field).and_then(Value::as_str);
    Ok(text
        .with_context(|| format!("no `{field}` in {value}"))?
        .to_owned())
}

/// Where messages are made.
pub fn create_path(conversation: &str) -> String {
    format!("/conversations/{conversation}/messages/create")
}

/// About 120 bytes of text that is different for each number.
pub fn sentence(number: u64) -> String {
    format!(
        "Message number {number:>8} tells about the weather, the harbour and the boats that left before the fog came in at noon."
    )
}

/// What the honest client saw.
pub struct Honest {
    /// Latency from the moment a request was due, so that a stalled server cannot hide the requests it held up.
    pub latency: Histogram,
    /// Requests without a successful answer.
    pub errors: u64,
}

/// An open-loop client on a thread of its own: `rate` requests a second, whatever the answers take.
pub struct HonestClient {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<Honest>>,
}

impl HonestClient {
    /// Starts it; it ends by itself after `limit`.
    pub fn start(addr: SocketAddr, request: Vec<u8>, rate: u32, limit: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || keep_pace(addr, &request, rate, limit, &flag));
        Self { stop, thread }
    }

    /// Ends it and returns what it saw.
    pub fn finish(self) -> Result<Honest> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(seen) => seen,
            Err(_) => bail!("the honest client panicked"),
        }
    }
}

fn keep_pace(
    addr: SocketAddr,
    request: &[u8],
    rate: u32,
    limit: Duration,
    stop: &AtomicBool,
) -> Result<Honest> {
    let mut client = Client::new(addr)?;
    let mut seen = Honest {
        latency: Histogram::default(),
        errors: 0,
    };
    let start = Instant::now();
    let mut due = start;
    while !stop.load(Ordering::Relaxed) && due < start + limit && seen.errors < 100 {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if client.time(request).is_ok() {
            seen.latency.record(due.elapsed());
        } else {
            seen.errors += 1;
            client = Client::new(addr)?;
        }
        due += Duration::from_secs(1) / rate;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_stall_counts_for_every_request_that_was_due_meanwhile() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut buffer = [0; 1024];
            for number in 0_u32.. {
                if stream.read(&mut buffer)? == 0 {
                    break;
                }
                if number == 10 {
                    thread::sleep(Duration::from_millis(300));
                }
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
            }
            Ok(())
        });
        let seen = keep_pace(
            addr,
            &http::get("/"),
            100,
            Duration::from_secs(1),
            &AtomicBool::new(false),
        )?;
        assert_eq!((seen.latency.len(), seen.errors), (100, 0));
        // 30 requests were due during the stall, a third of them waited for more than 180 ms.
        assert!(seen.latency.max() >= Duration::from_millis(300));
        assert!(seen.latency.quantile(0.90) >= Duration::from_millis(100));
        Ok(())
    }
}
