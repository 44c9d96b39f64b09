//! The open-loop generator: requests are sent when they are due, however long the answers to others take, and each counts as
//! late from the moment at which it was due. That is what the public does to a server; a closed loop slows down with it.

use crate::histogram::Histogram;
use crate::http::{has_header, parse_head};
use anyhow::{Result, bail};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

/// How often it looks what is due.
const TICK: Duration = Duration::from_millis(1);
/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that are opened at most: fewer than the service takes.
const MOST_CONNECTIONS: usize = 7_000;

/// What happened to the requests that were due in some span of time.
#[derive(Clone, Default)]
pub struct Seen {
    /// How many were due.
    pub offered: u64,
    /// From the moment a request was due to the end of its answer, of those with a status of success.
    pub accepted: Histogram,
    /// Refusals by status.
    pub refused: BTreeMap<u16, u64>,
    /// Refusals that do not say when to come back.
    pub unsaid: u64,
    /// Connections that were closed or refused, answers that did not come.
    pub closed: u64,
    /// Requests that were not sent: each connection that the generator may open waited for an answer.
    pub unsent: u64,
    /// The longest that the generator itself was late.
    pub lag: Duration,
    /// Answers of success.
    pub answers: Vec<Answered>,
}

/// An answer of success.
#[derive(Clone, Copy)]
pub struct Answered {
    pub status: u16,
    /// When it was due, since the beginning.
    pub due: Duration,
    /// From then to its end.
    pub took: Duration,
}

impl Seen {
    /// Refusals of any kind.
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum::<u64>() + self.closed + self.unsent
    }
}

/// A connection that waits for something to send.
type Idle = mpsc::Sender<(usize, Instant)>;

/// Sends requests to one address on as many connections as it takes, which it keeps from one span to the next.
pub struct OpenLoop {
    runtime: tokio::runtime::Runtime,
    tasks: LocalSet,
    shared: Rc<Shared>,
}

struct Shared {
    addr: SocketAddr,
    requests: Vec<Vec<u8>>,
    idle: RefCell<Vec<Idle>>,
    seen: RefCell<Seen>,
    begun: RefCell<Instant>,
    next: RefCell<usize>,
    connections: RefCell<usize>,
    under_way: RefCell<u64>,
}

