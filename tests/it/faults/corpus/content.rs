//! Bodies and targets.

use super::{Case, case, good, post};
use crate::support::DEFAULT_KEY;

/// Bodies that are no good message.
pub(super) fn bodies(conversation: &str) -> Vec<Case> {
    let create = format!("/conversations/{conversation}/messages/create");
    let deep = "[".repeat(100_000);
    let deep_objects = "{\"a\":".repeat(10_000);
    let number = "9".repeat(100_000);
    let bodies: [&[u8]; 50] = [
        b"",
        b" ",
        b"null",
        b"true",
        b"1",
        b"1.5e999",
        b"\"text\"",
        b"[]",
        b"[{}]",
        b"{",
        b"}",
        b"{}",
        b"{}}",
        b"{} {}",
        b"{,}",
        b"{\"text\"}",
        b"{\"text\":}",
        b"{\"text\":\"a\",}",
        b"{'text':'a'}",
        b"{text:\"a\"}",
        b"{\"text\":\"a\" \"role\":1}",
        b"{\"text\":\"a\",\"text\":\"b\"}",
        b"{\"text\":NaN}",
        b"{\"text\":Infinity}",
        b"{\"text\":-}",
        b"{\"text\":01}",
        b"{\"text\":1}",
        b"{\"text\":null,\"role\":null}",
        b"{\"text\":[],\"role\":{}}",
        b"{\"text\":\"\",\"role\":\"user\"}",
        b"{\"text\":\" \\n\",\"role\":\"user\"}",
        b"{\"text\":\"\\u0000\",\"role\":\"user\"}",
        b"{\"text\":\"\\ud800\",\"role\":\"user\"}",
        b"{\"text\":\"\\udc00\\ud800\",\"role\":\"user\"}",
        b"{\"text\":\"\\u12\",\"role\":\"user\"}",
        b"{\"text\":\"\\x\",\"role\":\"user\"}",
        b"{\"text\":\"\0\",\"role\":\"user\"}",
        b"{\"text\":\"\n\",\"role\":\"user\"}",
        b"{\"text\":\"a\",\"role\":\"USER\"}",
        b"{\"text\":\"a\",\"role\":\"system\"}",
        b"{\"text\":\"\xff\",\"role\":\"user\"}",
        b"{\"text\":\"\xc0\x80\",\"role\":\"user\"}",
        b"{\"text\":\"\xed\xa0\x80\",\"role\":\"user\"}",
        b"{\"text\":\"\xf4\x90\x80\x80\",\"role\":\"user\"}",
        b"\xff\xfe{\0}\0",
        b"\xef\xbb\xbf{}",
        b"\x1f\x8b\x08\0\0\0\0\0",
        b"<message/>",
        b"text=a&role=user",
        b"{\"text\":\"a",
    ];
    let mut cases: Vec<Case> = bodies
        .into_iter()
        .map(|body| case("body", post(&create, body), Some(400)))
        .collect();
    cases.extend(
        [deep, deep_objects, number].map(|body| case("huge body", post(&create, body.as_bytes()), Some(400))),
    );
    let large = vec![b' '; 2 * 1024 * 1024 + 1];
    cases.push(case("a body too large", post(&create, &large), Some(413)));
    for kind in [
        "",
        "text/plain",
        "application/json; charset=utf-16",
        "application/jsonx",
        "multipart/form-data",
        "é",
        ";",
        "/",
    ] {
        let head = format!(
            "POST {create} HTTP/1.1\r\nHost: a\r\nX-API-Key: {DEFAULT_KEY}\r\nContent-Type: {kind}\r\n"
        );
        cases.push(case(
            "content type",
            format!("{head}Content-Length: 2\r\n\r\n{{}}"),
            Some(415),
        ));
    }
    for key in ["", "x", "é", "a\r\nX-API-Key: b", "\u{7f}", &"k".repeat(15_000)] {
        let head =
            format!("POST {create} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Length: 2\r\n\r\n{{}}");
        let expected = if key.contains('\u{7f}') { None } else { Some(401) };
        cases.push(case("key", head, expected));
    }
    cases
}

