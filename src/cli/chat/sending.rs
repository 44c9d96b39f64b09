//! What is sent until it is answered: a message, which counts once however often it arrives, and the wish to cancel.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::{
    client::{Client, Error},
    stream::{PATIENCE, Pauses},
};
use crate::{
    clock::Stopwatch,
    ids::IdSource,
    model::{ConversationId, MessageId},
};

/// What comes of sending a message.
#[derive(Debug)]
pub(super) enum Sent {
    /// It is stored.
    Stored(MessageId),
    /// Nobody knows whether it has arrived; it is sent again after this pause.
    Lost { cause: String, pause: Duration },
}

/// Sends one message. [`Sending::next`] may be dropped only if nobody cares any more.
#[derive(Debug)]
pub(super) struct Sending<'a> {
    client: &'a Client,
    conversation: ConversationId,
    text: &'a str,
    model: Option<&'a str>,
    key: Uuid,
    pauses: Pauses,
    pause: Option<Duration>,
    /// Since when it is unknown whether it has arrived.
    lost: Option<Stopwatch>,
}

impl<'a> Sending<'a> {
    pub(super) fn new(
        client: &'a Client,
        conversation: ConversationId,
        text: &'a str,
        model: Option<&'a str>,
    ) -> Self {
        Self {
            client,
            conversation,
            text,
            model,
            key: IdSource::random().request(),
            pauses: Pauses::new(),
            pause: None,
            lost: None,
        }
    }

    /// Sends it. A service that is away from the start is an error; one that may have got it is asked until it says so.
    pub(super) async fn next(&mut self) -> Result<Sent, Error> {
        if let Some(pause) = self.pause.take() {
            sleep(pause).await;
        }
        let said = self
            .client
            .say(self.conversation, self.text, self.model, self.key);
        let error = match said.await {
            Ok(message) => return Ok(Sent::Stored(message)),
            Err(error) => error,
        };
        if error.is_unsure() {
            self.lost.get_or_insert_with(Stopwatch::start);
        }
        match (error, self.lost) {
            (error, Some(since)) if error.is_passing() && since.elapsed() < PATIENCE => {
                let pause = self.pauses.next();
                self.pause = Some(pause);
                let (Error::Away { cause, .. }
                | Error::Refused { reason: cause, .. }
                | Error::Foreign(cause)) = error;
                Ok(Sent::Lost { cause, pause })
            }
            (Error::Away { cause, .. }, lost) => Err(Error::Away {
                cause,
                is_unsure: lost.is_some(),
            }),
            (error, _) => Err(error),
        }
    }
}

/// Asks until it is answered: the reply can be cancelled as long as it is written.
pub(super) async fn cancel(
    client: &Client,
    conversation: ConversationId,
    message: MessageId,
) -> Result<(), Error> {
    let mut pauses = Pauses::new();
    loop {
        match client.cancel(conversation, message).await {
            Err(error) if error.is_passing() => sleep(pauses.next()).await,
            answered => return answered,
        }
    }
}
