//! Methods and paths, without a key: `GET /conversations/{conversation}`.

use super::escaped;
use crate::{engine::Trial, peer::Peer};

pub(super) const WORDS: &[&str] = &[
    "GET ",
    "HEAD ",
    "OPTIONS ",
    "POST ",
    "PUT ",
    "PATCH ",
    "DELETE ",
    "TRACE ",
    "/",
    "//",
    "/conversations",
    "/{conversation}",
    "/messages",
    "/{message}",
    "/create",
    "/reply",
    "/attempts",
    "/cancel",
    "/retry",
    "/settings",
    "/delete",
    "/api/v1",
    "/livez",
    "/readyz",
    "/events",
    "%2F",
    "%2f",
    "%00",
    "%FF",
    "%2e%2e",
    "..",
    ".",
    "?",
    "#",
    ";",
    "%63",
    "11111111-1111-4111-8111-111111111111",
    "/keys",
];

pub(super) fn trial(mut peer: Peer) -> Trial {
    Box::new(move |input| {
        let input = peer.fill_in(input);
        let (method, path) = match input.iter().position(|byte| *byte == b' ') {
            Some(end) => (&input[..end], &input[end + 1..]),
            None => (b"GET".as_slice(), input.as_slice()),
        };
        let target = escaped(path);
        let request = [
            method,
            b" ",
            &target,
            b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        ]
        .concat();
        // Empty lines before a request are none of it (RFC 9112, 2.2).
        let start = method.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        let method = &method[start..];
        let answer = peer.exchange(&request, method != b"HEAD")?;
        let target = String::from_utf8_lossy(&target);
        let is_read = [b"GET".as_slice(), b"HEAD", b"OPTIONS"].contains(&method);
        // What a route can do is said of every id, be it one or not.
        let shortest = if method == b"OPTIONS" { 1 } else { 32 };
        match answer.status {
            200..=299 if !is_read => Err(format!("a {} without a key", answer.status)),
            200..=299 if !is_known(&target, shortest) => {
                Err(format!("a {} where nothing is: {target}", answer.status))
            }
            100..=199 | 300..=399 => Err(format!("a {}", answer.status)),
            _ => Ok(()),
        }
    })
}

/// Whether there is a route of this form. What stands for an id may be written in many ways, what stands in the route only in one.
fn is_known(target: &str, shortest: usize) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = without_origin(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let inner = path.strip_prefix("/api/v1").unwrap_or(path);
    let fits = |route: &str| {
        let (mut given, mut named) = (inner.split('/'), route.split('/'));
        loop {
            match (given.next(), named.next()) {
                (None, None) => return true,
                (Some(given), Some(named)) if given == named => {}
                (Some(given), Some(named)) if named.starts_with('{') && given.len() >= shortest => {}
                _ => return false,
            }
        }
    };
    // Those that tell how the process is have one segment, and no prefix.
    let is_about_the_process = path != "/conversations" && path.matches('/').count() == 1;
    is_about_the_process || engagement::http::table().iter().any(|route| fits(route.path))
}

/// A target may name the service, in letters of either case.
fn without_origin(target: &str) -> &str {
    ["http://localhost", "https://localhost"]
        .into_iter()
        .find_map(|origin| {
            let (start, path) = target.split_at_checked(origin.len())?;
            start.eq_ignore_ascii_case(origin).then_some(path)
        })
        .unwrap_or(target)
}
