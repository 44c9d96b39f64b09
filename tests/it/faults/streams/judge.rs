//! Whether what somebody saw is what happened.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::{Proof, Violation, ensure};
use crate::support::sse::{Ended, Event, Reader};
use crate::support::{Client, SOON};

/// Numbers rise, from one connection to the next, too.
pub(in crate::faults) fn rises(log: &[Event]) -> Proof<()> {
    let mut last = 0;
    for event in log {
        let Some(number) = event.number else { continue };
        ensure(number > last, || {
            format!("doubled: {number} after {last}, {event:?}")
        })?;
        last = number;
    }
    Ok(())
}

/// Somebody saw exactly what a latecomer is told, in the same bytes.
pub(in crate::faults) fn same(log: &[Event], told: &[Event]) -> Proof<()> {
    rises(log)?;
    let differs = log.iter().zip(told).position(|(seen, told)| seen != told);
    match differs.or_else(|| (log.len() != told.len()).then(|| log.len().min(told.len()))) {
        None => Ok(()),
        Some(at) => Err(Violation(format!(
            "missing: event {at} of {} was {:?}, and is told as {:?}, one of {}",
            log.len(),
            log.get(at),
            told.get(at),
            told.len()
        ))),
    }
}

/// Whether an assistant says that this is the end, which tests say in front of those who watch.
pub(in crate::faults) fn is_the_end(event: &Event) -> bool {
    &*event.name == "message.created" && event.payload()["message"]["text"] == "the end"
}

/// What a conversation holds when it is not asked for its events.
#[derive(Debug)]
pub(in crate::faults) struct Stored {
    /// The texts of messages, by their ids.
    texts: BTreeMap<String, String>,
    /// Replies by the message that they answer.
    replies: BTreeMap<String, Value>,
}

impl Stored {
    pub(in crate::faults) async fn read(client: &Client, conversation: &str) -> Self {
        let (mut texts, mut replies) = (BTreeMap::new(), BTreeMap::new());
        for number in 1.. {
            let path = format!("/conversations/{conversation}/messages?page_size=100&page={number}");
            let page = client.get(&path).await.expect(200);
            for message in page["results"].as_array().expect("messages") {
                let id = string(&message["message_id"]);
                if message["role"] == "user" {
                    let path = format!("/conversations/{conversation}/messages/{id}/reply");
                    replies.insert(id.clone(), client.get(&path).await.expect(200));
                }
                texts.insert(id, string(&message["text"]));
            }
            if page["next"].is_null() {
                break;
            }
        }
        Self { texts, replies }
    }

    /// How many replies ended so.
    pub(in crate::faults) fn count(&self, status: &str) -> usize {
        let replies = self.replies.values();
        replies.filter(|reply| reply["status"] == status).count()
    }

    /// Every reply is final, and the text of each, by the rule for those who watch, is the one that is stored.
    pub(in crate::faults) fn agrees_with(&self, log: &[Event]) -> Proof<()> {
        let told = Told::of(log)?;
        for (message, reply) in &self.replies {
            let status = string(&reply["status"]);
            let end = told.ends.get(message).map(String::as_str);
            ensure(end == Some(&format!("reply.{status}")), || {
                format!("unfinished: the reply to {message} is {status}, and told of as {end:?}")
            })?;
            let written = told.written.get(message).map_or("", String::as_str);
            match reply["assistant_message_id"].as_str() {
                Some(answer) => ensure(self.texts.get(answer).is_some_and(|text| text == written), || {
                    let stored = self.texts.get(answer);
                    format!("differs: {written:?} was told, and {stored:?} is stored")
                })?,
                None => ensure(
                    status != "succeeded" && written.trim().is_empty() || status == "failed",
                    || format!("differs: {written:?} was told of a reply without an answer, {reply}"),
                )?,
            }
        }
        Ok(())
    }
}

/// What the events say of each reply.
#[derive(Default)]
struct Told {
    /// The text since it last began.
    written: BTreeMap<String, String>,
    /// The name of the event that ended it, by its message.
    ends: BTreeMap<String, String>,
}

impl Told {
    fn of(log: &[Event]) -> Proof<Self> {
        let mut told = Self::default();
        let mut deleted = BTreeSet::new();
        for event in log {
            let payload = event.payload();
            let Some(message) = payload["message_id"].as_str().map(str::to_owned) else {
                continue;
            };
            ensure(!deleted.contains(&message), || {
                format!("told after it was deleted: {event:?}")
            })?;
            match &*event.name {
                "reply.queued" => {
                    told.ends.remove(&message);
                }
                "reply.started" => {
                    told.written.insert(message, String::new());
                }
                "reply.delta" => {
                    let written = told.written.get_mut(&message);
                    let written =
                        written.ok_or_else(|| Violation(format!("told before it began: {event:?}")))?;
                    written.push_str(payload["text"].as_str().expect("a text"));
                }
                "reply.succeeded" | "reply.failed" | "reply.cancelled" => {
                    let before = told.ends.insert(message, event.name.to_string());
                    ensure(before.is_none(), || format!("doubled: a second end, {event:?}"))?;
                }
                "message.deleted" => {
                    deleted.insert(message);
                }
                _ => {}
            }
        }
        Ok(told)
    }
}

/// Asks as a latecomer for everything up to the end of the reply to this message.
pub(in crate::faults) async fn told_to_a_latecomer(reader: &Reader, last: &str) -> Vec<Event> {
    let mut latecomer = reader.newcomer();
    let ended = latecomer
        .read_on("a latecomer is told everything", 3 * SOON, |event| {
            event.ends_reply_to(last)
        })
        .await;
    assert_eq!(ended, Ended::Found, "a latecomer is let in");
    latecomer.log
}

fn string(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no string: {value}"))
        .to_owned()
}
