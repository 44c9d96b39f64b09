//! Heads, and where bodies end.

use super::{Case, case, post_with};

/// Request lines.
pub(super) fn heads() -> impl Iterator<Item = Case> {
    let long = "x".repeat(70_000);
    let lines = [
        "",
        " ",
        "GET",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET / HTTP/3",
        "GET / HTTP/11",
        "GET / HTTP/1.",
        "GET / HTTP/a.b",
        "GET / http/1.1",
        "GET / HTTPS/1.1",
        "GET / ICY/1.1",
        "GET\t/\tHTTP/1.1",
        "GET / HTTP/1.1\0",
        "G\0T / HTTP/1.1",
        "GET \0 HTTP/1.1",
        "GET /\u{1}",
        "G{T / HTTP/1.1",
        "G@T / HTTP/1.1",
        "GÉT / HTTP/1.1",
        "GET /é HTTP/1.1",
        "get / HTTP/1.1",
        "FOO / HTTP/1.1",
        "TRACE / HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "PRI * HTTP/2.0",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "GET x HTTP/1.1",
        "GET ?x HTTP/1.1",
        "GET # HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://other/ HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET //a HTTP/1.1",
        "GET http://[::1 HTTP/1.1",
        "GET http://a:99999/ HTTP/1.1",
        "GET http://u:p@a/ HTTP/1.1",
        "HEAD / HTTP/1.1",
        "-1 / HTTP/1.1",
        "GET / HTTP/1.1\r",
        "GET /\r/ HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
    ];
    let long_ones = [
        format!("GET /{long} HTTP/1.1"),
        format!("{long} / HTTP/1.1"),
        format!("GET / {long}"),
        long,
    ];
    let lines = lines.into_iter().map(str::to_owned).chain(long_ones);
    lines.map(|line| {
        case(
            "request line",
            format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n"),
            None,
        )
    })
}

/// Header lines of an otherwise good GET.
pub(super) fn headers() -> impl Iterator<Item = Case> {
    let many = "A: b\r\n".repeat(2_000);
    let long = format!("A: {}", "x".repeat(70_000));
    let lines: [(&str, Option<u16>); 44] = [
        ("Host: a\r\nHost: a", Some(400)),
        ("Host: a\r\nhost: b", Some(400)),
        ("Host:", Some(400)),
        ("Host: a b", Some(400)),
        ("Host: a_b", Some(400)),
        ("Host: <a>", Some(400)),
        ("Host: a/b", Some(400)),
        ("Host: a@b", Some(400)),
        ("Host: a:b", Some(400)),
        ("Host: a:", Some(400)),
        ("Host: a:999999", Some(400)),
        ("Host: [::1", Some(400)),
        ("Host: é", Some(400)),
        ("X: y", Some(400)),
        ("Host: a\r\n: x", None),
        ("Host: a\r\nNo colon", None),
        ("Host: a\r\nA : b", None),
        ("Host: a\r\nA\t: b", None),
        ("Host: a\r\n folded", None),
        ("Host: a\r\nA: b\r\n\tfolded", None),
        (" Host: a", None),
        ("Host: a\r\nA: \0", None),
        ("Host: a\r\nA: \u{1}", None),
        ("Host: a\r\nA: \u{7f}", None),
        ("Host: a\r\nA\0: b", None),
        ("Host: a\r\nÉ: b", None),
        ("Host: a\r\nA(: b", None),
        ("Host: a\r\nA: b\rC: d", None),
        ("Host: a\nA: b", None),
        ("Host: a\r\nA: é", Some(404)),
        ("Host: a\r\nA:", Some(404)),
        ("Host: a\r\nX-Request-Id: \u{1b}[31m", None),
        ("Host: a\r\nX-Request-Id: é", Some(404)),
        ("Host: a\r\nX-Request-Id:", Some(404)),
        ("Host: a\r\nX-API-Key:\r\nX-API-Key: b", Some(404)),
        ("Host: a\r\nAccept: text/html", Some(404)),
        ("Host: a\r\nAccept-Encoding: gzip;q=nan", Some(404)),
        ("Host: a\r\nConnection: close, , keep-alive,\u{b}", None),
        ("Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket", Some(404)),
        (
            "Host: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
            Some(404),
        ),
        ("Host: a\r\nTE: trailers, x", Some(404)),
        (
            "Host: a\r\nOrigin: null\r\nAccess-Control-Request-Method: \"",
            Some(404),
        ),
        ("Host: a\r\nRange: bytes=9-1", Some(404)),
        ("Host: a\r\nIf-None-Match: \"", Some(404)),
    ];
    let others = [
        format!("Host: a\r\n{many}"),
        format!("Host: a\r\n{long}"),
        format!("Host: {}", "a".repeat(9_000)),
    ];
    let others = others.into_iter().map(|lines| (lines, None));
    let lines = lines
        .into_iter()
        .map(|(lines, expected)| (lines.to_owned(), expected))
        .chain(others);
    lines.map(|(lines, expected)| {
        case(
            "headers",
            format!("GET /nope HTTP/1.1\r\n{lines}\r\n\r\n"),
            expected,
        )
    })
}

