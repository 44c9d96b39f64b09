//! What clients know about the messages they sent, and whether the service agrees.
//!
//! Acknowledged: there exactly once. Refused: not there. Unknown, because no answer came or a 5xx: there at most once.
//! Whatever is there has exactly one reply, and nothing is there that nobody sent.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use super::{Proof, Violation, ensure};
use crate::support::{Answer, Client};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Unknown,
    Acked(String),
    Refused(u16),
}

#[derive(Debug, Clone)]
struct Entry {
    writer: usize,
    conversation: String,
    text: String,
    fate: Fate,
}

/// The notes of all clients. It lives in the test's process, which no fault hits.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Vec<Entry>>>);

/// The number of a note.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note(usize);

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a user message is sent.
    pub(super) fn sent(&self, writer: usize, conversation: &str, text: &str) -> Note {
        let mut entries = self.entries();
        let (conversation, text) = (conversation.to_owned(), text.to_owned());
        entries.push(Entry {
            writer,
            conversation,
            text,
            fate: Fate::Unknown,
        });
        Note(entries.len() - 1)
    }

    /// After its answer came.
    pub(super) fn answered(&self, note: Note, answer: &Answer) {
        let fate = match answer.status {
            201 => Fate::Acked(answer.json()["message_id"].as_str().expect("an id").to_owned()),
            status @ 400..500 => Fate::Refused(status),
            _ => Fate::Unknown,
        };
        self.entries()[note.0].fate = fate;
    }

    /// When the server is known not to have begun with it.
    pub(super) fn not_begun(&self, note: Note) {
        self.entries()[note.0].fate = Fate::Refused(0);
    }

    /// For controls: an acknowledgement that never was.
    pub(super) fn invent(&self, conversation: &str) {
        let note = self.sent(usize::MAX, conversation, "never sent");
        self.entries()[note.0].fate = Fate::Acked("00000000-0000-4000-8000-000000000001".to_owned());
    }

    pub(super) fn acked(&self) -> usize {
        self.entries()
            .iter()
            .filter(|entry| matches!(entry.fate, Fate::Acked(_)))
            .count()
    }

    /// The notes as they are now, apart.
    pub(super) fn copied(&self) -> Self {
        Self(Arc::new(Mutex::new(self.entries().clone())))
    }

    /// What is known of something that began when the notes were `before`, and was over when they were as they are: what
    /// was acknowledged by then is in it, what was sent since may be.
    pub(super) fn since(&self, before: &Self) -> Self {
        let then = before.entries();
        let mut entries = self.entries().clone();
        for (at, entry) in entries.iter_mut().enumerate() {
            let known = then.get(at).map(|entry| &entry.fate);
            if matches!(entry.fate, Fate::Acked(_)) && !matches!(known, Some(Fate::Acked(_))) {
                entry.fate = Fate::Unknown;
            }
        }
        Self(Arc::new(Mutex::new(entries)))
    }

    /// Of what each writer sent, one after the other, a beginning is there: whoever misses one that was acknowledged
    /// misses what came after it.
    pub(super) fn ensure_beginnings(&self, there: &HashSet<String>) -> Proof<()> {
        let mut missed: HashMap<usize, String> = HashMap::new();
        for entry in self.entries().iter() {
            let is_there = there.contains(&entry.text);
            if let Some(earlier) = missed.get(&entry.writer) {
                ensure(!is_there, || {
                    format!(
                        "a gap: {:.60} is there, {earlier:.60} before it is not",
                        entry.text
                    )
                })?;
            } else if !is_there && matches!(entry.fate, Fate::Acked(_)) {
                missed.insert(entry.writer, entry.text.clone());
            }
        }
        Ok(())
    }

    pub(super) fn conversations(&self) -> BTreeSet<String> {
        self.entries()
            .iter()
            .map(|entry| entry.conversation.clone())
            .collect()
    }

    fn by_conversation(&self) -> BTreeMap<String, Vec<Entry>> {
        let mut by_conversation: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in self.entries().iter() {
            by_conversation
                .entry(entry.conversation.clone())
                .or_default()
                .push(entry.clone());
        }
        by_conversation
    }

    /// Compares all that is known with what is read, of each conversation its messages in their order, and the replies to
    /// them by message, all of which have ended.
    pub(super) fn judge_read(
        &self,
        read: impl Fn(&str) -> (Vec<Value>, HashMap<String, Value>),
    ) -> Proof<Tally> {
        let mut tally = Tally::default();
        for (conversation, entries) in self.by_conversation() {
            let (messages, replies) = read(&conversation);
            tally.add(&judge_messages(&messages, &entries)?);
            tally.replies += replies.len();
            judge_replies(&messages, &replies)?;
        }
        Ok(tally)
    }

    /// Waits for the replies to end, then compares all that is there with all that is known.
    pub(super) async fn judge(&self, client: &Client, patience: Duration) -> Proof<Tally> {
        let deadline = Instant::now() + patience;
        let by_conversation = self.by_conversation();
        let mut tasks = JoinSet::new();
        for (conversation, entries) in by_conversation {
            let client = client.clone();
            tasks.spawn(async move { judge(&client, &conversation, &entries, deadline).await });
        }
        let mut tally = Tally::default();
        while let Some(judged) = tasks.join_next().await {
            tally.add(&judged.expect("a judge that ends")?);
        }
        Ok(tally)
    }
}

/// How much was compared.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) acked: usize,
    pub(super) unknown: usize,
    /// Of the unknown ones.
    pub(super) unknown_stored: usize,
    pub(super) refused: usize,
    pub(super) replies: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.unknown += other.unknown;
        self.unknown_stored += other.unknown_stored;
        self.refused += other.refused;
        self.replies += other.replies;
    }
}

