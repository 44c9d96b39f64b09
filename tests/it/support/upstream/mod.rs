//! A provider of language models that does what it is told, over real TCP.
//!
//! It speaks Chat Completions (`/v1/chat/completions`), Responses (`/v1/responses`) and Messages (`/v1/messages`), whole or
//! streamed, as the request asks. The last user message says what happens:
//!
//! | Message | Answer |
//! |---|---|
//! | `stream:COUNT@RATE …` | COUNT tokens (`t0 t1 t2 …`), RATE of them in a second; without `@RATE`, all at once |
//! | `fault:NAME …` | one of [`FAULTS`], in either manner |
//! | `fault:NAME:TIMES …` | the same for so many calls with this message; then an echo |
//! | `repeats:STATUS …` | this status, and a body and a header that repeat the caller's key and all that it said |
//! | `repeats:key …` | an answer that is the header with the caller's key |
//! | anything else | an echo of the message, word by word |
//!
//! It uses nothing of this crate, so that the load generator can include it by its path.

mod dialect;
mod faults;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::io::Result;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

pub(crate) use faults::FAULTS;

use dialect::{Dialect, Finish};
use wire::Out;

/// How many calls are remembered in full.
const REMEMBERED: usize = 1_000;

/// A running provider. Dropping it closes the port; calls under way end with their connections.
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Arc<Seen>,
    listener: JoinHandle<()>,
}

/// One call, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The path that was asked for.
    pub(crate) path: String,
    /// Head of the request, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The request.
    pub(crate) body: Value,
}

/// What is counted over all calls.
#[derive(Debug, Default)]
struct Seen {
    calls: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    dropped: AtomicUsize,
    connections: AtomicUsize,
    sent: AtomicU64,
    remembered: Mutex<VecDeque<Call>>,
    /// How often each message asked for a fault.
    faulted: Mutex<HashMap<String, usize>>,
}

