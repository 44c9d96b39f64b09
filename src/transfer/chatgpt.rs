//! Understands ChatGPT's export: `conversations.json`, a list of conversations, each a tree of messages of which the
//! branch is taken that was looked at last.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    io::Read,
};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use super::{
    Found, PORTION, PORTION_BYTES, Portion, Refused, Take, Unreadable,
    fit::{self, Fit, Fitting, Raw},
    named,
};
use crate::{
    ids,
    model::{
        Conversation, ConversationId, MessageId, MovedConversation, MovedMessage, Owner, ReplyOptions, Role,
        Timestamp,
    },
};

/// What a conversation is about: ChatGPT's have a title alone.
const DESCRIPTION: &str = "Imported from ChatGPT";

#[derive(Deserialize)]
struct Shape {
    conversation_id: Option<String>,
    id: Option<String>,
    title: Option<String>,
    create_time: Option<f64>,
    update_time: Option<f64>,
    current_node: Option<String>,
    mapping: HashMap<String, Node>,
}

#[derive(Deserialize)]
struct Node {
    parent: Option<String>,
    message: Option<MessageShape>,
}

#[derive(Deserialize)]
struct MessageShape {
    id: Option<String>,
    author: Author,
    create_time: Option<f64>,
    update_time: Option<f64>,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    metadata: Value,
    recipient: Option<String>,
}

#[derive(Deserialize)]
struct Author {
    role: String,
}

/// Reads every conversation. The list is read element by element; only one is held at a time.
pub fn read(input: impl Read, fit: Fit, take: Take<'_>) -> Result<(), Unreadable> {
    let mut stopped = None;
    let mut json = serde_json::Deserializer::from_reader(input);
    let list = List {
        fit,
        take,
        stopped: &mut stopped,
    };
    let read = json.deserialize_seq(list).and_then(|()| json.end());
    match (stopped, read) {
        (Some(stopped), _) => Err(stopped),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_io() => Err(Unreadable::Io(error.into())),
        (None, Err(error)) => Err(Unreadable::Format(format!("it is no export of ChatGPT: {error}"))),
    }
}

