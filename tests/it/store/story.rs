//! What happened, in words that tests can compare, and how to make it happen.

use engagement::model::{
    Answer, ConversationId, Event, Finished, Happening, Lease, Message, MessageId, MessageText, NewMessage,
    NewReply, Outcome, Progress, Role, Told,
};

use super::{Database, at};

/// The number with which the reply to the first message was queued.
pub(super) const ASKED: u64 = (1 << 24) + 1;

/// The lane of replies that are told piece by piece.
pub(crate) const LANE: &str = "somewhere";

/// A reply that takes turns.
pub(super) fn asked() -> NewReply {
    NewReply {
        lane: Some(LANE.to_owned()),
        ..NewReply::default()
    }
}

impl Database {
    /// What happened after an event, a word or two for each.
    pub(super) async fn story(&self, of: ConversationId, after: u64) -> Vec<String> {
        let events = self.all_events(of, None, after).await;
        events.iter().map(|event| told(&event.what)).collect()
    }

    pub(crate) async fn all_events(
        &self,
        of: ConversationId,
        reply: Option<MessageId>,
        after: u64,
    ) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let from = events.last().map_or(after, |event| event.number);
            let more = self.store.events(of, reply, from).await.unwrap().unwrap().events;
            if more.is_empty() {
                return events;
            }
            events.extend(more);
        }
    }

    /// Appends a user message whose reply takes turns.
    pub(crate) async fn ask(&self, of: ConversationId, text: &str, now: i64) -> Message {
        let new = self.asking(of, text, now);
        self.store.append_message(new, None).await.unwrap().unwrap()
    }

    pub(super) fn asking(&self, of: ConversationId, text: &str, now: i64) -> NewMessage {
        NewMessage {
            id: self.ids.message(at(now)),
            conversation: of,
            role: Role::User,
            text: MessageText::parse(text).unwrap(),
            reply: asked(),
            now: at(now),
        }
    }

    /// Tells of a reply's beginning and these pieces.
    pub(super) async fn tell(&self, lease: Lease, pieces: &[&str], now: i64) -> Finished {
        let mut progress = vec![Progress::Started { attempt: 1 }];
        progress.extend(pieces.iter().map(|piece| Progress::Delta((*piece).to_owned())));
        self.store.tell(lease, progress, at(now)).await.unwrap()
    }

    /// Gives a reply its answer, of which so much was told.
    pub(super) async fn answer(
        &self,
        lease: Lease,
        id: u8,
        text: &str,
        told: Option<usize>,
        now: i64,
    ) -> Finished {
        let answer = Answer::new(MessageId::from([id; 16]), MessageText::parse(text).unwrap());
        self.store
            .finish_reply(lease, Outcome::Answered(answer), Told { bytes: told }, at(now))
            .await
            .unwrap()
    }
}

/// An event in a word or two.
pub(super) fn told(what: &Happening) -> String {
    match what {
        Happening::MessageCreated {
            message, replaces, ..
        } => {
            let instead = if replaces.is_some() { " instead" } else { "" };
            format!(
                "{} says {}{instead}",
                message.role.as_str(),
                message.text.as_str()
            )
        }
        Happening::MessageDeleted(_) => "deleted".to_owned(),
        Happening::ReplyQueued(_) => "queued".to_owned(),
        Happening::ReplyStarted { attempt, .. } => format!("started {attempt}"),
        Happening::ReplyDelta { text, .. } => format!("+ {text}"),
        Happening::ReplySucceeded { answer, .. } => {
            format!("succeeded{}", if answer.is_some() { "" } else { " without" })
        }
        Happening::ReplyFailed { failure, .. } => format!("failed {}", failure.code),
        Happening::ReplyCancelled { answer, .. } => {
            format!("cancelled{}", if answer.is_some() { "" } else { " without" })
        }
        Happening::ConversationDeleted => "gone".to_owned(),
    }
}
