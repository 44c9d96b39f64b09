//! The event after which a stream begins: `h` and what the header says, or `q` and what the query says.

use serde_json::Value;

use super::escaped;
use crate::{engine::Trial, peer::Peer, wire::Answer};

pub(super) const WORDS: &[&str] = &[
    "{event}", "h", "q", "0", "1", "9", "+", "-", " ", "\t", "%", "%30", "&after=", "\u{661}", "0x", "1e1",
    "_",
];

/// The longest path and query together, in bytes.
const LONGEST_TARGET: usize = 8 * 1024;

pub(super) fn trial(mut peer: Peer) -> Trial {
    let mut known = None;
    Box::new(move |input| {
        let known = match &mut known {
            Some(known) => known,
            none => none.insert(numbers(&peer.happened()?)),
        };
        let (Some(last), Some(middle)) = (known.last(), known.get(known.len() / 2)) else {
            return Err("nothing has happened".to_owned());
        };
        let input = String::from_utf8_lossy(input).replace("{event}", &middle.to_string());
        let Some(asked) = Asked::new(&input) else {
            return Ok(());
        };
        let answer = peer.exchange_until(&asked.request(&peer), true, |answer| {
            // From the last event on, there is nothing to wait for.
            let numbers = numbers(answer);
            asked.number >= Some(*last) || numbers.last().is_some_and(|number| number >= last)
        })?;
        let is_event = asked
            .number
            .is_some_and(|number| number == 0 || known.contains(&number));
        match (answer.status, asked.number) {
            (200, Some(number)) if number <= *last => judge(&answer, number, known),
            (200, Some(number)) => Err(format!("a stream after {number}, {last} being the last")),
            (200, None) if !asked.is_unclear => Err("a stream after what is no number".to_owned()),
            (414, _) if asked.is_long(&peer) => Ok(()),
            (400 | 414, _) if is_event => Err(format!("no stream after an event: {}", answer.text())),
            (200 | 400 | 414 | 431, _) => Ok(()),
            (other, _) => Err(format!("a {other} to an event's number")),
        }
    })
}

/// What an input asks for.
struct Asked {
    header: String,
    query: Vec<u8>,
    /// As HTTP and Django read it; `None` if it is no number.
    number: Option<u64>,
    /// It may be another one, in ways that are not for this to judge.
    is_unclear: bool,
}

impl Asked {
    fn new(input: &str) -> Option<Self> {
        let (header, query, given, is_unclear) = match (input.strip_prefix('q'), input.strip_prefix('h')) {
            (Some(query), _) => {
                let target = [b"?after=".as_slice(), &escaped(query.as_bytes())].concat();
                (String::new(), target, query, query.contains(['%', '&', '+', '#']))
            }
            // What ends the line would begin another header.
            (_, Some(header)) if !header.contains(['\r', '\n', '\0']) => {
                let line = format!("Last-Event-ID: {header}\r\n");
                (line, Vec::new(), header.trim_matches([' ', '\t']), false)
            }
            _ => return None,
        };
        let number = match given {
            _ if is_unclear => None,
            "" => Some(0),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().unwrap_or(u64::MAX))
            }
            _ => None,
        };
        Some(Self {
            header,
            query,
            number,
            is_unclear,
        })
    }

    fn request(&self, peer: &Peer) -> Vec<u8> {
        let end = format!(" HTTP/1.1\r\nHost: localhost\r\n{}\r\n", self.header);
        [b"GET ", self.target(peer).as_slice(), end.as_bytes()].concat()
    }

    fn target(&self, peer: &Peer) -> Vec<u8> {
        let path = format!("/conversations/{}/events", peer.conversation);
        [path.as_bytes(), &self.query].concat()
    }

    /// Whether the target is longer than any may be, however many zeros the number has.
    fn is_long(&self, peer: &Peer) -> bool {
        self.target(peer).len() > LONGEST_TARGET
    }
}

/// The events that are there whole.
fn whole(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    text.rsplit_once("\n\n")
        .map_or_else(String::new, |(whole, _)| whole.to_owned())
}

fn numbers(answer: &Answer) -> Vec<u64> {
    let whole = whole(answer);
    let ids = whole.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.filter_map(|id| id.parse().ok()).collect()
}

/// After an event comes all that happened after it, each once and in order.
fn judge(answer: &Answer, after: u64, known: &[u64]) -> Result<(), String> {
    let numbers = numbers(answer);
    let expected: Vec<u64> = known.iter().copied().filter(|number| *number > after).collect();
    if numbers != expected {
        return Err(format!("{numbers:?} after {after}"));
    }
    for data in whole(answer)
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
    {
        let event: Value =
            serde_json::from_str(data).map_err(|error| format!("an event that is no JSON: {error}"))?;
        if !event["conversation_id"].is_string() {
            return Err(format!("an event of nothing: {event}"));
        }
    }
    Ok(())
}