impl OpenLoop {
    /// A generator of these requests, one after the other and again.
    pub fn new(addr: SocketAddr, requests: Vec<Vec<u8>>) -> Result<Self> {
        if requests.is_empty() {
            bail!("nothing to send");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Shared {
            addr,
            requests,
            idle: RefCell::default(),
            seen: RefCell::default(),
            begun: RefCell::new(Instant::now()),
            next: RefCell::default(),
            connections: RefCell::default(),
            under_way: RefCell::default(),
        };
        Ok(Self {
            runtime,
            tasks: LocalSet::new(),
            shared: Rc::new(shared),
        })
    }

    /// Offers so many requests a second for so long, waits for what is still under way, and says what came of them.
    /// `look` is called from time to time.
    pub fn offer(&self, rate: f64, time: Duration, mut look: impl FnMut()) -> Seen {
        /// Between two looks.
        const LOOKS: Duration = Duration::from_millis(100);
        let shared = &self.shared;
        self.tasks.block_on(&self.runtime, async {
            let begun = Instant::now();
            *shared.begun.borrow_mut() = begun;
            *shared.seen.borrow_mut() = Seen::default();
            let total = (rate * time.as_secs_f64()) as u64;
            let (mut sent, mut looked) = (0, begun);
            while sent < total {
                let now = Instant::now();
                let due = ((now - begun).as_secs_f64() * rate) as u64;
                while sent < due.min(total) {
                    let due_at = begun + Duration::from_secs_f64(sent as f64 / rate);
                    send(shared, due_at, now);
                    sent += 1;
                }
                if looked.elapsed() > LOOKS {
                    looked = now;
                    look();
                }
                sleep(TICK).await;
            }
            while *shared.under_way.borrow() > 0 && begun.elapsed() < time + PATIENCE {
                sleep(TICK).await;
            }
            look();
            shared.seen.take()
        })
    }
}

/// Gives the next request to a connection that has nothing to do, or to a new one.
fn send(shared: &Rc<Shared>, due: Instant, now: Instant) {
    {
        let mut seen = shared.seen.borrow_mut();
        seen.offered += 1;
        seen.lag = seen.lag.max(now.saturating_duration_since(due));
    }
    let mut next = shared.next.borrow_mut();
    let request = *next;
    *next = (request + 1) % shared.requests.len();
    *shared.under_way.borrow_mut() += 1;
    while let Some(idle) = shared.idle.borrow_mut().pop() {
        if idle.try_send((request, due)).is_ok() {
            return;
        }
    }
    if *shared.connections.borrow() >= MOST_CONNECTIONS {
        shared.seen.borrow_mut().unsent += 1;
        *shared.under_way.borrow_mut() -= 1;
        return;
    }
    *shared.connections.borrow_mut() += 1;
    let (idle, work) = mpsc::channel(1);
    // Its first request is there before it is.
    let _ = idle.try_send((request, due));
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(async move {
        serve(&shared, idle, work).await;
        *shared.connections.borrow_mut() -= 1;
    });
}

/// One connection, for as long as it lasts.
async fn serve(shared: &Rc<Shared>, idle: Idle, mut work: mpsc::Receiver<(usize, Instant)>) {
    let mut stream = None;
    let mut buffer = vec![0; 4 * 1024];
    while let Some((request, due)) = work.recv().await {
        let answer = timeout(PATIENCE, exchange(shared, &mut stream, request, &mut buffer)).await;
        *shared.under_way.borrow_mut() -= 1;
        let mut seen = shared.seen.borrow_mut();
        match answer {
            Ok(Ok((status, _))) if (200..300).contains(&status) => {
                seen.accepted.record(due.elapsed());
                let begun = *shared.begun.borrow();
                seen.answers.push(Answered {
                    status,
                    due: due.saturating_duration_since(begun),
                    took: due.elapsed(),
                });
            }
            Ok(Ok((status, says_when))) => {
                *seen.refused.entry(status).or_default() += 1;
                seen.unsaid += u64::from(!says_when);
            }
            Ok(Err(_)) | Err(_) => {
                seen.closed += 1;
                return;
            }
        }
        shared.idle.borrow_mut().push(idle.clone());
    }
}

/// Sends a request; its status, and whether it says when to come back.
async fn exchange(
    shared: &Shared,
    stream: &mut Option<TcpStream>,
    request: usize,
    buffer: &mut Vec<u8>,
) -> Result<(u16, bool)> {
    let stream = match stream {
        Some(stream) => stream,
        none => {
            let connected = TcpStream::connect(shared.addr).await?;
            connected.set_nodelay(true)?;
            none.insert(connected)
        }
    };
    stream
        .write_all(shared.requests.get(request).map_or(&[], Vec::as_slice))
        .await?;
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            buffer.resize(2 * filled, 0);
        }
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            bail!("closed");
        }
        filled += read;
        if let Some(head) = parse_head(&buffer[..filled])?
            && filled >= head.total()
        {
            let says_when = has_header(&buffer[..head.body_at], b"retry-after");
            return Ok((head.status, says_when));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A server that takes so long for each answer, and gives this one.
    fn serve(pause: Duration, answer: &'static str) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    while matches!(stream.read(&mut [0; 1024]), Ok(length) if length > 0) {
                        std::thread::sleep(pause);
                        stream.write_all(answer.as_bytes()).ok();
                    }
                });
            }
        });
        Ok(addr)
    }

    #[test]
    fn a_slow_answer_holds_no_other_request_up() -> Result<()> {
        let addr = serve(Duration::from_millis(300), "HTTP/1.1 204 No Content\r\n\r\n")?;
        let generator = OpenLoop::new(addr, vec![http::get("/")])?;
        let seen = generator.offer(50.0, Duration::from_secs(1), || {});
        assert_eq!((seen.offered, seen.accepted.len(), seen.refusals()), (50, 50, 0));
        assert!(seen.accepted.max() >= Duration::from_millis(300));
        // One after the other, they would take 15 s; the last of them, at least 14.
        let (median, max) = (seen.accepted.median(), seen.accepted.max());
        assert!(median < Duration::from_secs(5), "{median:?}, {max:?}");
        Ok(())
    }

    #[test]
    fn refusals_are_counted_and_those_that_do_not_say_when() -> Result<()> {
        let refusal = "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
        let generator = OpenLoop::new(serve(Duration::ZERO, refusal)?, vec![http::get("/")])?;
        let seen = generator.offer(100.0, Duration::from_millis(200), || {});
        assert_eq!((seen.refused.get(&503), seen.unsaid), (Some(&20), 0));
        let silent = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
        let generator = OpenLoop::new(serve(Duration::ZERO, silent)?, vec![http::get("/")])?;
        let seen = generator.offer(100.0, Duration::from_millis(200), || {});
        assert_eq!(seen.unsaid, 20);
        Ok(())
    }
}
