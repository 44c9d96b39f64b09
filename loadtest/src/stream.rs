//! Server-sent events as a client reads them, and what the fake upstream's tokens tell of their way.

use crate::histogram::Histogram;
use crate::http;
use crate::upstream::{Plan, now_us};
use anyhow::{Context, Result, bail};
use memchr::memmem;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One event; comments and `retry` are no events.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its name; `message` when it has none.
    pub name: String,
    /// Its data.
    pub data: String,
}

impl Frame {
    /// The data as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.data).with_context(|| format!("the data of `{}`", self.name))
    }
}

/// Takes a chunked body of events apart, as it comes.
#[derive(Default)]
struct Decoder {
    /// Bytes of the current chunk that are still to come, with the line break behind it.
    left: usize,
    raw: Vec<u8>,
    body: Vec<u8>,
    ended: bool,
}

impl Decoder {
    /// Moves what is complete in `raw` into `body`.
    fn unchunk(&mut self) -> Result<()> {
        let mut at = 0;
        while !self.ended {
            if self.left == 0 {
                let Some(end) = memmem::find(&self.raw[at..], b"\r\n") else {
                    break;
                };
                let digits = std::str::from_utf8(&self.raw[at..at + end])?;
                let size = usize::from_str_radix(digits, 16).context("the size of a chunk")?;
                if size == 0 {
                    if self.raw.len() < at + end + 4 {
                        break;
                    }
                    at += end + 4;
                    self.ended = true;
                    continue;
                }
                at += end + 2;
                self.left = size + 2;
            }
            let taken = self.left.min(self.raw.len() - at);
            if taken == 0 {
                break;
            }
            let text = taken.min(self.left.saturating_sub(2));
            self.body.extend_from_slice(&self.raw[at..at + text]);
            self.left -= taken;
            at += taken;
        }
        self.raw.drain(..at);
        Ok(())
    }

    /// The next event that is complete.
    fn next(&mut self) -> Result<Option<Frame>> {
        while let Some(end) = memmem::find(&self.body, b"\n\n") {
            let frame = parse(std::str::from_utf8(&self.body[..end])?);
            self.body.drain(..end + 2);
            if frame.is_some() {
                return Ok(frame);
            }
        }
        Ok(None)
    }
}

fn parse(text: &str) -> Option<Frame> {
    let (mut name, mut data) = ("message", None);
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("event: ") {
            name = value;
        } else if let Some(value) = line.strip_prefix("data: ") {
            data = Some(value);
        }
    }
    data.map(|data| Frame {
        name: name.to_owned(),
        data: data.to_owned(),
    })
}

/// A connection that asks, and reads streams.
pub struct Line {
    stream: TcpStream,
    decoder: Decoder,
}

impl Line {
    /// Connects.
    pub async fn new(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)
            .await
            .with_context(|| format!("cannot connect to {addr}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            decoder: Decoder::default(),
        })
    }

    /// Asks for something that is answered as a whole, in JSON.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Value> {
        self.stream.write_all(request).await?;
        let raw = &mut self.decoder.raw;
        loop {
            if self.stream.read_buf(raw).await? == 0 {
                bail!("closed instead of an answer");
            }
            if let Some(head) = http::parse_head(raw)?
                && raw.len() >= head.total()
            {
                let body = String::from_utf8_lossy(&raw[head.body_at..head.total()]).into_owned();
                raw.drain(..head.total());
                if !head.is_success() {
                    bail!("status {}: {body}", head.status);
                }
                return Ok(serde_json::from_str(&body)?);
            }
        }
    }

    /// Asks for a stream, and waits for its head.
    pub async fn open(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        self.decoder.ended = false;
        loop {
            let raw = &mut self.decoder.raw;
            if let Some(end) = memmem::find(raw, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&raw[..end]).to_ascii_lowercase();
                if !head.starts_with("http/1.1 200 ") || !head.contains("transfer-encoding: chunked") {
                    bail!("no stream: {}", String::from_utf8_lossy(raw));
                }
                raw.drain(..end + 4);
                return self.decoder.unchunk();
            }
            if self.stream.read_buf(raw).await? == 0 {
                bail!("closed instead of an answer");
            }
        }
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            if self.decoder.ended {
                return Ok(None);
            }
            if self.stream.read_buf(&mut self.decoder.raw).await? == 0 {
                bail!("a stream that was cut off");
            }
            self.decoder.unchunk()?;
        }
    }
}

