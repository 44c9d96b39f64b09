//! Following one reply while it is written, over as many connections as it takes.

use std::time::Duration;

use reqwest::Response;
use serde::Deserialize;
use tokio::time::sleep;

use super::{
    client::{Client, Error},
    sse::{Event, Parser},
};
use crate::{
    clock::Stopwatch,
    ids::IdSource,
    model::{ConversationId, MessageId},
};

/// The first pause before asking again, and the longest: they double.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_mins(1);
/// How long nobody may answer before it is given up.
pub(super) const PATIENCE: Duration = Duration::from_mins(10);

/// What comes of following a reply.
#[derive(Debug)]
pub(super) enum Heard {
    /// It is written from its first word; what was told of it before counts no more.
    Begun,
    /// A piece of its text.
    Text(String),
    /// Nothing more comes.
    Ended(End),
    /// The connection is gone, and so is another that was made at once; the next is tried after this pause.
    Lost { cause: String, pause: Duration },
    /// There is a connection again.
    Found,
}

/// How a reply ended.
#[derive(Debug)]
pub(super) enum End {
    Succeeded {
        finish_reason: String,
        truncated: bool,
    },
    Failed {
        code: String,
        message: String,
    },
    Cancelled,
    /// Its message is gone, or the whole conversation.
    Deleted,
}

/// Pauses between tries, each longer than the one before it, and spread so that many who wait do not come at once.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    ids: IdSource,
}

impl Pauses {
    pub(super) fn new() -> Self {
        let ids = IdSource::random();
        Self { next: SHORTEST, ids }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (2 * pause).min(LONGEST);
        pause.mul_f64(0.75 + self.ids.jitter() / 2.0)
    }

    fn begin_anew(&mut self) {
        self.next = SHORTEST;
    }
}

/// Follows a reply. [`Follower::next`] may be dropped at any time: what it had is kept.
#[derive(Debug)]
pub(super) struct Follower<'a> {
    client: &'a Client,
    conversation: ConversationId,
    message: MessageId,
    after: Option<u64>,
    connection: Option<Connection>,
    pauses: Pauses,
    pause: Option<Duration>,
    /// Since when nothing comes of connecting, and how many tries that were.
    lost: Option<(Stopwatch, u32)>,
}

#[derive(Debug)]
struct Connection {
    response: Response,
    parser: Parser,
    stands: Stopwatch,
}

impl<'a> Follower<'a> {
    pub(super) fn new(
        client: &'a Client,
        conversation: ConversationId,
        message: MessageId,
        after: Option<u64>,
    ) -> Self {
        Self {
            client,
            conversation,
            message,
            after,
            connection: None,
            pauses: Pauses::new(),
            pause: None,
            lost: None,
        }
    }

    /// The number of the last event that was heard.
    pub(super) fn after(&self) -> Option<u64> {
        self.after
    }

    /// Waits for what comes next. Fails when asking again cannot help.
    pub(super) async fn next(&mut self) -> Result<Heard, Error> {
        loop {
            let Some(Connection { response, parser, .. }) = &mut self.connection else {
                if let Some(heard) = self.connect().await? {
                    return Ok(heard);
                }
                continue;
            };
            if let Some(event) = parser.next() {
                match read(&event, self.message) {
                    Ok(heard) => {
                        self.after = event.id.or(self.after);
                        self.recover();
                        if let Some(heard) = heard {
                            return Ok(heard);
                        }
                    }
                    Err(cause) => {
                        if let Some(heard) = self.lose(cause)? {
                            return Ok(heard);
                        }
                    }
                }
                continue;
            }
            let cause = match response.chunk().await.map_err(Error::from) {
                Ok(Some(bytes)) => match parser.feed(&bytes) {
                    Ok(()) => continue,
                    Err(_) => "what came has no end".to_owned(),
                },
                Ok(None) => "the stream ended before the reply did".to_owned(),
                Err(Error::Away { cause, .. }) => cause,
                Err(error) => return Err(error),
            };
            if let Some(heard) = self.lose(cause)? {
                return Ok(heard);
            }
        }
    }

