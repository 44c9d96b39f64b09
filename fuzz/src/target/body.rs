//! JSON bodies. The first byte says of what: `c` makes a conversation, `p` changes one, `m` makes a message.

use serde_json::Value;

use crate::{
    engine::Trial,
    peer::{Peer, post, request},
    wire::Answer,
};

pub(super) const WORDS: &[&str] = &[
    "\"text\":",
    "\"role\":",
    "\"user\"",
    "\"assistant\"",
    "\"title\":",
    "\"description\":",
    "\"model\":",
    "\"instructions\":",
    "\"temperature\":",
    "\"top_p\":",
    "\"max_output_tokens\":",
    "\"busy\":",
    "\"wait\"",
    "\"cancel\"",
    "\"reject\"",
    "null",
    "true",
    "false",
    "{",
    "}",
    "[",
    "]",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\ud83d\\ude00",
    "\u{feff}",
    "\u{a0}",
    "\u{1c}",
    "\u{2003}",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "1e999",
    "NaN",
];

pub(super) fn trial(mut peer: Peer) -> Trial {
    Box::new(move |input| {
        let Some((what, body)) = input.split_first() else {
            return Ok(());
        };
        match what {
            b'p' => changed(&mut peer, body),
            b'm' => message(&mut peer, body),
            _ => conversation(&mut peer, body),
        }
    })
}

fn conversation(peer: &mut Peer, body: &[u8]) -> Result<(), String> {
    let answer = peer.exchange(&post("/conversations/", body), true)?;
    if is_refused(&answer, body, good_conversation)? {
        return Ok(());
    }
    same_texts(body, &answer.json()?, &["title", "description"])?;
    let place = read_again(peer, &answer)?;
    let gone = peer.exchange(&request("DELETE", &format!("{place}/delete"), b""), true)?;
    expect(&gone, 200)
}

fn message(peer: &mut Peer, body: &[u8]) -> Result<(), String> {
    let path = format!("/conversations/{}/messages/create", peer.conversation);
    let answer = peer.exchange(&post(&path, body), true)?;
    if is_refused(&answer, body, good_message)? {
        return Ok(());
    }
    same_texts(body, &answer.json()?, &["text", "role"])?;
    let place = read_again(peer, &answer)?;
    let gone = peer.exchange(&request("DELETE", &place, b""), true)?;
    expect(&gone, 204)
}

fn changed(peer: &mut Peer, body: &[u8]) -> Result<(), String> {
    let path = format!("/conversations/{}", peer.conversation);
    let answer = peer.exchange(&request("PATCH", &path, body), true)?;
    match answer.status {
        200 => same_texts(body, &answer.json()?, &["title", "description"]),
        400 => Ok(()),
        other => Err(format!("a {other} to a change")),
    }
}

/// Whether it is refused, which must not happen to what is plainly good.
fn is_refused(answer: &Answer, body: &[u8], is_good: fn(&Value) -> bool) -> Result<bool, String> {
    match answer.status {
        201 => Ok(false),
        400 => {
            // What is written again with the same bytes has no field twice.
            let plain: Option<Value> = serde_json::from_slice(body).ok();
            let plain = plain.filter(|value| serde_json::to_vec(value).is_ok_and(|again| again == body));
            if plain.is_some_and(|value| is_good(&value)) {
                return Err(format!("refused what is good: {}", answer.text()));
            }
            Ok(true)
        }
        other => Err(format!("a {other} to a body")),
    }
}

fn good_message(body: &Value) -> bool {
    let Some(fields) = body.as_object() else {
        return false;
    };
    fields.len() == 2
        && matches!(body["role"].as_str(), Some("user" | "assistant"))
        && is_good_text(&body["text"])
}

fn good_conversation(body: &Value) -> bool {
    let Some(fields) = body.as_object() else {
        return false;
    };
    fields.len() == 1 && is_good_text(&body["description"])
}

fn is_good_text(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| !trimmed(text).is_empty() && !text.contains('\0') && text.chars().count() <= 500)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// What was accepted was JSON, and what came of its texts are those texts.
fn same_texts(body: &[u8], made: &Value, fields: &[&str]) -> Result<(), String> {
    if body.is_empty() {
        return Ok(());
    }
    // A number that nobody asked for may be as large as it likes.
    serde_json::from_slice::<serde::de::IgnoredAny>(body)
        .map_err(|error| format!("accepted what is no JSON: {error}"))?;
    let Ok(given) = serde_json::from_slice::<Value>(body) else {
        return Ok(());
    };
    for field in fields {
        let (given, made) = (&given[*field], &made[*field]);
        let is_same = match given.as_str() {
            Some(given) => made.as_str() == Some(trimmed(given)),
            None => given.is_null(),
        };
        if !is_same {
            return Err(format!("{field} was {given} and became {made}"));
        }
    }
    Ok(())
}

/// What was made is found where it is said to be, and is the same. Gives the place.
fn read_again(peer: &mut Peer, made: &Answer) -> Result<String, String> {
    let place = made.header("location").ok_or("a 201 without a place")?.to_owned();
    let read = peer.exchange(&request("GET", &place, b""), true)?;
    expect(&read, 200)?;
    if read.json()? != made.json()? {
        return Err(format!("{} was made, {} is there", made.text(), read.text()));
    }
    Ok(place)
}

fn expect(answer: &Answer, status: u16) -> Result<(), String> {
    if answer.status == status {
        Ok(())
    } else {
        Err(format!(
            "a {} instead of {status}: {}",
            answer.status,
            answer.text()
        ))
    }
}
