//! What a provider says. The first byte says in which dialect it is asked: `c`, `r` and `m` for streams of Chat Completions,
//! Responses and Messages, `C`, `R` and `M` for whole answers. The rest is the body of a 200, or, if it begins so, all of an
//! answer in HTTP.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use engagement::{
    config::{Config, Settings},
    model::{Failure, MessageText, ReplyOptions},
    provider::{self, Completion, PIECES, Prompt, Refusal, routes::Providers},
    telemetry::metrics::Metrics,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::mpsc,
    time::timeout,
};

use crate::{
    engine::Trial,
    peer::{find, runtime},
};

pub(super) const WORDS: &[&str] = &[
    "data: ",
    "data: [DONE]\n\n",
    "event: ",
    "\n\n",
    "\r\n",
    "\r",
    ": comment\n",
    "{\"choices\":[{\"delta\":{\"content\":\"",
    "\"finish_reason\":\"stop\"",
    "\"length\"",
    "\"usage\":",
    "\"type\":\"",
    "response.output_text.delta",
    "response.completed",
    "response.failed",
    "message_start",
    "content_block_delta",
    "message_delta",
    "message_stop",
    "\"error\":",
    "\"overloaded_error\"",
    "\\ud83d",
    "\\ude00",
    "\\u0000",
    "\u{feff}",
    "null",
    "[[[[[[[[[[[[[[[[",
    "1e999",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 429 Too Many Requests\r\n",
    "Retry-After: ",
    "Transfer-Encoding: chunked\r\n",
    "Content-Type: text/event-stream\r\n",
    "Content-Length: ",
    "Content-Encoding: gzip\r\n",
    "Location: ",
    "\"id\":\"x\"",
    "context_length_exceeded",
];

/// However little the service has to wait for.
const SOON: Duration = Duration::from_secs(10);

/// A provider that fails five times in a row is left alone; after each failure it says this, which is none.
const GOOD: &[u8] = b"C{\"choices\":[{\"message\":{\"content\":\"good\"},\"finish_reason\":\"stop\"}]}";

/// The dialects, as providers of the configuration, and the bytes that name them.
const MANNERS: [(u8, &str); 6] = [
    (b'c', "kind = 'openai'\napi = 'chat'\nstream = true"),
    (b'C', "kind = 'openai'\napi = 'chat'\nstream = false"),
    (b'r', "kind = 'openai'\napi = 'responses'\nstream = true"),
    (b'R', "kind = 'openai'\napi = 'responses'\nstream = false"),
    (b'm', "kind = 'anthropic'\nstream = true"),
    (b'M', "kind = 'anthropic'\nstream = false"),
];

pub(super) fn trial() -> Result<Trial> {
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let providers = configured(listener.local_addr()?)?;
    let mut stage = Stage {
        runtime,
        listener,
        providers,
    };
    Ok(Box::new(move |input| stage.play(input)))
}

fn configured(upstream: SocketAddr) -> Result<Vec<(u8, Providers)>> {
    let one = |(name, lines): &(u8, &str)| {
        let settings: Settings = toml::from_str(&format!(
            "[providers.p]\n{lines}\nbase_url = 'http://{upstream}/v1'\nmodels = ['m']\n"
        ))?;
        let config = Config::new(&settings)?;
        Ok((*name, provider::build(&config.providers, &Metrics::off())?))
    };
    MANNERS.iter().map(one).collect()
}

struct Stage {
    runtime: Runtime,
    listener: TcpListener,
    providers: Vec<(u8, Providers)>,
}

impl Stage {
    fn play(&mut self, input: &[u8]) -> Result<(), String> {
        let asked = self.ask(input)?;
        asked.judge(input.len())?;
        let Err(refusal) = asked.outcome else {
            return Ok(());
        };
        // The same in which it failed is to be known for its answers again.
        let manner = input.first().copied().unwrap_or_default();
        let again = match manner {
            b'm' | b'M' => b"{\"content\":[{\"type\":\"text\",\"text\":\"good\"}],\"stop_reason\":\"end_turn\"}".as_slice(),
            b'r' | b'R' => b"{\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"good\"}]}]}",
            _ => &GOOD[1..],
        };
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
        let good = self.ask(&[&[manner], head.as_slice(), again].concat())?;
        if good.text == "good" && good.outcome.is_ok() {
            Ok(())
        } else {
            Err(format!(
                "no answer is heard after {refusal:?}: {:?}",
                good.outcome
            ))
        }
    }

