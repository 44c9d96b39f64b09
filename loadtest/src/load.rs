//! The closed-loop generator: N keep-alive clients on one thread, each sending its next request when the last was answered.
//!
//! Client and server share the machine, so the generator spends as little as it can: one thread, requests as ready-made bytes,
//! two system calls a request, no allocation in the loop.

use crate::http::{FRESH, Head, parse_head};
use crate::{histogram::Histogram, process};
use anyhow::{Context, Result, bail};
use memchr::memmem;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a client may outlast the end of the run before its last request counts as an error.
const GRACE: Duration = Duration::from_secs(20);
/// Connection errors after which a client gives up.
const MAX_ERRORS: u64 = 20;

/// The next number that stands where a request has [`FRESH`].
static NEXT: AtomicU64 = AtomicU64::new(1);

/// When a run ends.
#[derive(Clone, Copy)]
pub enum Stop {
    /// After this time, warm-up not counted.
    After(Duration),
    /// After this many requests of each client, or the time at the latest.
    Count(u64, Duration),
}

/// What to send, by how many, for how long.
#[derive(Clone)]
pub struct Load {
    /// Where to.
    pub addr: SocketAddr,
    /// Requests as bytes; each client goes round them from a start of its own. Where one has [`FRESH`], a number of its own
    /// goes out each time.
    pub requests: Arc<[Vec<u8>]>,
    /// Keep-alive connections.
    pub clients: usize,
    /// Time before counting starts.
    pub warmup: Duration,
    /// The end.
    pub stop: Stop,
}

/// What a run saw.
#[derive(Default)]
pub struct Outcome {
    /// Responses with a status of success.
    pub succeeded: u64,
    /// Responses with any other status.
    pub refused: BTreeMap<u16, u64>,
    /// Connections that failed or closed early, requests that were never answered.
    pub broken: u64,
    /// From the end of the warm-up to the last response.
    pub elapsed: Duration,
    /// Latency of the successes.
    pub latency: Histogram,
    /// The last successful body of each client.
    pub last: Vec<Vec<u8>>,
    /// Requests of the warm-up that were answered with success.
    pub warmed: u64,
    /// Processor time that the generator itself took, from the first connection on.
    pub own_cpu: Duration,
}

impl Outcome {
    /// Successes per second.
    pub fn rate(&self) -> f64 {
        self.succeeded as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Everything that was no success.
    pub fn errors(&self) -> u64 {
        self.broken + self.refused.values().sum::<u64>()
    }

    /// Errors in words.
    pub fn errors_text(&self) -> String {
        if self.errors() == 0 {
            return "no errors".to_owned();
        }
        let refused: Vec<String> = self
            .refused
            .iter()
            .map(|(status, n)| format!("{n} x {status}"))
            .collect();
        format!("errors: {} broken, refused [{}]", self.broken, refused.join(", "))
    }

    fn absorb(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.broken += other.broken;
        self.warmed += other.warmed;
        self.latency.merge(&other.latency);
        self.last.extend(other.last);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
    }
}

/// Runs a load to its end on this thread.
pub fn run(load: &Load) -> Result<Outcome> {
    let before = process::own_cpu();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut outcome = runtime.block_on(drive(load))?;
    outcome.own_cpu = process::own_cpu().saturating_sub(before);
    Ok(outcome)
}

async fn drive(load: &Load) -> Result<Outcome> {
    if load.requests.is_empty() || load.clients == 0 {
        bail!("nothing to send");
    }
    let mut streams = Vec::with_capacity(load.clients);
    for _ in 0..load.clients {
        streams.push(connect(load.addr).await?);
    }
    let start = Instant::now() + load.warmup;
    let (limit, end) = match load.stop {
        Stop::After(time) => (u64::MAX, start + time),
        Stop::Count(count, time) => (count, start + time),
    };
    let tasks: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(index, stream)| {
            let mut client = Client {
                addr: load.addr,
                stream,
                requests: Arc::clone(&load.requests),
                next: index * load.requests.len() / load.clients,
                start,
                end,
                limit,
                outgoing: Vec::with_capacity(1024),
                buffer: vec![0; 8 * 1024],
                seen: Outcome::default(),
            };
            tokio::spawn(async move {
                let whole = end + GRACE - Instant::now();
                if tokio::time::timeout(whole, client.run()).await.is_err() {
                    client.seen.broken += 1;
                }
                client.seen
            })
        })
        .collect();
    let mut outcome = Outcome::default();
    for task in tasks {
        outcome.absorb(task.await?);
    }
    outcome.elapsed = Instant::now().saturating_duration_since(start);
    Ok(outcome)
}

