//! H6, H7, H8, E6: where a request begins and ends.

use std::io::ErrorKind;

use serde_json::json;

use super::{Database, NOBODY, Rows, assert_error, head};
use crate::support::SOON;

const BODY: &str = r#"{"description": "d"}"#;
const USUAL: [&str; 3] = [
    "POST /conversations/ HTTP/1.1",
    "Host: localhost",
    "Content-Type: application/json",
];

/// H6: lengths that are none, and lengths that agree
pub(super) async fn a_content_length_is_one_number(on: Database) {
    let service = on.service().await;
    let key = service.key_line();
    let mut rows = Rows::default();
    for (lengths, status) in [
        (["Content-Length: 20", "A: b"], 201),
        (["Content-Length: 20", "Content-Length: 20"], 201),
        (["Content-Length: 20", "Content-Length: 21"], 400),
        (["Content-Length: 21", "Content-Length: 20"], 400),
        (["Content-Length: -1", "A: b"], 400),
        (["Content-Length: +20", "A: b"], 400),
        (["Content-Length: abc", "A: b"], 400),
        (["Content-Length: 0x14", "A: b"], 400),
        (["Content-Length: 99999999999999999999", "A: b"], 400),
    ] {
        let lines = [&USUAL, lengths.as_slice(), &[&key]].concat();
        rows.equal(
            format!("{lengths:?}"),
            service.exchange(&lines, BODY).await.status,
            status,
        );
    }
    let lines = [
        &USUAL,
        ["Content-Length: 20", "X-Folded: a\r\n b", &key].as_slice(),
    ]
    .concat();
    rows.equal(
        "a folded header",
        service.exchange(&lines, BODY).await.status,
        400,
    );
}

/// H6: two framings
pub(super) async fn transfer_encoding_wins_over_content_length_and_the_connection_closes(on: Database) {
    let service = on.service().await;
    let key = service.key_line();
    let mut raw = service.connect().await;
    let lines = [
        &USUAL,
        [&key, "Content-Length: 5", "Transfer-Encoding: chunked"].as_slice(),
    ]
    .concat();
    raw.send(head(&lines)).await.expect("a head to send");
    raw.send(format!("14\r\n{BODY}\r\n0\r\n\r\n"))
        .await
        .expect("a body to send");

    raw.answer().await.expect("an answer").expect(201);
    assert!(raw.is_closed(SOON).await);
}

/// H7: chunks of any size
pub(super) async fn a_chunked_body_is_as_good_as_any(on: Database) {
    let service = on.service().await;
    let key = service.key_line();
    let lines = [&USUAL, [&key, "Transfer-Encoding: chunked"].as_slice()].concat();
    for size in [1, 7, 20] {
        let mut body = Vec::new();
        for chunk in BODY.as_bytes().chunks(size) {
            body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            body.extend([chunk, b"\r\n"].concat());
        }
        body.extend(b"0\r\n\r\n");
        let made = service.exchange(&lines, body).await.expect(201);
        assert_eq!(made["description"], "d");
    }
}

/// H7, E4: a body that does not come
pub(super) async fn a_body_that_takes_too_long_is_timed_out(on: Database) {
    let Some(service) = on.service_with(&[("BODY_TIMEOUT_S", "1")]).await else {
        return;
    };
    let key = service.key_line();
    let lines = [&USUAL, [&key, "Content-Length: 100"].as_slice()].concat();
    let answer = service.exchange(&lines, BODY).await;
    assert_error(
        &answer,
        408,
        &json!({ "detail": ["The request body took too long."] }),
    );
}

/// H7: a head that does not come
pub(super) async fn a_head_that_takes_too_long_ends_the_connection(on: Database) {
    let Some(service) = on.service_with(&[("HEADER_TIMEOUT_S", "1")]).await else {
        return;
    };
    let mut raw = service.connect().await;
    raw.send("GET /livez HTTP/1.1\r\nHost: loc")
        .await
        .expect("half a head to send");
    match raw.answer().await {
        Ok(answer) => assert_eq!(answer.status, 408),
        Err(error) => assert_ne!(error.kind(), ErrorKind::TimedOut, "the connection stays open"),
    }
}