/// The tokens of one answer, as they arrive.
pub struct Tokens {
    plan: Plan,
    /// What came, put together.
    pub text: String,
    /// How many came.
    pub count: u64,
    /// How late each was.
    pub lag: Histogram,
    first_due: u64,
}

impl Tokens {
    /// Expects the answer to this plan.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            text: String::new(),
            count: 0,
            lag: Histogram::default(),
            first_due: 0,
        }
    }

    /// Takes a piece that has just arrived. Tokens come in whole, each once, in order; anything else is an error.
    pub fn take(&mut self, piece: &str) -> Result<()> {
        let now = now_us();
        for word in piece.split_ascii_whitespace() {
            let due: u64 = word.parse().with_context(|| format!("the token `{word}`"))?;
            if self.count == 0 {
                self.first_due = due;
            }
            let expected = self.first_due + self.count * self.plan.period_us();
            if due != expected {
                bail!("token {} is `{due}` instead of `{expected}`", self.count);
            }
            self.count += 1;
            self.lag.record(Duration::from_micros(now.saturating_sub(due)));
        }
        self.text.push_str(piece);
        Ok(())
    }

    /// Whether all have come.
    pub fn complete(&self) -> Result<()> {
        if self.count != self.plan.tokens {
            bail!("{} tokens of {}", self.count, self.plan.tokens);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_wherever_the_bytes_are_cut() -> Result<()> {
        let mut raw = Vec::new();
        for part in [
            "retry: 2000\n\n",
            "id: 1\n",
            "event: a\ndata: {\"b\":1}\n",
            "\n:\n\n",
            "data: c\n\nd",
            "ata: [e]\n\n",
            "",
        ] {
            raw.extend_from_slice(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes());
        }
        for cut in 1..raw.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for part in raw.chunks(cut) {
                decoder.raw.extend_from_slice(part);
                decoder.unchunk()?;
                while let Some(frame) = decoder.next()? {
                    seen.push((frame.name, frame.data));
                }
            }
            assert!(decoder.ended);
            let expected = [("a", "{\"b\":1}"), ("message", "c"), ("message", "[e]")];
            assert_eq!(
                seen,
                expected.map(|(name, data)| (name.to_owned(), data.to_owned()))
            );
        }
        Ok(())
    }

    #[test]
    fn a_token_that_is_lost_doubled_or_cut_is_an_error() -> Result<()> {
        let plan = Plan {
            rate: 50,
            tokens: 3,
            wait_ms: 0,
        };
        let start = now_us() - 1_000_000;
        let (first, second, third) = (start, start + 20_000, start + 40_000);
        let taken = |pieces: &[String]| -> Result<Tokens> {
            let mut tokens = Tokens::new(plan);
            for piece in pieces {
                tokens.take(piece)?;
            }
            tokens.complete()?;
            Ok(tokens)
        };
        let tokens = taken(&[format!("{first} {second}"), format!(" {third}")])?;
        assert_eq!(tokens.text, format!("{first} {second} {third}"));
        assert!(tokens.lag.max() >= Duration::from_secs(1));
        assert!(tokens.lag.quantile(0.01) >= Duration::from_millis(940));
        assert!(taken(&[format!("{first} {third}")]).is_err());
        assert!(taken(&[format!("{first} {first}")]).is_err());
        assert!(taken(&[format!("{first} {second}")]).is_err());
        assert!(taken(&[first.to_string(), "1".to_owned(), third.to_string()]).is_err());
        Ok(())
    }
}
