//! A receiver of traces: OTLP over HTTP, as a real one speaks it, that keeps what it gets, or fails as it is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{self, span::SpanKind, status::StatusCode},
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{SOON, eventually};

/// What it does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It takes it.
    Takes,
    /// It answers with this status.
    Refuses(u16),
    /// It takes connections and never answers.
    Hangs,
}

/// A running receiver. Dropping it closes the port.
pub(crate) struct Collector {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    listener: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    spans: Vec<Span>,
    bytes: Vec<u8>,
    heads: Vec<String>,
}

/// A span, as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for the first of a trace.
    pub(crate) parent: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) failed: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) events: Vec<String>,
    /// Of the process that it comes from.
    pub(crate) resource: BTreeMap<String, String>,
}

impl Span {
    /// What is said of it under this name; empty when nothing is.
    pub(crate) fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    /// One that takes everything, on a free port of loopback.
    pub(crate) async fn start() -> Self {
        Self::that(Manner::Takes).await
    }

    pub(crate) async fn that(manner: Manner) -> Self {
        Self::bound("127.0.0.1:0", manner).await
    }

    /// One that takes everything, at this address.
    pub(crate) async fn at(address: &str) -> Self {
        Self::bound(address, Manner::Takes).await
    }

    async fn bound(address: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::default());
        let for_calls = Arc::clone(&seen);
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, manner, Arc::clone(&for_calls)));
            }
        });
        Self {
            address,
            seen,
            listener,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that came so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.seen().spans.clone()
    }

    /// The heads of the requests that came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen().heads.clone()
    }

    /// The bytes of their bodies, one after the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen().bytes.clone()
    }

    /// Waits for a span, and gives it.
    pub(crate) async fn span(&self, what: &str, which: impl Fn(&Span) -> bool) -> Span {
        eventually(&format!("a span comes: {what}"), 3 * SOON, async || {
            self.seen().spans.iter().find(|span| which(span)).cloned()
        })
        .await
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn connection(mut stream: TcpStream, manner: Manner, seen: Arc<Mutex<Seen>>) {
    let mut unread = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut unread).await {
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.heads.push(head);
        }
        let (status, answer) = match manner {
            Manner::Hangs => std::future::pending().await,
            Manner::Refuses(status) => (status, Vec::new()),
            Manner::Takes => {
                let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("OTLP");
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.bytes.extend(body);
                seen.spans.extend(spans(request));
                (200, ExportTraceServiceResponse::default().encode_to_vec())
            }
        };
        let head = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        let sent = stream.write_all(&[head.as_bytes(), &answer].concat()).await;
        if sent.is_err() {
            return;
        }
    }
}

/// The next request's head and body; `None` at the end.
async fn request(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let head_end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&unread[..head_end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let length: usize = length.expect("a length");
    while unread.len() < head_end + length {
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
    let body = unread[head_end..head_end + length].to_vec();
    unread.drain(..head_end + length);
    Some((head, body))
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut found = Vec::new();
    for of_process in request.resource_spans {
        let resource = said(of_process.resource.expect("a resource").attributes);
        for scope in of_process.scope_spans {
            let spans = scope.spans.into_iter();
            found.extend(spans.map(|span| read(span, &resource)));
        }
    }
    found
}

fn read(span: v1::Span, resource: &BTreeMap<String, String>) -> Span {
    assert!(span.links.is_empty(), "links are not used");
    Span {
        kind: span.kind(),
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        failed: span
            .status
            .is_some_and(|status| status.code() == StatusCode::Error),
        attributes: said(span.attributes),
        events: span.events.into_iter().map(|event| event.name).collect(),
        resource: resource.clone(),
    }
}

fn said(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| (attribute.key, text(attribute.value.unwrap_or_default()));
    attributes.into_iter().map(text).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::ArrayValue(array)) => array.values.into_iter().map(text).collect::<Vec<_>>().join(","),
        other => panic!("a kind of value that is not used: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
