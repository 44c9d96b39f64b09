//! Headers that say who is asking, and which try it is: the input is lines of a head.

use crate::{
    engine::Trial,
    peer::{KEY, Peer, find},
    wire,
};

pub(super) const WORDS: &[&str] = &[
    "X-API-Key: ",
    "{key}",
    "Authorization: ",
    "Bearer ",
    "bearer ",
    "ApiKey ",
    "Basic ",
    "Idempotency-Key: ",
    "\"",
    "\n",
    " ",
    "\t",
    ",",
    "eng_live_",
    "eng_test_",
    "X_API_Key: ",
    "x-api-key:",
    "Content-Length: 0\n",
    "Transfer-Encoding: chunked\n",
    "Cookie: ",
];

/// Says nothing about the key.
const BODY: &str = r#"{"description": "d"}"#;

pub(super) fn trial(mut peer: Peer) -> Trial {
    Box::new(move |input| {
        let lines = peer.fill_in(input);
        let mut head = format!(
            "POST /conversations/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            BODY.len()
        )
        .into_bytes();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            head.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(BODY.as_bytes());
        let came = peer.send(&head)?;
        let answers = wire::judge_all(&came, find(&head, b"HEAD ").is_some())?;
        let Some(answer) = answers.first() else {
            return Ok(());
        };
        let has_key = find(&lines, KEY.as_bytes()).is_some();
        let is_plain = lines == format!("X-API-Key: {KEY}").as_bytes();
        match answer.status {
            201 if !has_key => Err("something was made without the key".to_owned()),
            other if is_plain && other != 201 => Err(format!("a {other} to the key")),
            200..=399 if answer.status != 201 => Err(format!("a {} to a post", answer.status)),
            _ => Ok(()),
        }
    })
}
