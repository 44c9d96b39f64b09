//! More than two hundred requests that no well-behaved client sends.

mod content;
mod frame;

use crate::support::DEFAULT_KEY;

/// What to send, and with what status it must be answered where that is one certain status.
#[derive(Debug, Clone)]
pub(in crate::faults) struct Case {
    pub(in crate::faults) what: String,
    pub(in crate::faults) bytes: Vec<u8>,
    pub(in crate::faults) expected: Option<u16>,
}

fn case(what: impl Into<String>, bytes: impl Into<Vec<u8>>, expected: Option<u16>) -> Case {
    Case {
        what: what.into(),
        bytes: bytes.into(),
        expected,
    }
}

/// A POST with this body, framed as it should be.
fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {DEFAULT_KEY}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A POST with these further header lines and whatever follows the head.
fn post_with(lines: &str, rest: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /conversations/ HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {DEFAULT_KEY}\r\n\
         Content-Type: application/json\r\n{lines}\r\n"
    );
    [head.as_bytes(), rest].concat()
}

/// Requests that are as they should be, for others to spoil.
pub(in crate::faults) fn good(conversation: &str) -> Vec<Vec<u8>> {
    vec![
        post("/conversations/", br#"{"title": "t", "description": "d"}"#),
        post(&format!("/conversations/{conversation}/messages/create"), br#"{"text": "t", "role": "user"}"#),
        post_with("Transfer-Encoding: chunked\r\n", b"4\r\n{\"d\"\r\n0\r\n\r\n"),
        format!("GET /conversations/{conversation}/messages?page=2&page_size=5&q=%C3%A9 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .into(),
        format!("DELETE /conversations/{conversation}/delete HTTP/1.1\r\nHost: a\r\nX-API-Key: {DEFAULT_KEY}\r\n\r\n").into(),
    ]
}

/// The whole corpus.
pub(in crate::faults) fn cases(conversation: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(frame::heads());
    cases.extend(frame::headers());
    cases.extend(frame::framing());
    cases.extend(content::bodies(conversation));
    cases.extend(content::targets(conversation));
    cases.extend(content::queries(conversation));
    cases.extend(content::cut_short(conversation));
    cases
}
