//! H2, H6, H12: one request is not two, whatever it says of its length; and no line of ours breaks at what it says.

use super::{Database, Rows, Service};
use crate::support::{Raw, SOON, eventually};

/// What a smuggler wants to have answered.
const SECOND: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

const BODY: &str = r#"{"description": "d"}"#;
const CHUNKED: &str = "14\r\n{\"description\": \"d\"}\r\n0\r\n\r\n";

/// The statuses of all answers that come until the connection is closed.
async fn statuses(service: &Service, bytes: &[u8]) -> Vec<u16> {
    let mut raw: Raw = service.connect().await;
    // The server may have seen enough before the end.
    let _ = raw.send(bytes).await;
    let drained = tokio::time::timeout(2 * SOON, raw.drained()).await;
    drained.expect("the connection is closed in time");
    let came = String::from_utf8_lossy(raw.unread()).into_owned();
    came.match_indices("HTTP/1.1 ")
        .filter_map(|(at, name)| came[at + name.len()..].get(..3)?.parse().ok())
        .collect()
}

/// A POST with these lines and this body, and a second request behind it.
fn post(key: &str, lines: &str, body: &str) -> Vec<u8> {
    let first = "POST /conversations/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    format!("{first}\r\n{key}\r\n{lines}\r\n\r\n{body}{SECOND}").into_bytes()
}

