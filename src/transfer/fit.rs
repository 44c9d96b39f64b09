//! Makes what other programs kept fit the rules of this one.

use crate::model::{
    ConversationId, Description, Message, MessageId, MessageText, MovedMessage, Role, Timestamp, Title, trim,
};

/// What is to be done about what does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Whether texts that are too long are cut; otherwise their conversation is refused.
    pub cuts: bool,
}

/// A message of another program.
pub(super) struct Raw<'a> {
    pub(super) id: MessageId,
    pub(super) role: Role,
    pub(super) text: &'a str,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}

/// The messages of a conversation of another program, in their order.
pub(super) struct Fitting {
    fit: Fit,
    conversation: ConversationId,
    last: Option<Timestamp>,
    /// Those that are blank.
    pub(super) skipped: u64,
}

impl Fitting {
    pub(super) fn new(conversation: ConversationId, fit: Fit) -> Self {
        Self {
            fit,
            conversation,
            last: None,
            skipped: 0,
        }
    }

    /// A message as it can be stored; nothing of a blank one. U+0000 is left out, and no date lies before the one in
    /// front of it.
    pub(super) fn fit(&mut self, raw: &Raw<'_>) -> Result<Option<MovedMessage>, String> {
        let Some((text, was_cut)) = MessageText::from_provider(raw.text) else {
            self.skipped += 1;
            return Ok(None);
        };
        if was_cut && !self.fit.cuts {
            return Err(format!("text: has more than {} characters", MessageText::MAX));
        }
        let created = self.last.map_or(raw.created, |last| last.max(raw.created));
        self.last = Some(created);
        Ok(Some(MovedMessage {
            message: Message {
                id: raw.id,
                conversation: self.conversation,
                role: raw.role,
                text,
                created,
                updated: raw.updated.max(created),
            },
            reply: None,
        }))
    }
}

/// A title, cut where it is too long.
pub(super) fn title(raw: &str) -> Option<Title> {
    Title::parse(&cut(raw, Title::MAX)).ok()
}

/// A description, cut where it is too long; this one where there is none.
pub(super) fn description(raw: &str, otherwise: &str) -> Option<Description> {
    Description::parse(&cut(raw, Description::MAX))
        .or_else(|_| Description::parse(otherwise))
        .ok()
}

fn cut(raw: &str, most: usize) -> String {
    trim(raw).chars().filter(|c| *c != '\0').take(most).collect()
}