async fn judge(client: &Client, conversation: &str, entries: &[Entry], deadline: Instant) -> Proof<Tally> {
    let mut replies = HashMap::new();
    let messages = all_messages(client, conversation).await?;
    judge_messages(&messages, entries)?;
    for message in messages {
        if message["role"] == "user" {
            let id = message["message_id"].as_str().expect("an id").to_owned();
            let reply = ended_reply(client, conversation, &id, deadline).await?;
            replies.insert(id, reply);
        }
    }
    let messages = all_messages(client, conversation).await?;
    let tally = judge_messages(&messages, entries)?;
    judge_replies(&messages, &replies)?;
    Ok(Tally {
        replies: replies.len(),
        ..tally
    })
}

/// Every message of the list, walked page by page.
async fn all_messages(client: &Client, conversation: &str) -> Proof<Vec<Value>> {
    let mut messages = Vec::new();
    for page in 1.. {
        let path = format!("/conversations/{conversation}/messages?page_size=100&page={page}");
        let answer = client.get(&path).await;
        ensure(answer.status == 200, || {
            format!("lost: {path} answers {}", answer.text())
        })?;
        let answer = answer.json();
        messages.extend(answer["results"].as_array().expect("results").iter().cloned());
        if answer["next"].is_null() {
            let count = answer["count"].as_u64();
            ensure(count == Some(messages.len() as u64), || {
                format!("miscounted: {count:?} of {} in {conversation}", messages.len())
            })?;
            break;
        }
    }
    Ok(messages)
}

async fn ended_reply(client: &Client, conversation: &str, message: &str, deadline: Instant) -> Proof<Value> {
    let path = format!("/conversations/{conversation}/messages/{message}/reply");
    loop {
        let answer = client.get(&path).await;
        let ended =
            answer.status == 200 && !matches!(answer.json()["status"].as_str(), Some("queued" | "running"));
        if ended {
            return Ok(answer.json());
        }
        ensure(Instant::now() < deadline, || {
            format!("unanswered in time: {path} is {}", answer.text())
        })?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn judge_messages(messages: &[Value], entries: &[Entry]) -> Proof<Tally> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, message) in messages
        .iter()
        .enumerate()
        .filter(|(_, message)| message["role"] == "user")
    {
        places
            .entry(message["text"].as_str().expect("a text"))
            .or_default()
            .push(place);
    }
    let mut tally = Tally::default();
    let mut last_of: HashMap<usize, usize> = HashMap::new();
    for entry in entries {
        let found = places.remove(entry.text.as_str()).unwrap_or_default();
        let shown = || format!("{:.60} of writer {}", entry.text, entry.writer);
        match &entry.fate {
            Fate::Acked(id) => {
                ensure(!found.is_empty(), || {
                    format!("lost: {} was acknowledged", shown())
                })?;
                ensure(found.len() == 1, || {
                    format!("doubled: {} is there {} times", shown(), found.len())
                })?;
                let place = found[0];
                let stored = messages[place]["message_id"].as_str();
                ensure(stored == Some(id), || {
                    format!("lost: {} was acknowledged as {id}", shown())
                })?;
                // A writer waits for each answer before it sends again, so its own order is known.
                let before = last_of.insert(entry.writer, place);
                ensure(before.is_none_or(|before| before < place), || {
                    format!("out of order: {}", shown())
                })?;
                tally.acked += 1;
            }
            Fate::Unknown => {
                ensure(found.len() <= 1, || {
                    format!("doubled: {} is there {} times", shown(), found.len())
                })?;
                tally.unknown += 1;
                tally.unknown_stored += found.len();
            }
            Fate::Refused(status) => {
                ensure(found.is_empty(), || {
                    format!("there although refused with {status}: {}", shown())
                })?;
                tally.refused += 1;
            }
        }
    }
    match places.keys().next() {
        None => Ok(tally),
        Some(text) => Err(Violation(format!("invented: nobody sent {text:.60}"))),
    }
}

fn judge_replies(messages: &[Value], replies: &HashMap<String, Value>) -> Proof<()> {
    let place_of: HashMap<&str, usize> = messages
        .iter()
        .enumerate()
        .filter_map(|(place, message)| Some((message["message_id"].as_str()?, place)))
        .collect();
    let answers = messages
        .iter()
        .filter(|message| message["role"] == "assistant")
        .count();
    ensure(answers <= replies.len(), || {
        format!("answered twice: {answers} answers to {} messages", replies.len())
    })?;
    let mut taken = HashSet::new();
    for (message, reply) in replies {
        let answer = reply["assistant_message_id"].as_str();
        let place = answer.and_then(|answer| place_of.get(answer)).copied();
        let Some(place) = place.filter(|_| reply["status"] == "succeeded") else {
            return Err(Violation(format!("unanswered: {message} has {reply}")));
        };
        ensure(taken.insert(place), || {
            format!("answered twice: one answer for {message} and another")
        })?;
        let asked = place_of[message.as_str()];
        ensure(asked < place, || {
            format!("out of order: {message} comes after its answer")
        })?;
        let expected = answer_to(messages[asked]["text"].as_str().expect("a text"));
        ensure(messages[place]["text"] == expected, || {
            format!("the answer to {message} is another's")
        })?;
    }
    Ok(())
}

/// The texts that [`super::load`] sends begin or end with what tells the built-in assistant's answers apart.
fn answer_to(text: &str) -> &'static str {
    if text.starts_with("hello ") {
        "Hello! How can I assist you today?"
    } else if text.ends_with('?') {
        "That's an interesting question. Let me think about that..."
    } else {
        "I understand. Can you tell me more about that?"
    }
}