struct List<'a, 'b> {
    fit: Fit,
    take: Take<'a>,
    stopped: &'b mut Option<Unreadable>,
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of conversations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        let mut place = 0;
        while let Some(item) = items.next_element::<Box<RawValue>>()? {
            place += 1;
            let taken = match conversation(&item, place, self.fit, &mut seen) {
                Ok((skipped, portions)) => give(skipped, portions, self.take),
                Err(problem) => (self.take)(Found::Refused(Refused { place, problem })),
            };
            if let Err(cause) = taken {
                *self.stopped = Some(cause);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

fn give(skipped: u64, portions: Vec<Portion>, take: Take<'_>) -> Result<(), Unreadable> {
    if skipped > 0 {
        take(Found::Skipped(skipped))?;
    }
    portions
        .into_iter()
        .try_for_each(|portion| take(Found::Portion(Box::new(portion))))
}

/// A conversation in portions, and how many of its messages were left out.
fn conversation(
    item: &RawValue,
    place: u64,
    fit: Fit,
    seen: &mut HashSet<Uuid>,
) -> Result<(u64, Vec<Portion>), String> {
    let mut json = serde_json::Deserializer::from_str(item.get());
    let shape: Shape = serde_path_to_error::deserialize(&mut json).map_err(|error| named(&error))?;
    let name = shape
        .conversation_id
        .as_deref()
        .or(shape.id.as_deref())
        .ok_or("conversation_id: is missing")?;
    let id = Uuid::try_parse(name).unwrap_or_else(|_| ids::derived(&["chatgpt", name]));
    let refused = |problem: String| format!("conversation {name}: {problem}");
    let branch = branch(&shape).map_err(|problem| refused(problem.to_owned()))?;
    let created = shape
        .create_time
        .or_else(|| branch.iter().find_map(|message| message.create_time))
        .and_then(date)
        .ok_or_else(|| refused("create_time: is missing".to_owned()))?;
    let id = ConversationId::new(id);
    let mut fitting = Fitting::new(id, fit);
    let (mut skipped, mut messages) = (0, Vec::new());
    let mut last = created;
    for message in branch {
        let Some((role, text)) = said(message) else {
            skipped += 1;
            continue;
        };
        last = message.create_time.and_then(date).unwrap_or(last);
        let raw = Raw {
            id: message_id(message, name, messages.len(), seen),
            role,
            text: &text,
            created: last,
            updated: message.update_time.and_then(date).unwrap_or(last),
        };
        messages.extend(fitting.fit(&raw).map_err(&refused)?);
    }
    let moved = MovedConversation {
        conversation: Conversation {
            id,
            title: shape
                .title
                .as_deref()
                .and_then(fit::title)
                .filter(|title| !title.as_str().is_empty()),
            description: fit::description(DESCRIPTION, DESCRIPTION)
                .ok_or_else(|| refused("description".to_owned()))?,
            created,
            updated: shape.update_time.and_then(date).unwrap_or(created).max(created),
        },
        owner: Owner::OPERATOR,
        options: ReplyOptions::default(),
    };
    Ok((skipped + fitting.skipped, portions(place, &moved, messages)))
}

fn portions(place: u64, conversation: &MovedConversation, messages: Vec<MovedMessage>) -> Vec<Portion> {
    let portion = |messages, is_first| Portion {
        place,
        conversation: conversation.clone(),
        is_first,
        is_last: false,
        messages,
    };
    let (mut portions, mut next, mut bytes) = (Vec::new(), Vec::new(), 0);
    for message in messages {
        bytes += message.message.text.as_str().len();
        next.push(message);
        if next.len() >= PORTION || bytes >= PORTION_BYTES {
            portions.push(portion(std::mem::take(&mut next), portions.is_empty()));
            bytes = 0;
        }
    }
    portions.push(portion(next, portions.is_empty()));
    if let Some(last) = portions.last_mut() {
        last.is_last = true;
    }
    portions
}

/// The messages from the root to the node that was looked at last.
fn branch(shape: &Shape) -> Result<Vec<&MessageShape>, &'static str> {
    let mut branch = Vec::new();
    let mut at = match &shape.current_node {
        Some(node) => Some(node),
        None if shape.mapping.is_empty() => None,
        None => return Err("current_node: is missing"),
    };
    for _ in 0..=shape.mapping.len() {
        let Some(name) = at else {
            branch.reverse();
            return Ok(branch);
        };
        let node = shape.mapping.get(name).ok_or("mapping: a node is missing")?;
        branch.extend(&node.message);
        at = node.parent.as_ref();
    }
    Err("mapping: is no tree")
}

/// Who says what, if a person would see it.
fn said(message: &MessageShape) -> Option<(Role, String)> {
    let role = Role::parse(&message.author.role)?;
    let is_hidden = message.metadata.get("is_visually_hidden_from_conversation") == Some(&Value::Bool(true));
    // What is meant for a tool.
    let is_for_all = message
        .recipient
        .as_deref()
        .is_none_or(|recipient| recipient == "all");
    if is_hidden || !is_for_all {
        return None;
    }
    match message.content.get("content_type").and_then(Value::as_str) {
        Some("text" | "multimodal_text") => {}
        _ => return None,
    }
    let parts = message.content.get("parts").and_then(Value::as_array)?;
    // Pictures and the like are left out; of what was spoken, the words are there.
    let texts = parts
        .iter()
        .filter_map(|part| part.as_str().or_else(|| part.get("text").and_then(Value::as_str)));
    let text = texts
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n");
    Some((role, text))
}

/// The message's own identifier, if it is one, and no other conversation of the file has it: of a conversation that was
/// continued as another, both have the same messages.
fn message_id(message: &MessageShape, conversation: &str, at: usize, seen: &mut HashSet<Uuid>) -> MessageId {
    let name = message.id.as_deref().unwrap_or_default();
    let own = Uuid::try_parse(name).ok().filter(|id| seen.insert(*id));
    let derived = || match name {
        "" => ids::derived(&["chatgpt", conversation, &at.to_string()]),
        name => ids::derived(&["chatgpt", conversation, name]),
    };
    MessageId::new(own.unwrap_or_else(derived))
}

/// Seconds since 1970, with a fraction.
fn date(seconds: f64) -> Option<Timestamp> {
    const MOST: f64 = 253_402_300_799.0; // the end of the year 9999
    #[expect(clippy::cast_possible_truncation, reason = "its size was looked at")]
    (0.0..=MOST)
        .contains(&seconds)
        .then(|| Timestamp::from_micros((seconds * 1_000_000.0).round() as i64))
}