    fn ask(&mut self, input: &[u8]) -> Result<Asked, String> {
        let (manner, said) = input.split_first().unwrap_or((&b'c', &[]));
        let providers = self.providers.iter().find(|(name, _)| name == manner);
        let (name, providers) = providers.or(self.providers.first()).ok_or("no provider")?;
        let choice = providers.choose(Some("p/m")).ok_or("no such model")?;
        let prompt = Prompt {
            history: Vec::new(),
            text: MessageText::parse("hello").map_err(|problem| format!("{problem:?}"))?,
            model: "m".to_owned(),
            options: ReplyOptions::default(),
        };
        let (pieces, mut coming) = mpsc::channel::<String>(PIECES);
        let heard = async {
            let (mut text, mut longest) = (String::new(), 0);
            while let Some(piece) = coming.recv().await {
                longest = longest.max(piece.len());
                text += &piece;
            }
            (text, longest)
        };
        let both = async {
            let asking = async { tokio::join!(choice.backend.provider.answer(&prompt, pieces), heard) };
            // Whether it was asked at all is not for the upstream to say.
            tokio::select! {
                asked = asking => asked,
                never = upstream(&self.listener, said, name.is_ascii_lowercase()) => match never {},
            }
        };
        let (outcome, (text, longest)) = self
            .runtime
            .block_on(async { timeout(SOON, both).await })
            .map_err(|_| "the answer does not end".to_owned())?;
        Ok(Asked {
            outcome,
            text,
            longest,
        })
    }
}

/// Says the same to everybody who asks.
async fn upstream(listener: &TcpListener, said: &[u8], streams: bool) -> std::convert::Infallible {
    let head = if streams {
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    } else {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    };
    let head = if said.starts_with(b"HTTP/") {
        b""
    } else {
        head.as_bytes()
    };
    loop {
        if let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
            // Who has heard enough goes away.
            let _ = stream.write_all(head).await;
            let _ = stream.write_all(said).await;
            let _ = stream.shutdown().await;
        }
    }
}

async fn read_request(stream: &mut TcpStream) {
    let mut came = Vec::new();
    while matches!(stream.read_buf(&mut came).await, Ok(length) if length > 0) {
        let Some(end) = find(&came, b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&came[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if came.len() >= end + 4 + length.unwrap_or(0) {
            return;
        }
    }
}

/// What came of asking.
struct Asked {
    outcome: Result<Completion, Refusal>,
    text: String,
    longest: usize,
}

impl Asked {
    fn judge(&self, sent: usize) -> Result<(), String> {
        // No byte becomes more than the three of U+FFFD.
        if self.text.len() > 3 * sent || self.longest > 4 * 1024 {
            return Err(format!(
                "{} bytes of text, {} in a piece, of {sent}",
                self.text.len(),
                self.longest
            ));
        }
        if self.text.contains('\0') {
            return Err("a text with NUL".to_owned());
        }
        match &self.outcome {
            Ok(completion) => match &completion.model {
                Some(model) if model.len() > 200 => Err("the model's name goes on and on".to_owned()),
                _ => Ok(()),
            },
            Err(refusal) => judge(refusal.failure()),
        }
    }
}

/// A failure has a reason, in a form that fits into a line.
fn judge(failure: &Failure) -> Result<(), String> {
    let message = &failure.message;
    if failure.code.is_empty() || message.is_empty() {
        return Err(format!("no reason: {failure:?}"));
    }
    if message.len() > 2_000 || message.chars().any(char::is_control) {
        return Err(format!("a reason that is no line: {message:?}"));
    }
    Ok(())
}
