//! As much of the service as a chat sees, and no more than it is told: what streams bring, and where they break.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{SOON, eventually};

pub(super) const CONVERSATION: &str = "550e8400-e29b-41d4-a716-446655440000";
pub(super) const MESSAGE: &str = "0199c0de-0000-7000-8000-000000000001";

/// What a stream does next. After the last step the connection closes.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// An answer that is no stream.
    Answer(u16, String),
    /// An event: its number, its name, its payload.
    Event(u64, &'static str, Value),
    Bytes(String),
    /// Nothing, until the reply is cancelled.
    UntilCancelled,
    /// Nothing, for as long as somebody listens.
    Silence,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) line: String,
    head: String,
    pub(super) body: String,
}

impl Asked {
    /// A header's value, or "" when there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        let named = |line: &'_ str| {
            line.split_once(':')
                .is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        let line = self.head.lines().find(|line| named(line)).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value.trim())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a body of JSON")
    }
}

/// The running fake; it ends when dropped.
pub(super) struct Fake {
    pub(super) url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    asked: Mutex<Vec<Asked>>,
    streams: Mutex<VecDeque<Vec<Step>>>,
    answers: Vec<(&'static str, u16, Value)>,
    cancelled: watch::Sender<bool>,
    left: watch::Sender<bool>,
}

impl Fake {
    /// One that answers each stream that is asked for with the next of these.
    pub(super) async fn start(streams: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self::that_answers([], streams).await
    }

    /// ... and requests that contain something with an answer of the test's.
    pub(super) async fn that_answers(
        answers: impl IntoIterator<Item = (&'static str, u16, Value)>,
        streams: impl IntoIterator<Item = Vec<Step>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State {
            asked: Mutex::default(),
            streams: Mutex::new(streams.into_iter().collect()),
            answers: answers.into_iter().collect(),
            cancelled: watch::Sender::new(false),
            left: watch::Sender::new(false),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { url, state, task }
    }

    /// Ends with all of its connections, as a process that is killed.
    pub(super) async fn die(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Starts again where it was.
    pub(super) async fn come_back(&mut self) {
        let address = self.url.trim_start_matches("http://");
        let listener = TcpListener::bind(address).await.expect("the same address");
        self.task = tokio::spawn(serve(listener, Arc::clone(&self.state)));
    }

    /// The requests so far that contain this in their first line.
    pub(super) fn asked(&self, what: &str) -> Vec<Asked> {
        let asked = self.state.asked.lock().expect("the requests");
        asked
            .iter()
            .filter(|asked| asked.line.contains(what))
            .cloned()
            .collect()
    }

    /// Waits until so many requests contained this.
    pub(super) async fn was_asked(&self, what: &str, times: usize) {
        eventually(what, SOON, async || {
            (self.asked(what).len() >= times).then_some(())
        })
        .await;
    }

    /// Waits until somebody has hung up on a stream that was silent.
    pub(super) async fn was_left(&self) {
        let mut left = self.state.left.subscribe();
        let left = left.wait_for(|is_left| *is_left);
        tokio::time::timeout(SOON, left)
            .await
            .expect("a client that hangs up")
            .expect("a fake");
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A client may leave at any time.
            let _ = state.answer(connection).await;
        });
    }
}

impl State {
    async fn answer(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let asked = request(&mut connection).await?;
        let line = asked.line.clone();
        self.asked.lock().expect("the requests").push(asked);
        let told = self.answers.iter().find(|(what, ..)| line.contains(what));
        if let Some((_, status, body)) = told {
            return send(&mut connection, *status, &body.to_string()).await;
        }
        if line.contains("stream=true") {
            let steps = self.streams.lock().expect("the streams").pop_front();
            return self.stream(&mut connection, steps.unwrap_or_default()).await;
        }
        let (status, body) = if line.starts_with("POST /conversations/ ") {
            (201, json!({ "conversation_id": CONVERSATION }))
        } else if line.contains("/messages/create ") {
            (201, json!({ "message_id": MESSAGE }))
        } else if line.contains("/messages?") {
            (200, json!({ "count": 0, "results": [] }))
        } else if line.contains("/reply/cancel ") {
            self.cancelled.send_replace(true);
            (200, json!({ "status": "cancelled" }))
        } else if line.contains("/reply/retry ") {
            (202, json!({ "status": "queued" }))
        } else {
            (404, error(404, &json!({ "detail": ["Not found."] })))
        };
        send(&mut connection, status, &body.to_string()).await
    }

    async fn stream(&self, connection: &mut TcpStream, steps: Vec<Step>) -> std::io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let mut head = Some(head);
        for step in steps {
            if let Step::Answer(status, body) = &step {
                return send(connection, *status, body).await;
            }
            if let Some(head) = head.take() {
                connection.write_all(head.as_bytes()).await?;
            }
            match step {
                Step::Event(id, name, data) => {
                    let event = format!("id: {id}\nevent: {name}\ndata: {data}\n\n");
                    connection.write_all(event.as_bytes()).await?;
                }
                Step::Bytes(bytes) => connection.write_all(bytes.as_bytes()).await?,
                Step::UntilCancelled => {
                    let mut cancelled = self.cancelled.subscribe();
                    let _ = cancelled.wait_for(|is_cancelled| *is_cancelled).await;
                }
                Step::Silence | Step::Answer(..) => {
                    let _ = connection.read(&mut [0]).await;
                    self.left.send_replace(true);
                }
            }
        }
        connection.shutdown().await
    }
}

async fn request(connection: &mut TcpStream) -> std::io::Result<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (line, head) = head.split_once("\r\n").unwrap_or((head, ""));
            let asked = Asked {
                line: line.to_owned(),
                head: head.to_owned(),
                body: body.to_owned(),
            };
            let length = asked.header("content-length").parse().unwrap_or(0);
            if body.len() >= length {
                return Ok(asked);
            }
        }
        if connection.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn send(connection: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let answer = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(answer.as_bytes()).await?;
    connection.shutdown().await
}

/// The envelope of an error.
pub(super) fn error(code: u16, details: &Value) -> Value {
    json!({ "status": "error", "code": code, "message": "An error", "details": details })
}

pub(super) fn started(id: u64, attempt: u32) -> Step {
    Step::Event(
        id,
        "reply.started",
        json!({ "message_id": MESSAGE, "attempt": attempt }),
    )
}

pub(super) fn delta(id: u64, text: &str) -> Step {
    Step::Event(id, "reply.delta", json!({ "message_id": MESSAGE, "text": text }))
}

pub(super) fn succeeded(id: u64) -> Step {
    let payload = json!({ "message_id": MESSAGE, "finish_reason": "stop", "truncated": false });
    Step::Event(id, "reply.succeeded", payload)
}

pub(super) fn failed(id: u64) -> Step {
    let error = json!({ "code": "provider_error", "message": "the model is away" });
    Step::Event(
        id,
        "reply.failed",
        json!({ "message_id": MESSAGE, "error": error }),
    )
}

pub(super) fn cancelled(id: u64) -> Step {
    Step::Event(id, "reply.cancelled", json!({ "message_id": MESSAGE }))
}

/// A whole reply.
pub(super) fn reply(text: &str) -> Vec<Step> {
    vec![started(3, 1), delta(4, text), succeeded(5)]
}