/// H6, H12: one answer at most, and no success
pub(super) async fn what_is_framed_oddly_is_refused_and_nothing_after_it_is_answered(on: Database) {
    let Some(service) = on
        .service_with(&[("HEADER_TIMEOUT_S", "1"), ("BODY_TIMEOUT_S", "1")])
        .await
    else {
        return;
    };
    let key = service.key_line();
    let mut rows = Rows::default();
    for (lines, body) in [
        ("Content-Length: 20\r\nContent-Length: 21", BODY),
        ("Content-Length: 20, 20", BODY),
        ("Content-Length: +20", BODY),
        ("Content-Length: -20", BODY),
        ("Content-Length: 0x14", BODY),
        ("Content-Length: 2 0", BODY),
        ("Content-Length: ", BODY),
        ("Content-Length: 18446744073709551636", BODY),
        ("Content-Length : 20", BODY),
        ("Content-Length\t: 20", BODY),
        (" Content-Length: 20", BODY),
        ("Content-Length:\r\n 20", BODY),
        ("Content-Length: 20\r\n folded: x", BODY),
        ("Content-Length: 20\0", BODY),
        ("Content Length: 20", BODY),
        (": 20", BODY),
        ("Content-Length", BODY),
        ("X: a\rTransfer-Encoding: chunked", CHUNKED),
        ("Transfer-Encoding: chunked, chunked", CHUNKED),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            CHUNKED,
        ),
        (
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            CHUNKED,
        ),
        ("Transfer-Encoding: gzip, chunked", CHUNKED),
        ("Transfer-Encoding: identity, chunked", CHUNKED),
        ("Transfer-Encoding: chunked, identity", CHUNKED),
        ("Transfer-Encoding: identity", BODY),
        ("Transfer-Encoding: xchunked", CHUNKED),
        ("Transfer-Encoding: chunked;x=y", CHUNKED),
        ("Transfer-Encoding: \"chunked\"", CHUNKED),
        ("Transfer-Encoding: \u{b}chunked", CHUNKED),
        ("Transfer-Encoding: ,chunked", CHUNKED),
        ("Transfer-Encoding:\r\n chunked", CHUNKED),
        ("Transfer-Encoding : chunked", CHUNKED),
        ("Transfer-Encoding: \r\nContent-Length: 20", BODY),
        (
            "Transfer-Encoding: chunked",
            "0x14\r\n{\"description\": \"d\"}\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "+14\r\n{\"description\": \"d\"}\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "14\n{\"description\": \"d\"}\n0\n\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "14;a\nb\r\n{\"description\": \"d\"}\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "14\r\n{\"description\": \"d\"}\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "13\r\n{\"description\": \"d\"}\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "1 4\r\n{\"description\": \"d\"}\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "ffffffffffffffff1\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "14\r\n{\"description\": \"d\"}\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "14\r\n{\"description\": \"d\"}\r\n-1\r\n\r\n",
        ),
    ] {
        let answered = statuses(&service, &post(&key, lines, body)).await;
        let refused = matches!(answered[..], [] | [400 | 408 | 413 | 415 | 431]);
        rows.equal(format!("{lines:?} {body:?}: {answered:?}"), refused, true);
    }
    let old = format!(
        "POST /conversations/ HTTP/1.0\r\n{key}\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKED}{SECOND}"
    );
    let answered = statuses(&service, old.as_bytes()).await;
    rows.equal("chunks in HTTP/1.0", matches!(answered[..], [] | [400]), true);
}

/// H6, H7: control: what has one meaning, and so the second request is one
pub(super) async fn what_is_framed_plainly_is_answered_and_so_is_what_follows(on: Database) {
    let service = on.service().await;
    let key = service.key_line();
    let mut rows = Rows::default();
    for (lines, body, expected) in [
        ("Content-Length: 20", BODY, [201, 200].as_slice()),
        ("Content-Length: 0020", BODY, &[201, 200]),
        ("Content-Length:20", BODY, &[201, 200]),
        ("Content-Length: 20\r\nContent-Length: 20", BODY, &[201, 200]),
        ("Transfer-Encoding: chunked", CHUNKED, &[201, 200]),
        ("transfer-encoding: CHUNKED", CHUNKED, &[201, 200]),
        (
            "Transfer-Encoding: chunked",
            "14;name=value\r\n{\"description\": \"d\"}\r\n0\r\n\r\n",
            &[201, 200],
        ),
        (
            "Transfer-Encoding: chunked",
            "14\r\n{\"description\": \"d\"}\r\n0\r\nTrailer: x\r\n\r\n",
            &[201, 200],
        ),
        // Both framings: chunks count, and whoever thinks otherwise finds the connection closed.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", CHUNKED, &[201]),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", CHUNKED, &[201]),
    ] {
        let answered = statuses(&service, &post(&key, lines, body)).await;
        rows.equal(format!("{lines:?} {body:?}"), answered.as_slice(), expected);
    }
    // A line feed alone ends a line of a head, as RFC 9112 lets it.
    let bare = format!("GET /livez HTTP/1.1\nHost: localhost\n\n{SECOND}");
    rows.equal(
        "bare line feeds",
        statuses(&service, bare.as_bytes()).await,
        vec![200, 200],
    );
}

/// H2: neither an answer's head nor the log
pub(super) async fn nothing_that_a_client_names_a_request_breaks_a_line(on: Database) {
    let Some(service) = on.service_with(&[]).await else {
        return;
    };
    let mut rows = Rows::default();
    let huge = "x".repeat(10_000);
    for id in [
        "canary\rSet-Cookie: a=b",
        "canary\r\nSet-Cookie: a=b",
        "canary\nSet-Cookie: a=b",
        "canary\u{1b}[31m",
        "canary\u{7}",
        "canary\0",
        "canary\u{7f}",
        "canary-\u{fc}",
        "canary \u{2028}",
        "canary\" status=200",
        &huge,
    ] {
        let request = format!(
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n"
        );
        let mut raw = service.connect().await;
        raw.send(request).await.expect("a request to send");
        let answer = raw.answer().await.expect("an answer");
        let named = answer.header("x-request-id");
        // The library refuses some heads by itself; a line break of the client's makes two headers of one.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_ours = answer.status == 400 || named == "canary" || !named.starts_with("canary");
        rows.equal(
            format!("{id:.40?}: {named:?}"),
            is_ours && named.bytes().all(plain),
            true,
        );
        rows.equal(
            format!("{id:.40?}"),
            answer.headers.contains_key("set-cookie"),
            false,
        );
    }
    service.get("/readyz").await.expect(200);
    let log = eventually("the last request is logged", SOON, async || {
        let log = service.server().stderr();
        log.contains("/readyz").then_some(log)
    })
    .await;
    for wrong in ["\u{1b}", "Set-Cookie", "canary-", "canary\\", "xxxxxxxxxx"] {
        rows.equal(format!("{wrong:?} in the log"), log.contains(wrong), false);
    }
    rows.equal(
        "control: the log has the requests",
        log.contains("route=\"/livez\""),
        true,
    );
}
