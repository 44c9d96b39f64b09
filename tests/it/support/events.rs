//! Server-sent events, read strictly: every frame is to look as the contract says, and to come in one piece.

use std::net::SocketAddr;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{Document, Raw, raw::headers_of};

/// What somebody sees who watches.
pub(crate) struct EventStream {
    raw: Raw,
    /// How many events are still to be judged by the document: one after the other, it takes longer than reading them.
    unjudged: usize,
    pub(crate) headers: HeaderMap,
}

/// One event, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) bytes: String,
    /// Its number, if it has one.
    pub(crate) id: Option<u64>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// What can come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    Event(Frame),
    /// A comment, which means nothing but that somebody is there.
    Heartbeat,
    /// The end.
    End,
}

impl EventStream {
    /// Opens a stream with these header lines besides `Host`, and reads what comes before its events.
    pub(crate) async fn open(address: SocketAddr, path: &str, lines: &[&str]) -> Self {
        let mut raw = Raw::connect(address).await;
        let request = format!("GET {path} HTTP/1.1");
        let head = [&[request.as_str(), "Host: localhost"], lines].concat();
        raw.send(head.join("\r\n") + "\r\n\r\n")
            .await
            .expect("a head to send");
        let (status, head) = raw.head().await.expect("a head");
        assert_eq!(status, 200, "{head}");
        let mut stream = Self {
            raw,
            unjudged: 100,
            headers: headers_of(&head).expect("headers"),
        };
        assert_eq!(stream.chunk().await.as_deref(), Some("retry: 2000\n\n"));
        stream
    }

    async fn chunk(&mut self) -> Option<String> {
        let chunk = self.raw.chunk().await.expect("a chunk, or the end");
        (!chunk.is_empty()).then(|| String::from_utf8(chunk).expect("UTF-8"))
    }

    /// What comes next.
    pub(crate) async fn came(&mut self) -> Came {
        match self.chunk().await {
            None => Came::End,
            Some(comment) if comment == ":\n\n" => Came::Heartbeat,
            Some(bytes) => match Frame::read(&bytes) {
                Some(frame) => {
                    if self.unjudged > 0 {
                        self.unjudged -= 1;
                        frame.judge();
                    }
                    Came::Event(frame)
                }
                None => panic!("no frame: {bytes:?}"),
            },
        }
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.came().await {
                Came::Event(frame) => return Some(frame),
                Came::Heartbeat => {}
                Came::End => return None,
            }
        }
    }

    /// So many events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(count);
        while frames.len() < count {
            frames.push(self.next().await.expect("another event"));
            // Others who read beside this one are closed if they do not get to it.
            tokio::task::yield_now().await;
        }
        frames
    }

    /// All events up to the first with this name.
    pub(crate) async fn until(&mut self, name: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the end came before {name}: {frames:#?}"));
            frames.push(frame);
            if frames.last().is_some_and(|frame| frame.name == name) {
                return frames;
            }
        }
    }

    /// All events up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// The connection itself.
    pub(crate) fn raw(&mut self) -> &mut Raw {
        &mut self.raw
    }
}

impl Frame {
    /// Reads a frame that is one event and nothing more.
    fn read(bytes: &str) -> Option<Self> {
        let (id, rest) = match bytes.strip_prefix("id: ") {
            Some(rest) => {
                let (id, rest) = rest.split_once('\n')?;
                (Some(id.parse().ok()?), rest)
            }
            None => (None, bytes),
        };
        let (name, rest) = rest.strip_prefix("event: ")?.split_once('\n')?;
        let data = rest.strip_prefix("data: ")?.strip_suffix("\n\n")?;
        if name.contains('\r') || data.contains(['\n', '\r']) {
            return None;
        }
        Some(Self {
            id,
            name: name.to_owned(),
            data: serde_json::from_str(data).ok()?,
            bytes: bytes.to_owned(),
        })
    }

    /// Fails unless it is as `openapi.json` describes it.
    fn judge(&self) {
        if let Some(complaint) = Document::committed().complaint_of_event(&self.name, &self.data) {
            panic!("{complaint}: {}", self.bytes);
        }
    }
}

#[test]
fn control_what_is_not_one_whole_frame_is_none() {
    let good = "id: 1\nevent: x\ndata: {}\n\n";
    assert!(Frame::read(good).is_some());
    for wrong in [
        "id: 1\nevent: x\ndata: {}\n",
        "id: 1\r\nevent: x\r\ndata: {}\r\n\r\n",
        "id: 1\nevent: x\ndata: {}\n\nid: 2\nevent: x\ndata: {}\n\n",
        "id: x\nevent: x\ndata: {}\n\n",
        "event: x\nid: 1\ndata: {}\n\n",
        "id: 1\nevent: x\ndata: {\n\n",
        "data: {}\n\n",
        "",
    ] {
        assert!(Frame::read(wrong).is_none(), "{wrong:?}");
    }
}

/// The names of events.
pub(crate) fn names(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.name.as_str()).collect()
}

/// The text that was written of the last reply among these events: its pieces since it last began.
pub(crate) fn written(frames: &[Frame]) -> String {
    let begun = frames
        .iter()
        .rposition(|frame| frame.name == "reply.started")
        .unwrap_or(0);
    frames[begun..]
        .iter()
        .filter(|frame| frame.name == "reply.delta")
        .map(|frame| frame.data["text"].as_str().expect("a text"))
        .collect()
}
