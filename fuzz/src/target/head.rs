//! Heads, and whatever else comes over a connection: the input is all that a client ever sends.

use crate::{
    engine::Trial,
    peer::{KEY, Peer, find},
    wire,
};

pub(super) const WORDS: &[&str] = &[
    "GET ",
    "POST ",
    "HEAD ",
    "OPTIONS ",
    "DELETE ",
    "PATCH ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "\r\n",
    "\r\n\r\n",
    "Host: a\r\n",
    "Content-Length: ",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Content-Type: application/json\r\n",
    "X-API-Key: {key}\r\n",
    "Accept: text/event-stream\r\n",
    "Authorization: Bearer ",
    "Idempotency-Key: ",
    "Origin: http://a\r\n",
    "Forwarded: for=",
    "X-Forwarded-For: ",
    "X-Request-Id: ",
    "0\r\n\r\n",
    "/conversations/",
    "{conversation}",
    "/messages",
    "/livez",
    "http://",
    "Upgrade: h2c\r\n",
];

pub(super) fn trial(mut peer: Peer) -> Trial {
    Box::new(move |input| {
        let sent = peer.fill_in(input);
        let came = peer.send(&sent)?;
        let answers = wire::judge_all(&came, find(&sent, b"HEAD ").is_some())?;
        match answers.iter().find(|answer| answer.status == 201) {
            Some(_) if find(&sent, KEY.as_bytes()).is_none() => {
                Err("something was made without the key".to_owned())
            }
            _ => Ok(()),
        }
    })
}