    async fn connect(&mut self) -> Result<Option<Heard>, Error> {
        if let Some(pause) = self.pause {
            sleep(pause).await;
        }
        let asked = self
            .client
            .events(self.conversation, self.message, self.after)
            .await;
        match asked {
            Ok(Some(response)) => {
                self.connection = Some(Connection {
                    response,
                    parser: Parser::default(),
                    stands: Stopwatch::start(),
                });
                self.pause = None;
                let is_told = self.lost.is_some_and(|(_, tries)| tries > 1);
                Ok(is_told.then_some(Heard::Found))
            }
            // It has ended without telling this client, or its events were counted anew: a database that was restored.
            Ok(None) | Err(Error::Refused { status: 400, .. }) if self.after.is_some() => {
                self.after = None;
                Ok(None)
            }
            Ok(None) => Err(Error::Foreign("it streams a reply that has no end".to_owned())),
            Err(Error::Refused { status: 404, .. }) => Ok(Some(Heard::Ended(End::Deleted))),
            Err(error) if error.is_passing() => self.lose(match error {
                Error::Away { cause, .. } | Error::Foreign(cause) => cause,
                Error::Refused { status, reason } => format!("{status}, {reason}"),
            }),
            Err(error) => Err(error),
        }
    }

    /// The first try comes almost at once and is not worth a word: a proxy that closes old connections would cause many.
    fn lose(&mut self, cause: String) -> Result<Option<Heard>, Error> {
        let mut wished = Duration::ZERO;
        if let Some(Connection { parser, stands, .. }) = self.connection.take() {
            wished = Duration::from_millis(parser.pause_ms().unwrap_or_default()).min(LONGEST);
            // A connection that is cut while there is nothing to tell was one all the same, unless it ended at once.
            if stands.elapsed() > self.pauses.next {
                self.recover();
            }
        }
        let pause = self.pauses.next().max(wished);
        self.pause = Some(pause);
        let (since, tries) = self.lost.get_or_insert_with(|| (Stopwatch::start(), 0));
        *tries += 1;
        if since.elapsed() > PATIENCE {
            let is_unsure = false;
            return Err(Error::Away { cause, is_unsure });
        }
        Ok((*tries > 1).then_some(Heard::Lost { cause, pause }))
    }

    fn recover(&mut self) {
        self.pauses.begin_anew();
        self.lost = None;
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    message_id: Option<String>,
    text: Option<String>,
    finish_reason: String,
    truncated: bool,
    error: Option<Failure>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failure {
    code: String,
    message: String,
}

/// What an event says about the reply to this message, if it says something.
fn read(event: &Event, message: MessageId) -> Result<Option<Heard>, String> {
    let is_known = matches!(
        event.name.as_str(),
        "reply.started"
            | "reply.delta"
            | "reply.succeeded"
            | "reply.failed"
            | "reply.cancelled"
            | "message.deleted"
            | "conversation.deleted"
    );
    if !is_known {
        return Ok(None);
    }
    let garbled = || format!("a {} that cannot be read", event.name);
    let payload: Payload = serde_json::from_str(&event.data).map_err(|_| garbled())?;
    if event.name != "conversation.deleted" {
        let of = payload.message_id.as_deref().and_then(MessageId::parse);
        if of.ok_or_else(garbled)? != message {
            return Ok(None);
        }
    }
    Ok(Some(match event.name.as_str() {
        "reply.started" => Heard::Begun,
        "reply.delta" => Heard::Text(payload.text.ok_or("a reply.delta without text")?),
        "reply.succeeded" => Heard::Ended(End::Succeeded {
            finish_reason: payload.finish_reason,
            truncated: payload.truncated,
        }),
        "reply.failed" => {
            let Failure { code, message } = payload.error.unwrap_or_default();
            Heard::Ended(End::Failed { code, message })
        }
        "reply.cancelled" => Heard::Ended(End::Cancelled),
        _ => Heard::Ended(End::Deleted),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_begin_anew() {
        let mut pauses = Pauses::new();
        let taken: Vec<_> = (0..12).map(|_| pauses.next()).collect();
        for (pause, middle) in taken
            .iter()
            .zip([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000])
        {
            let middle = Duration::from_millis(middle);
            assert!(
                *pause >= middle.mul_f64(0.75) && *pause <= middle.mul_f64(1.25),
                "{pause:?}"
            );
        }
        assert!(taken.iter().all(|pause| *pause <= LONGEST.mul_f64(1.25)));
        pauses.begin_anew();
        assert!(pauses.next() <= SHORTEST.mul_f64(1.25));
    }
}
