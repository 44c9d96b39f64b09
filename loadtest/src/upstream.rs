//! A fake language model: Chat Completions, streamed on an exact schedule by one thread.
//!
//! The message itself says what is wanted: `rate=50 tokens=1000 wait_ms=20`. Each token is the moment at which it was due, in
//! microseconds of the machine's monotonic clock, so whoever receives it, however far down the line, knows how late it is.
//! It counts from the moment it was due, not sent, so a reader that stalls the upstream cannot hide the tokens that it held up.

use crate::{http, process};
use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The model's name.
pub const MODEL: &str = "fake";

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
const LONGEST_REQUEST: usize = 1 << 20;
const ID: &str = "chatcmpl-1";

/// Microseconds of a clock that all processes on this machine share.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Tokens a second.
    pub rate: u64,
    /// How many.
    pub tokens: u64,
    /// Milliseconds before the first one.
    pub wait_ms: u64,
}

impl Plan {
    /// As a message's text.
    pub fn text(&self) -> String {
        format!(
            "rate={} tokens={} wait_ms={}",
            self.rate, self.tokens, self.wait_ms
        )
    }

    /// Reads a message's text; what it does not say has a default.
    fn parse(text: &str) -> Result<Self> {
        let mut plan = Self {
            rate: 50,
            tokens: 50,
            wait_ms: 0,
        };
        for (name, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
            let value = value.parse().with_context(|| format!("`{name}` in `{text}`"))?;
            match name {
                "rate" => plan.rate = value,
                "tokens" => plan.tokens = value,
                "wait_ms" => plan.wait_ms = value,
                _ => {}
            }
        }
        if !(1..=1_000_000).contains(&plan.rate) || plan.tokens > 1_000_000 {
            bail!("too much is asked for: {text}");
        }
        Ok(plan)
    }

    /// Microseconds from one token to the next.
    pub fn period_us(&self) -> u64 {
        1_000_000 / self.rate
    }

    /// From the request to the last token.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.wait_ms) + Duration::from_micros(self.period_us() * self.tokens)
    }
}

/// A request for an answer to a plan, as the service would send it, in bytes.
pub fn request(plan: &Plan) -> Vec<u8> {
    let body = json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": plan.text() }],
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    http::post("/v1/chat/completions", &body.to_string())
}

/// Serves until it is killed, or the program that started it has ended.
pub fn serve() -> Result<()> {
    process::end_with_parent()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        accept(&listener).await
    })
}

async fn accept(listener: &TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // Whoever leaves in the middle wants no more of it.
            if let Err(error) = converse(stream).await
                && error.downcast_ref::<std::io::Error>().is_none()
            {
                eprintln!("     upstream: {error:#}");
            }
        });
    }
}

/// Answers one request after the other on a connection.
async fn converse(mut stream: TcpStream) -> Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    while let Some(body_at) = read_request(&mut stream, &mut buffer).await? {
        let arrived = Instant::now();
        let asked: Asked = Asked::parse(&buffer[body_at..])?;
        buffer.clear();
        answer(&mut stream, &asked, arrived).await?;
    }
    Ok(())
}

