//! Understands what the Django service kept.

use super::{
    Found, PORTION, PORTION_BYTES, Portion, Refused, Take, Unreadable,
    fit::{self, Fit, Fitting, Raw},
};
use crate::{
    model::{
        Conversation, ConversationId, MessageId, MovedConversation, MovedMessage, Owner, ReplyOptions, Role,
        Timestamp,
    },
    store::django::{DjangoConversation, DjangoMessage, DjangoSource},
};

/// What a conversation is about that does not say so.
const NO_DESCRIPTION: &str = "Imported from the Django service";

/// Reads every conversation.
pub fn read(source: &dyn DjangoSource, fit: Fit, take: Take<'_>) -> Result<(), Unreadable> {
    let mut place = 0;
    let mut ended = Ok(());
    source
        .conversations(&mut |found| {
            place += 1;
            ended = one(source, place, &found, fit, take);
            ended.is_ok()
        })
        .map_err(|cause| Unreadable::Format(cause.to_string()))?;
    ended
}

fn one(
    source: &dyn DjangoSource,
    place: u64,
    found: &DjangoConversation,
    fit: Fit,
    take: Take<'_>,
) -> Result<(), Unreadable> {
    let refused = |problem: String| {
        let problem = format!("conversation {}: {problem}", found.id);
        Found::Refused(Refused { place, problem })
    };
    let conversation = match head(found) {
        Ok(conversation) => conversation,
        Err(problem) => return take(refused(problem.to_owned())),
    };
    let mut fitting = Fitting::new(conversation.conversation.id, fit);
    let (mut messages, mut bytes, mut is_first) = (Vec::new(), 0, true);
    let mut outcome: Result<Option<String>, Unreadable> = Ok(None);
    source
        .messages(&found.id, &mut |message| {
            match parse(&message, &mut fitting) {
                Ok(None) => {}
                Ok(Some(moved)) => {
                    bytes += moved.message.text.as_str().len();
                    messages.push(moved);
                }
                Err(problem) => {
                    outcome = Ok(Some(format!("message {}: {problem}", message.id)));
                    return false;
                }
            }
            if messages.len() < PORTION && bytes < PORTION_BYTES {
                return true;
            }
            bytes = 0;
            let portion = Portion {
                place,
                conversation: conversation.clone(),
                is_first: std::mem::take(&mut is_first),
                is_last: false,
                messages: std::mem::take(&mut messages),
            };
            if let Err(stopped) = take(Found::Portion(Box::new(portion))) {
                outcome = Err(stopped);
                return false;
            }
            true
        })
        .map_err(|cause| Unreadable::Format(cause.to_string()))?;
    if let Some(problem) = outcome? {
        return take(refused(problem));
    }
    if fitting.skipped > 0 {
        take(Found::Skipped(fitting.skipped))?;
    }
    take(Found::Portion(Box::new(Portion {
        place,
        conversation,
        is_first,
        is_last: true,
        messages,
    })))
}

fn head(found: &DjangoConversation) -> Result<MovedConversation, &'static str> {
    let created = date(&found.created).ok_or("date_created: is no date")?;
    let updated = date(&found.updated).ok_or("date_updated: is no date")?;
    let conversation = Conversation {
        id: id(&found.id)
            .map(ConversationId::new)
            .ok_or("conversation_id: is no UUID")?,
        title: found.title.as_deref().and_then(fit::title),
        description: fit::description(&found.description, NO_DESCRIPTION).ok_or("description: is blank")?,
        created,
        updated: updated.max(created),
    };
    Ok(MovedConversation {
        conversation,
        owner: Owner::OPERATOR,
        options: ReplyOptions::default(),
    })
}

fn parse(found: &DjangoMessage, fitting: &mut Fitting) -> Result<Option<MovedMessage>, String> {
    fitting.fit(&Raw {
        id: id(&found.id)
            .map(MessageId::new)
            .ok_or("message_id: is no UUID")?,
        role: Role::parse(&found.role).ok_or("role: is neither user nor assistant")?,
        text: &found.text,
        created: date(&found.created).ok_or("date_created: is no date")?,
        updated: date(&found.updated).ok_or("date_updated: is no date")?,
    })
}

/// 32 hexadecimal digits, as Django keeps a UUID in SQLite, or with hyphens.
fn id(text: &str) -> Option<uuid::Uuid> {
    uuid::Uuid::try_parse(text).ok()
}

/// A date with a space or a T, with or without a fraction, with or without an offset; without one, it is in UTC.
fn date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let has_time = text.len() > "2026-01-31".len();
    Timestamp::parse(text)
        .filter(|_| has_time)
        .or_else(|| Timestamp::parse(&format!("{text}Z")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_django_writes_them() {
        for (text, expected) in [
            ("2024-01-19 12:00:00", Some("2024-01-19T12:00:00.000000Z")),
            ("2024-01-19 12:00:00.123456", Some("2024-01-19T12:00:00.123456Z")),
            ("2024-01-19T12:00:00.5", Some("2024-01-19T12:00:00.500000Z")),
            ("2024-01-19 14:00:00+02:00", Some("2024-01-19T12:00:00.000000Z")),
            ("2024-01-19 12:00:00+00:00", Some("2024-01-19T12:00:00.000000Z")),
            ("2024-01-19", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(
                date(text).map(|date| date.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn ids_are_read_with_and_without_hyphens() {
        let plain = id("550e8400e29b41d4a716446655440000");
        assert_eq!(plain, id("550e8400-e29b-41d4-a716-446655440000"));
        assert!(plain.is_some());
        assert_eq!(id("550e8400e29b41d4a71644665544000"), None);
    }
}