/// H7: a later head has as long as the first, a pause between requests has longer
pub(super) async fn a_kept_connection_may_be_silent_but_not_stop_in_a_head(on: Database) {
    let Some(service) = on.service_with(&[("HEADER_TIMEOUT_S", "1")]).await else {
        return;
    };
    let whole = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (mut stops, mut pauses) = (service.connect().await, service.connect().await);
    for raw in [&mut stops, &mut pauses] {
        raw.send(whole).await.expect("a request to send");
        assert_eq!(raw.answer().await.expect("an answer").status, 200);
    }

    stops.send("GET /livez HT").await.expect("half a head to send");

    let end = stops.answer().await.expect_err("no answer to half a head");
    assert_ne!(end.kind(), ErrorKind::TimedOut, "the connection stays open");
    // That took longer than a head may take, and the other connection has been silent all the while.
    pauses.send(whole).await.expect("a request to send");
    assert_eq!(pauses.answer().await.expect("an answer").status, 200);
}

/// H8: go on, if there is a reason to
pub(super) async fn a_client_that_asks_first_is_told_to_go_on(on: Database) {
    let service = on.service().await;
    let key = service.key_line();
    let lines = [
        &USUAL,
        [&key, "Content-Length: 20", "Expect: 100-continue"].as_slice(),
    ]
    .concat();
    let mut raw = service.connect().await;
    raw.send(head(&lines)).await.expect("a head to send");
    assert_eq!(raw.head().await.expect("an interim answer").0, 100);
    raw.send(BODY).await.expect("a body to send");
    raw.answer().await.expect("an answer").expect(201);
}

/// H8, E5: no body is asked for that will not be read
pub(super) async fn a_client_that_asks_first_is_refused_at_once(on: Database) {
    let service = on.service().await;
    let key = service.key_line();
    let nobody = format!("POST /conversations/{NOBODY}/messages/create HTTP/1.1");
    let [post, host, json] = USUAL;
    let expect = "Expect: 100-continue";
    let mut rows = Rows::default();
    for (lines, status) in [
        ([post, host, json, expect, "A: b", "Content-Length: 20"], 401),
        (
            [post, host, json, expect, "X-API-Key: wrong", "Content-Length: 20"],
            401,
        ),
        ([post, host, json, expect, &key, "Content-Length: 3000000"], 413),
        ([&nobody, host, json, expect, &key, "Content-Length: 20"], 404),
        (
            [
                post,
                host,
                "Content-Type: text/plain",
                expect,
                &key,
                "Content-Length: 20",
            ],
            415,
        ),
    ] {
        rows.equal(
            format!("{lines:?}"),
            service.exchange(&lines, "").await.status,
            status,
        );
    }
}

/// E6: whoever sends everything first can read the answer after
pub(super) async fn an_early_refusal_reaches_a_client_that_is_still_sending(on: Database) {
    let service = on.service().await;
    let key = service.key_line();
    let nobody = format!("POST /conversations/{NOBODY}/messages/create HTTP/1.1");
    let [post, host, json] = USUAL;
    let mut rows = Rows::default();
    for (case, lines, length, status) in [
        ("no key", [post, host, json, "A: b"], 2_000_000, 401),
        ("too large", [post, host, json, &key], 4_000_000, 413),
        (
            "no such conversation",
            [&nobody, host, json, &key],
            2_000_000,
            404,
        ),
        (
            "no JSON",
            [post, host, "Content-Type: text/plain", &key],
            2_000_000,
            415,
        ),
        (
            "no such path",
            ["POST /nope HTTP/1.1", host, json, &key],
            2_000_000,
            404,
        ),
        (
            "no such method",
            ["PUT /conversations/ HTTP/1.1", host, json, &key],
            2_000_000,
            405,
        ),
    ] {
        let declared = format!("Content-Length: {length}");
        let lines = [lines.as_slice(), &[&declared]].concat();
        rows.equal(
            case,
            service.exchange(&lines, vec![b'x'; length]).await.status,
            status,
        );
    }
}

/// H10: connections
pub(super) async fn a_connection_too_many_is_closed_at_once(on: Database) {
    let Some(service) = on.service_with(&[("MAX_CONNECTIONS", "1")]).await else {
        return;
    };
    let probe = head(&["GET /livez HTTP/1.1", "Host: localhost"]);
    let mut first = service.connect().await;
    first.send(&probe).await.expect("a request to send");
    first.answer().await.expect("an answer").expect(200);

    assert!(service.connect().await.is_closed(SOON).await);

    first.send(&probe).await.expect("a request to send");
    first.answer().await.expect("an answer").expect(200);
}
