//! One streamed answer: asking for it, reading it, and comparing it with what is stored.

use crate::client::{create_path, text_of};
use crate::http;
use crate::stream::{Line, Tokens};
use crate::upstream::{self, Plan};
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// What came of one answer.
pub(super) struct Heard {
    /// From asking to the first token.
    pub(super) first: Duration,
    /// All of them.
    pub(super) tokens: Tokens,
    /// In how many events they came.
    pub(super) deltas: u64,
    /// From the first event to the last one.
    pub(super) span: Duration,
    /// The message that it was stored as; not when it came from the upstream itself.
    pub(super) stored_as: Option<String>,
}

/// Asks the upstream itself.
pub(super) async fn direct(line: &mut Line, plan: Plan) -> Result<Heard> {
    let request = upstream::request(&plan);
    let mut listening = Listening::new(plan, Instant::now());
    line.open(&request).await?;
    while let Some(frame) = line.next().await? {
        if frame.data != "[DONE]"
            && let Some(token) = frame.json()?["choices"][0]["delta"]["content"].as_str()
        {
            listening.take(token)?;
        }
    }
    listening.finish(None)
}

/// Posts a message; its id.
pub(super) async fn post(line: &mut Line, conversation: &str, plan: Plan) -> Result<String> {
    let request = http::post(&create_path(conversation), &http::message("user", &plan.text()));
    text_of(&line.ask(&request).await?, "message_id")
}

/// Opens the events of a conversation.
pub(super) async fn watch(line: &mut Line, conversation: &str) -> Result<()> {
    line.open(&http::get(&format!("/conversations/{conversation}/events")))
        .await
}

/// Asks the service, whose events the other line watches already.
pub(super) async fn by_events(
    line: &mut Line,
    events: &mut Line,
    conversation: &str,
    plan: Plan,
) -> Result<Heard> {
    let asked = Instant::now();
    let (posted, heard) = tokio::join!(post(line, conversation, plan), listen(events, plan, asked));
    posted?;
    heard
}

/// Asks the service, and then for the stream of the reply.
pub(super) async fn by_reply(line: &mut Line, conversation: &str, plan: Plan) -> Result<Heard> {
    let asked = Instant::now();
    let message = post(line, conversation, plan).await?;
    let path = format!("/conversations/{conversation}/messages/{message}/reply?stream=true");
    line.open(&http::get(&path)).await?;
    let heard = listen(line, plan, asked).await?;
    while line.next().await?.is_some() {}
    Ok(heard)
}

/// Reads events until the next reply is over.
pub(super) async fn listen(line: &mut Line, plan: Plan, asked: Instant) -> Result<Heard> {
    let mut listening = Listening::new(plan, asked);
    while let Some(frame) = line.next().await? {
        match frame.name.as_str() {
            "reply.delta" => listening.take(&text_of(&frame.json()?, "text")?)?,
            "reply.succeeded" => {
                let stored_as = text_of(&frame.json()?, "assistant_message_id")?;
                return listening.finish(Some(stored_as));
            }
            "reply.failed" | "reply.cancelled" => bail!("{}: {}", frame.name, frame.data),
            _ => {}
        }
    }
    bail!("the stream ended before the reply did")
}

struct Listening {
    asked: Instant,
    first: Option<Instant>,
    last: Instant,
    deltas: u64,
    tokens: Tokens,
}

impl Listening {
    fn new(plan: Plan, asked: Instant) -> Self {
        Self {
            asked,
            first: None,
            last: asked,
            deltas: 0,
            tokens: Tokens::new(plan),
        }
    }

    fn take(&mut self, piece: &str) -> Result<()> {
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
        self.deltas += 1;
        self.tokens.take(piece)
    }

    fn finish(self, stored_as: Option<String>) -> Result<Heard> {
        self.tokens.complete()?;
        let first = self.first.context("no token at all")?;
        Ok(Heard {
            first: first - self.asked,
            tokens: self.tokens,
            deltas: self.deltas,
            span: self.last - first,
            stored_as,
        })
    }
}

/// Fails unless what was heard is what is stored.
pub(super) async fn compare(line: &mut Line, conversation: &str, heard: &Heard) -> Result<()> {
    let id = heard
        .stored_as
        .as_ref()
        .context("an answer that was not stored")?;
    let path = format!("/conversations/{conversation}/messages/{id}");
    let stored = text_of(&line.ask(&http::get(&path)).await?, "text")?;
    if stored != heard.tokens.text {
        bail!(
            "the stream of {} bytes is not the stored text of {} bytes",
            heard.tokens.text.len(),
            stored.len()
        );
    }
    Ok(())
}