async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(addr)
        .await
        .with_context(|| format!("cannot connect to {addr}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

struct Client {
    addr: SocketAddr,
    stream: TcpStream,
    requests: Arc<[Vec<u8>]>,
    next: usize,
    start: Instant,
    end: Instant,
    limit: u64,
    outgoing: Vec<u8>,
    buffer: Vec<u8>,
    seen: Outcome,
}

impl Client {
    async fn run(&mut self) {
        let mut sent = Instant::now();
        let mut done = 0;
        let mut last = None;
        while sent < self.end && done < self.limit {
            let answer = self.exchange().await;
            let now = Instant::now();
            if let Ok(head) = answer {
                self.count(head, sent, now);
                last = Some(head);
            } else {
                last = None; // the buffer holds rubbish now
                self.seen.broken += 1;
                if self.seen.broken >= MAX_ERRORS {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                if let Ok(stream) = connect(self.addr).await {
                    self.stream = stream;
                }
            }
            done += 1;
            sent = now;
        }
        if let Some(head) = last.filter(Head::is_success) {
            self.seen
                .last
                .push(self.buffer[head.body_at..head.total()].to_vec());
        }
    }

    fn count(&mut self, head: Head, sent: Instant, now: Instant) {
        if !head.is_success() {
            *self.seen.refused.entry(head.status).or_default() += 1;
        } else if sent < self.start {
            self.seen.warmed += 1;
        } else {
            self.seen.succeeded += 1;
            self.seen.latency.record(now - sent);
        }
    }

    async fn exchange(&mut self) -> Result<Head> {
        let request = self.requests.get(self.next).context("no request")?;
        self.next = (self.next + 1) % self.requests.len();
        self.outgoing.clear();
        self.outgoing.extend_from_slice(request);
        if let Some(at) = memmem::find(&self.outgoing, FRESH) {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            write!(&mut self.outgoing[at..at + FRESH.len()], "{number:016x}")?;
        }
        self.stream.write_all(&self.outgoing).await?;
        let mut filled = 0;
        let mut head: Option<Head> = None;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                bail!("closed early");
            }
            filled += read;
            if head.is_none() {
                head = parse_head(&self.buffer[..filled])?;
            }
            match head {
                Some(head) if filled == head.total() => return Ok(head),
                Some(head) if filled > head.total() => bail!("more bytes than announced"),
                Some(head) if head.total() > self.buffer.len() => {
                    self.buffer.resize(head.total(), 0);
                }
                None if filled == self.buffer.len() => bail!("an endless head"),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// A server that answers each connection `answers` times and then closes it.
    fn serve(answers: usize, status: &'static str) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || answer(stream, answers, status));
            }
        });
        Ok(addr)
    }

    fn answer(mut stream: TcpStream, answers: usize, status: &str) {
        let mut buffer = [0; 1024];
        for _ in 0..answers {
            let Ok(1..) = stream.read(&mut buffer) else {
                return;
            };
            let body = "x".repeat(20_000);
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 20000\r\n\r\n{body}").ok();
        }
    }

    fn load(addr: SocketAddr) -> Load {
        Load {
            addr,
            requests: vec![http::get("/a"), http::get("/b")].into(),
            clients: 3,
            warmup: Duration::ZERO,
            stop: Stop::Count(10, Duration::from_secs(30)),
        }
    }

    #[test]
    fn every_client_sends_its_share() -> Result<()> {
        let outcome = run(&load(serve(usize::MAX, "200 OK")?))?;
        assert_eq!(
            (outcome.succeeded, outcome.errors(), outcome.latency.len()),
            (30, 0, 30)
        );
        assert_eq!(outcome.last.iter().map(Vec::len).collect::<Vec<_>>(), [20_000; 3]);
        Ok(())
    }

    #[test]
    fn refusals_and_closed_connections_are_errors() -> Result<()> {
        let refused = run(&load(serve(usize::MAX, "503 Service Unavailable")?))?;
        assert_eq!((refused.succeeded, refused.refused.get(&503)), (0, Some(&30)));
        let closing = run(&load(serve(1, "200 OK")?))?;
        assert_eq!((closing.succeeded, closing.broken), (15, 15));
        Ok(())
    }
}