/// Where a body ends.
pub(super) fn framing() -> impl Iterator<Item = Case> {
    let lengths = [
        "-1",
        "+1",
        "1 ",
        "1,1",
        "1, 2",
        "",
        " ",
        "0x10",
        "1e3",
        "1.0",
        "٣",
        "abc",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
        "00",
        "2147483648",
        "9999999",
    ];
    let lengths = lengths.map(|length| post_with(&format!("Content-Length: {length}\r\n"), b"{}"));
    let two_lengths = [
        "2\r\nContent-Length: 3",
        "2\r\nContent-Length: 2",
        "2\r\ncontent-length: -2",
    ];
    let two_lengths = two_lengths.map(|lengths| post_with(&format!("Content-Length: {lengths}\r\n"), b"{}"));
    let encodings = [
        "chunked, chunked",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "identity",
        "",
        "xchunked",
        "chunked;q=1",
        "\"chunked\"",
        "CHUNKED",
        "chunked\r\nContent-Length: 2",
        "chunked\r\nTransfer-Encoding: identity",
        " chunked",
        "\u{b}chunked",
    ];
    let encodings = encodings.map(|encoding| {
        post_with(
            &format!("Transfer-Encoding: {encoding}\r\n"),
            b"2\r\n{}\r\n0\r\n\r\n",
        )
    });
    let chunks = [
        "x\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n",
        "2{}\r\n0\r\n\r\n",
        "2\n{}\n0\n\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}x\r\n",
        "ffffffffffffffff\r\n",
        "fffffffffffffffff\r\n{}",
        "2;a=b\r\n{}\r\n0\r\n\r\n",
        "2;\0\r\n{}\r\n0\r\n\r\n",
        "2 \r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "0\r\nTrailer: x\r\n\r\n",
        "0\r\nbad trailer\r\n\r\n",
        "0\r\n\0\r\n\r\n",
        "00000000000000000000002\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n",
        "0\r\n",
        "é\r\n",
    ];
    let chunks = chunks.map(|chunks| post_with("Transfer-Encoding: chunked\r\n", chunks.as_bytes()));
    let long_extension = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(100_000));
    let long_trailer = format!("0\r\nA: {}\r\n\r\n", "x".repeat(100_000));
    let long_ones = [long_extension, long_trailer];
    let long_ones = long_ones.map(|chunks| post_with("Transfer-Encoding: chunked\r\n", chunks.as_bytes()));
    let expectations = ["100-continue", "200-maybe", "", "100-continue, 100-continue"];
    let expectations =
        expectations.map(|value| post_with(&format!("Expect: {value}\r\nContent-Length: 2\r\n"), b"{}"));
    let all = lengths
        .into_iter()
        .chain(two_lengths)
        .chain(encodings)
        .chain(chunks)
        .chain(long_ones)
        .chain(expectations);
    all.map(|bytes| case("framing", bytes, None))
}
