//! From an answer as it comes to pieces of text, in whichever dialect.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Completion, Pieces,
    client::{Answer, Events},
    json,
    trouble::{Kind, Trouble},
};
use crate::model::{FinishReason, Usage};

/// The longest piece.
const LONGEST_PIECE: usize = 4 * 1024;

/// How long is waited for what may follow the end of a text: what it took, and the end of the stream, after which the
/// connection can be used again.
const FOR_USAGE: Duration = Duration::from_secs(2);
const FOR_END: Duration = Duration::from_millis(20);

/// How a vendor says things.
pub(super) trait Dialect {
    /// Takes in one event of a stream: what it says goes into `heard`, and what it tells comes back.
    fn event(&self, data: &str, heard: &mut Heard) -> Result<Option<String>, Trouble>;

    /// Takes in an answer that came whole.
    fn whole(&self, body: &str, heard: &mut Heard) -> Result<String, Trouble>;
}

/// What is known of an answer besides its text.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// As JSON: some servers give numbers.
    id: Option<String>,
    model: Option<String>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    /// Whether any text came.
    said: bool,
    /// Nothing that matters comes any more.
    done: bool,
}

impl Heard {
    /// Which answer this is part of. It cannot become another one's: that would be somebody else's words.
    pub(super) fn is_from(&mut self, id: Option<&RawValue>) -> Result<(), Trouble> {
        let Some(id) = id.map(RawValue::get).filter(|id| *id != "\"\"") else {
            return Ok(());
        };
        match &self.id {
            Some(known) if known != id => Err(Trouble::garbled("parts of two answers came as one")),
            Some(_) => Ok(()),
            None => {
                self.id = Some(id.to_owned());
                Ok(())
            }
        }
    }

    pub(super) fn written_by(&mut self, model: Option<&RawValue>) {
        let model = json::text(model).filter(|model| !model.is_empty());
        // Nobody needs more of a name than a name can have.
        self.model = self.model.take().or(model.filter(|model| model.len() <= 200));
    }

    /// What it took so far; the last word counts.
    pub(super) fn took(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage.unwrap_or_default()
    }

    /// The end of the text. The first one counts.
    pub(super) fn finish(&mut self, reason: FinishReason) {
        self.finish.get_or_insert(reason);
    }

    /// The end of everything.
    pub(super) fn end(&mut self) {
        self.done = true;
    }

    /// Whether any text came so far.
    pub(super) fn has_said(&self) -> bool {
        self.said
    }

    fn completion(self) -> Completion {
        Completion {
            finish: self.finish.unwrap_or_default(),
            usage: self.usage,
            model: self.model,
        }
    }
}

/// Reads an answer to its end, and hands its text on as it comes.
pub(super) async fn hear(
    dialect: &impl Dialect,
    answer: Answer,
    pieces: &Pieces,
) -> Result<Completion, Trouble> {
    let mut heard = Heard::default();
    if !answer.is_stream() {
        let body = json::whole_characters(answer.whole().await?);
        let text = dialect.whole(&body, &mut heard)?;
        drop(body);
        say(pieces, &text).await;
        return Ok(heard.completion());
    }
    let mut events = answer.events();
    while !heard.done {
        let has_ended = heard.finish.is_some();
        let event = match events.next().await {
            Ok(Some(data)) => dialect.event(&json::whole_characters(data), &mut heard),
            Ok(None) => break,
            Err(trouble) => Err(trouble),
        };
        match event {
            // The first end counts: what comes after it is not part of the answer any more.
            Ok(_) | Err(_) if has_ended && event.is_ok() => {}
            Err(_) if has_ended => break,
            Err(trouble) => return Err(trouble),
            Ok(None) => {}
            Ok(Some(text)) => {
                heard.said |= !text.is_empty();
                if !say(pieces, &text).await {
                    return Ok(heard.completion());
                }
            }
        }
        if heard.finish.is_some() {
            events.hurry(FOR_USAGE);
        }
    }
    if heard.finish.is_none() {
        let is_whole = heard.done && !breaks_off(&mut events).await;
        if !is_whole {
            return Err(Trouble::new(
                Kind::Incomplete,
                "the stream ended before the answer did",
            ));
        }
        heard.finish(FinishReason::Stop);
    }
    events.hurry(FOR_END);
    // Whatever it is, it changes nothing.
    let _ = events.next().await;
    Ok(heard.completion())
}

/// Whether the connection ends before the stream does. A server may never say why an answer ends; but
/// llama-cpp-python's says its end in the middle of one that it drops for another request, and then breaks off.
async fn breaks_off(events: &mut Events) -> bool {
    events.hurry(FOR_USAGE);
    let after = events.next().await;
    matches!(after, Err(trouble) if trouble.kind == Kind::Incomplete)
}

/// Hands a text on in pieces; false once nobody wants more.
async fn say(pieces: &Pieces, text: &str) -> bool {
    let clean = text.replace('\0', "");
    let mut rest = clean.as_str();
    while !rest.is_empty() {
        let end = rest.floor_char_boundary(LONGEST_PIECE);
        let (piece, after) = rest.split_at(end);
        if pieces.send(piece.to_owned()).await.is_err() {
            return false;
        }
        rest = after;
    }
    true
}

/// Reads a document of a dialect.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Trouble> {
    // The parser's own message can show what stands there.
    serde_json::from_str(text).map_err(|error| {
        Trouble::garbled(format!(
            "not what an answer looks like: {:?} at line {} column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })
}