/// Reads a request with a declared length; where its body begins, or `None` when there is no other one.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<usize>> {
    loop {
        if let Some((body_at, length)) = http::parse_request_head(buffer)?
            && buffer.len() >= body_at + length
        {
            return Ok(Some(body_at));
        }
        if buffer.len() > LONGEST_REQUEST {
            bail!("an endless request");
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

struct Asked {
    plan: Plan,
    usage: bool,
}

impl Asked {
    fn parse(body: &[u8]) -> Result<Self> {
        let body: Value = serde_json::from_slice(body).context("a request that is no JSON")?;
        let last = body["messages"].as_array().and_then(|lines| lines.last());
        let text = last
            .and_then(|line| line["content"].as_str())
            .context("a request without a message")?;
        if body["stream"] != true {
            bail!("a request that wants no stream");
        }
        Ok(Self {
            plan: Plan::parse(text)?,
            usage: body["stream_options"]["include_usage"] == true,
        })
    }
}

async fn answer(stream: &mut TcpStream, asked: &Asked, arrived: Instant) -> Result<()> {
    let plan = asked.plan;
    let period = Duration::from_micros(plan.period_us());
    let mut due = arrived + Duration::from_millis(plan.wait_ms);
    let mut due_us = now_us() - arrived.elapsed().as_micros() as u64 + plan.wait_ms * 1000;
    // Head and first token in one write, as a server that has waited for its model does it.
    let mut out = HEAD.to_owned();
    for index in 0..plan.tokens {
        // The timer's resolution is a millisecond; a token that is due is not made to wait for its next tick.
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let space = if index == 0 { "" } else { " " };
        chunk(&mut out, &piece(&format!("{space}{due_us}")));
        stream.write_all(out.as_bytes()).await?;
        out.clear();
        due += period;
        due_us += plan.period_us();
    }
    let stop = json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]);
    chunk(&mut out, &event(&stop, None));
    if asked.usage {
        let usage = json!({
            "prompt_tokens": 10, "completion_tokens": plan.tokens, "total_tokens": plan.tokens + 10,
        });
        chunk(&mut out, &event(&json!([]), Some(&usage)));
    }
    chunk(&mut out, "data: [DONE]\n\n");
    out.push_str("0\r\n\r\n");
    Ok(stream.write_all(out.as_bytes()).await?)
}

/// The event of a token, written by hand: this happens ten thousand times a second.
fn piece(token: &str) -> String {
    format!(
        "data: {{\"id\":\"{ID}\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"{MODEL}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{token}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

fn event(choices: &Value, usage: Option<&Value>) -> String {
    let mut event = json!({
        "id": ID, "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices,
    });
    if let (Some(usage), Some(event)) = (usage, event.as_object_mut()) {
        event.insert("usage".to_owned(), usage.clone());
    }
    format!("data: {event}\n\n")
}

fn chunk(out: &mut String, data: &str) {
    use std::fmt::Write as _;
    write!(out, "{:x}\r\n{data}\r\n", data.len()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Line, Tokens};

    #[test]
    fn a_plan_comes_back_from_its_text() -> Result<()> {
        let plan = Plan {
            rate: 7,
            tokens: 9,
            wait_ms: 11,
        };
        assert_eq!(Plan::parse(&plan.text())?, plan);
        assert_eq!(Plan::parse("Say 3 words")?.rate, 50);
        assert!(Plan::parse("rate=0").is_err());
        assert!(Plan::parse("rate=much").is_err());
        Ok(())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_answer_keeps_its_pace_and_the_connection() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        tokio::spawn(async move { accept(&listener).await });
        let plan = Plan {
            rate: 100,
            tokens: 20,
            wait_ms: 5,
        };
        let mut line = Line::new(addr).await?;
        for _ in 0..2 {
            let asked = now_us();
            let mut tokens = Tokens::new(plan);
            let mut last = String::new();
            line.open(&request(&plan)).await?;
            while let Some(frame) = line.next().await? {
                last.clone_from(&frame.data);
                if frame.data != "[DONE]"
                    && let Some(token) = frame.json()?["choices"][0]["delta"]["content"].as_str()
                {
                    tokens.take(token)?;
                }
            }
            tokens.complete()?;
            assert_eq!(last, "[DONE]");
            let first: u64 = tokens.text.split(' ').next().context("a token")?.parse()?;
            assert!(
                (5_000..10_000_000).contains(&(first - asked)),
                "{}",
                first - asked
            );
        }
        Ok(())
    }

    #[test]
    fn a_request_is_understood_as_it_is_sent() -> Result<()> {
        let plan = Plan {
            rate: 50,
            tokens: 3,
            wait_ms: 0,
        };
        let request = request(&plan);
        let (body_at, length) = http::parse_request_head(&request)?.context("complete")?;
        assert_eq!(body_at + length, request.len());
        let asked = Asked::parse(&request[body_at..])?;
        assert_eq!((asked.plan, asked.usage), (plan, true));
        Ok(())
    }
}