/// A GET of this target.
fn get(what: &str, target: &str, expected: Option<u16>) -> Case {
    case(
        what,
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        expected,
    )
}

/// Ids and paths, with escapes and without.
pub(super) fn targets(conversation: &str) -> Vec<Case> {
    let bare = conversation.replace('-', "");
    let ids = [
        "x",
        "%",
        "%2",
        "%zz",
        "%00",
        "%ff",
        "%2F",
        "%2e%2e",
        "..",
        ".",
        "0",
        "-1",
        "null",
        "{id}",
        "%7Bid%7D",
        "é",
        "%C3%A9",
        "%F0%9F%92%A9",
        "'%20OR%201=1--",
        "%22",
        "%5c",
        "%0d%0aX:y",
        "+",
        "*",
        "~",
        &bare,
        "urn:uuid:x",
        "00000000-0000-0000-0000-000000000000",
    ];
    let mut cases: Vec<Case> = Vec::new();
    for id in ids {
        cases.push(get(
            "conversation id",
            &format!("/conversations/{id}"),
            id.is_ascii().then_some(404),
        ));
        let path = format!("/conversations/{conversation}/messages/{id}");
        cases.push(get("message id", &path, id.is_ascii().then_some(404)));
    }
    for path in [
        "/",
        "//",
        "/conversations//",
        "//conversations",
        "/conversations/%2F",
        "/./conversations",
        "/conversations/..%2f..",
        "/api",
        "/api/v1",
        "/api/v2/conversations",
        "/api/v1/api/v1",
        "/livez/x",
        "/%",
        "/%00",
        "/\u{7f}",
    ] {
        cases.push(get("path", path, None));
    }
    cases
}

/// Queries.
pub(super) fn queries(conversation: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for query in [
        "page=0",
        "page=-1",
        "page=x",
        "page=",
        "page=1.5",
        "page=1e3",
        "page=99999999999999999999",
        "page=2147483648",
        "page=٣",
        "page=%00",
        "page=last",
        "page=+1",
    ] {
        // "last" is a page, and + is a space, which numbers may have around them.
        cases.push(get(
            "page",
            &format!("/conversations/{conversation}/messages?{query}"),
            None,
        ));
    }
    for query in [
        "page_size=0",
        "page_size=-1",
        "page_size=x",
        "page_size=99999999999999999999",
        "role=x",
        "role=",
        "role=%FF",
        "q=%",
        "q=%zz",
        "q=%ff",
        "q=%00",
        "q=%ED%A0%80",
        "q=%F0%9F",
        "&&&",
        "=",
        "=&=",
        "?",
        "q",
        "q=a&q=b",
        "%00=%00",
        "q=%27%22%3B--",
        "q=%25%5F%5C",
        "page_size=1&page_size=2",
        "format=xml",
        "[]",
        "q[]=a",
        "a=b;c=d",
    ] {
        cases.push(get(
            "query",
            &format!("/conversations/{conversation}/messages?{query}"),
            None,
        ));
        cases.push(get(
            "query",
            &format!("/conversations/{conversation}?{query}"),
            None,
        ));
    }
    cases.push(get(
        "a long q",
        &format!("/conversations/{conversation}/messages?q={}", "x".repeat(257)),
        Some(400),
    ));
    cases.push(get(
        "a long query",
        &format!("/conversations/{conversation}?q={}", "x".repeat(9_000)),
        Some(414),
    ));
    cases
}

/// The beginnings of good requests, and two at once.
pub(super) fn cut_short(conversation: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for good in good(conversation) {
        for part in 1..6 {
            cases.push(case("cut short", &good[..good.len() * part / 6], None));
        }
    }
    let [first, second, ..] = &good(conversation)[..] else {
        return cases;
    };
    cases.push(case(
        "two at once",
        [first.as_slice(), second].concat(),
        Some(201),
    ));
    cases.push(case(
        "one and nonsense",
        [first.as_slice(), b"\0\0\0\r\n\r\n"].concat(),
        Some(201),
    ));
    cases.push(case("many at once", first.repeat(20), Some(201)));
    cases
}