impl Upstream {
    /// A provider on a free port of loopback.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let for_calls = Arc::clone(&seen);
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, Arc::clone(&for_calls)));
            }
        });
        Self {
            address,
            seen,
            listener,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of both OpenAI dialects.
    pub(crate) fn openai_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The base URL of the Anthropic dialect.
    pub(crate) fn anthropic_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many calls have come, those under way included.
    pub(crate) fn calls(&self) -> usize {
        self.seen.calls.load(SeqCst)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    /// How many calls are under way.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(SeqCst)
    }

    /// How many calls were under way at the busiest moment.
    pub(crate) fn most_open(&self) -> usize {
        self.seen.most_open.load(SeqCst)
    }

    /// How many callers left before their answer's end.
    pub(crate) fn dropped(&self) -> usize {
        self.seen.dropped.load(SeqCst)
    }

    /// How many bytes of answers the callers' kernels have taken.
    pub(crate) fn sent(&self) -> u64 {
        self.seen.sent.load(SeqCst)
    }

    /// The latest calls, oldest first.
    pub(crate) fn remembered(&self) -> Vec<Call> {
        let remembered = self.seen.remembered.lock();
        remembered
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// The latest call.
    pub(crate) fn last(&self) -> Call {
        self.remembered().pop().expect("a call")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Call {
    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The last message of the user.
    pub(crate) fn text(&self) -> &str {
        let lines = self.body.get("messages").or_else(|| self.body.get("input"));
        let last = lines.and_then(Value::as_array).and_then(|lines| lines.last());
        let content = last.and_then(|line| line.get("content")).and_then(Value::as_str);
        content.unwrap_or_default()
    }

    fn streams(&self) -> bool {
        self.body
            .get("stream")
            .and_then(Value::as_bool)
            .unwrap_or_default()
    }

    fn wants_usage(&self) -> bool {
        self.body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true))
    }
}

impl Seen {
    fn enter(&self, call: &Call) {
        self.calls.fetch_add(1, SeqCst);
        let open = self.open.fetch_add(1, SeqCst) + 1;
        self.most_open.fetch_max(open, SeqCst);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() == REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(call.clone());
    }

    /// Counts one more fault for this message, and gives how many it had before.
    fn fault(&self, text: &str) -> usize {
        let mut faulted = self.faulted.lock().unwrap_or_else(PoisonError::into_inner);
        let times = faulted.entry(text.to_owned()).or_default();
        *times += 1;
        *times - 1
    }
}

/// Answers the calls of one connection, one after the other.
async fn connection(stream: TcpStream, seen: Arc<Seen>) {
    let _ = stream.set_nodelay(true);
    seen.connections.fetch_add(1, SeqCst);
    let (mut reader, writer) = stream.into_split();
    let mut unread = Vec::new();
    let mut out = Out::new(writer, Arc::clone(&seen));
    while let Ok(Some(call)) = read_call(&mut reader, &mut unread).await {
        seen.enter(&call);
        let mut early = [0];
        // Callers do not send a second request before they have their answer, so what can be read is the end.
        let answered = tokio::select! {
            answered = answer(&call, &seen, &mut out) => answered.is_ok(),
            _ = reader.read(&mut early) => false,
        };
        seen.open.fetch_sub(1, SeqCst);
        if !answered {
            if !out.broke_off() {
                seen.dropped.fetch_add(1, SeqCst);
            }
            return;
        }
    }
}

async fn read_call(reader: &mut OwnedReadHalf, unread: &mut Vec<u8>) -> Result<Option<Call>> {
    let head_end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if reader.read_buf(unread).await? == 0 {
            return Ok(None);
        }
        // Whoever greets in TLS is not answered in anything else.
        if !unread.first().is_some_and(u8::is_ascii_uppercase) {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&unread[..head_end]).into_owned();
    let headers: Vec<_> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
    while unread.len() < head_end + length {
        if reader.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
    let request: Vec<u8> = unread.drain(..head_end + length).collect();
    Ok(Some(Call {
        path: head.split(' ').nth(1).unwrap_or_default().to_owned(),
        headers,
        body: serde_json::from_slice(&request[head_end..]).unwrap_or_default(),
    }))
}

async fn answer(call: &Call, seen: &Seen, out: &mut Out) -> Result<()> {
    let Some(dialect) = Dialect::of(call) else {
        return out
            .whole(
                404,
                "application/json",
                "",
                br#"{"error":{"message":"no such route"}}"#,
            )
            .await;
    };
    let text = call.text();
    let word = text.split_whitespace().next().unwrap_or_default();
    if let Some(script) = word.strip_prefix("fault:") {
        let (name, times) = script.split_once(':').unwrap_or((script, ""));
        if seen.fault(text) < times.parse().unwrap_or(usize::MAX) {
            return faults::answer(name, &dialect, call.streams(), out).await;
        }
    }
    if let Some((count, rate)) = word.strip_prefix("stream:").and_then(count_and_rate) {
        return tokens(&dialect, call.streams(), count, rate, out).await;
    }
    if let Some(script) = word.strip_prefix("repeats:") {
        return repeat(call, script, &dialect, out).await;
    }
    let words: Vec<_> = text.split_inclusive(' ').map(str::to_owned).collect();
    plain(&dialect, call.streams(), &words, out).await
}

/// Says what nobody should: the caller's own key, and what it asked.
async fn repeat(call: &Call, script: &str, dialect: &Dialect, out: &mut Out) -> Result<()> {
    let key = call.header("authorization").or_else(|| call.header("x-api-key"));
    let key = key.unwrap_or_default();
    let Ok(status) = script.parse() else {
        return plain(dialect, call.streams(), &[key.to_owned()], out).await;
    };
    let said = literal(&format!("{key} said {}", call.body));
    let body = format!(r#"{{"error":{{"message":{said},"type":{said},"code":{said},"param":{said}}}}}"#);
    let header = format!("x-request-id: {key}\r\n");
    out.whole(status, "application/json", &header, body.as_bytes())
        .await
}

/// `500@50`, or `500`.
fn count_and_rate(script: &str) -> Option<(usize, Option<f64>)> {
    match script.split_once('@') {
        Some((count, rate)) => Some((
            count.parse().ok()?,
            Some(rate.parse().ok().filter(|rate| *rate > 0.0)?),
        )),
        None => Some((script.parse().ok()?, None)),
    }
}

/// An answer that is as it should be, at once.
async fn plain(dialect: &Dialect, streams: bool, pieces: &[String], out: &mut Out) -> Result<()> {
    if !streams {
        let body = dialect.whole(&literal(&pieces.concat()), Finish::Stop, pieces.len());
        return out.whole(200, "application/json", "", body.as_bytes()).await;
    }
    let mut events = dialect.opening();
    for piece in pieces {
        events += &dialect.delta(&literal(piece));
    }
    events += &dialect.closing(Finish::Stop, pieces.len());
    out.begin_stream().await?;
    out.chunk(events.as_bytes()).await?;
    out.end().await
}

async fn tokens(
    dialect: &Dialect,
    streams: bool,
    count: usize,
    rate: Option<f64>,
    out: &mut Out,
) -> Result<()> {
    let token = |number| format!("t{number} ");
    let Some(rate) = rate else {
        return plain(dialect, streams, &(0..count).map(token).collect::<Vec<_>>(), out).await;
    };
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    if streams {
        out.begin_stream().await?;
        out.chunk(dialect.opening().as_bytes()).await?;
    }
    let mut all = String::new();
    for number in 0..count {
        ticks.tick().await;
        if streams {
            out.chunk(dialect.delta(&literal(&token(number))).as_bytes())
                .await?;
        } else {
            all += &token(number);
        }
    }
    if streams {
        out.chunk(dialect.closing(Finish::Stop, count).as_bytes()).await?;
        return out.end().await;
    }
    let body = dialect.whole(&literal(&all), Finish::Stop, count);
    out.whole(200, "application/json", "", body.as_bytes()).await
}

/// A text as JSON writes it, quotes included.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}
