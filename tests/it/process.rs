//! The process as its supervisor sees it: signals, health, logs.

use std::fs;
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Answer, Raw, SOON, Server, eventually};

/// The lines of the log with this in them, once there is one.
async fn lines_with(server: &Server, what: &str) -> Vec<String> {
    eventually(&format!("a line with {what}"), SOON, async || {
        let lines: Vec<String> = server
            .log()
            .lines()
            .filter(|line| line.contains(what))
            .map(str::to_owned)
            .collect();
        (!lines.is_empty()).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn either_signal_ends_the_process_well() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let mut server = Server::start().await;
        server.client().conversation("before the end").await;
        server.signal(signal);
        let status = server.wait_exit(SOON).await;
        assert_eq!(status.code(), Some(0), "{name}");
        for said in [server.log(), server.stderr()] {
            assert!(
                said.contains(name) && said.trim_end().ends_with("stopped"),
                "{said}"
            );
        }
        // The log was moved into the database, which is one file again.
        assert!(!server.home().path().join("engagement.db-wal").exists(), "{name}");
    }
}

#[tokio::test]
async fn health_tells_life_and_readiness() {
    let mut server = Server::start().await;
    let client = server.client().anonymous();
    for path in ["/livez", "/readyz"] {
        assert_eq!(client.get(path).await.expect(200)["status"], "ok", "{path}");
    }
    // A request that is still coming keeps the process alive long enough to ask.
    let mut raw = Raw::connect(server.address()).await;
    let mut asking = Raw::connect(server.address()).await;
    raw.send("POST /conversations/ HTTP/1.1\r\nHost: a\r\nX-API-Key: neuRealities_assessment\r\n")
        .await
        .expect("bytes");
    asking
        .send("GET /readyz HTTP/1.1\r\n")
        .await
        .expect("half a head");
    server.terminate();
    lines_with(&server, "stopping").await;
    asking.send("Host: a\r\n\r\n").await.expect("the other half");
    let answer = asking.answer().await.expect("an answer");
    assert_eq!(answer.expect(503)["checks"]["process"], "stopping");
    assert_eq!(answer.header("connection"), "close");
    drop(raw);
    server.wait_exit(2 * SOON).await;
}

#[tokio::test]
async fn a_request_id_is_repeated_if_it_is_a_plain_one() {
    let server = Server::start().await;
    let client = server.client();
    let ask =
        async |id: &str| Answer::of(client.request(Method::GET, "/livez").header("x-request-id", id)).await;
    let longest = "x".repeat(64);
    for id in ["a", "A-b_c.9", &longest] {
        assert_eq!(ask(id).await.header("x-request-id"), id);
    }
    let too_long = "x".repeat(65);
    for id in ["", "a b", "a/b", "\u{e9}", "<a>", &too_long] {
        let answer = ask(id).await;
        let own = answer.header("x-request-id");
        assert!(!own.is_empty() && own != id, "{id:?} became {own:?}");
    }
    let (first, second) = (client.get("/livez").await, client.get("/livez").await);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test]
async fn each_request_and_each_reply_is_one_line_of_text() {
    let server = Server::start().await;
    let client = server.client();
    let conversation = client.conversation("told").await;
    let path = format!("/conversations/{conversation}/messages/create");
    let request = client
        .request(Method::POST, &path)
        .header("x-request-id", "told-in-text");
    let message = Answer::of(request.json(&json!({ "text": "hello", "role": "user" })))
        .await
        .expect(201);
    client
        .finished_reply(&conversation, message["message_id"].as_str().expect("an id"))
        .await;

    let [request] = &lines_with(&server, "told-in-text").await[..] else {
        panic!("one line")
    };
    for part in [
        "INFO",
        "method=\"POST\"",
        "route=\"/conversations/{conversation_id}/messages/create\"",
        "status=201",
        "duration_us=",
    ] {
        assert!(request.contains(part), "no {part} in {request}");
    }
    let [reply] = &lines_with(&server, "outcome=").await[..] else {
        panic!("one line")
    };
    for part in [
        "INFO",
        "outcome=\"succeeded\"",
        "attempts=1",
        "duration_us=",
        "conversation=#",
    ] {
        assert!(reply.contains(part), "no {part} in {reply}");
    }
    let [listening] = &lines_with(&server, "address=").await[..] else {
        panic!("one line")
    };
    assert!(listening.contains(&server.address().to_string()), "{listening}");
    assert!(!lines_with(&server, "migration=").await.is_empty());
}

#[tokio::test]
async fn json_lines_have_the_same_fields() {
    let server = Server::builder().env("LOG_FORMAT", "json").start().await;
    let client = server.client();
    let conversation = client.conversation("told").await;
    let message = client.message(&conversation, "user", "hello").await;
    client.finished_reply(&conversation, &message).await;
    let request = client
        .request(Method::GET, "/nope")
        .header("x-request-id", "told-in-json");
    Answer::of(request).await.expect(404);

    lines_with(&server, "\"outcome\"").await;
    lines_with(&server, "told-in-json").await;
    let lines: Vec<Value> = server
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect();
    for line in &lines {
        assert!(
            line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    let line_with = |field: &str, value: &str| {
        lines
            .iter()
            .find(|line| line[field] == value)
            .unwrap_or_else(|| panic!("no {field}={value}"))
    };
    let request = line_with("request_id", "told-in-json");
    assert_eq!(
        (&request["method"], &request["route"], &request["status"]),
        (&json!("GET"), &json!("(none)"), &json!(404))
    );
    assert!(request["duration_us"].is_u64(), "{request}");
    let reply = line_with("outcome", "succeeded");
    assert_eq!(
        (&reply["message"], &reply["attempts"]),
        (&json!("reply"), &json!(1))
    );
}

#[tokio::test]
async fn a_full_log_is_set_aside() {
    let server = Server::builder()
        .env("LOG_FILE_MAX_MIB", "1")
        .env("LOG_FILES_KEPT", "1")
        .start()
        .await;
    let logs = server.home().path().join("logs");
    let client = server.client();
    let size = |name: &str| fs::metadata(logs.join(name)).map_or(0, |file| file.len());
    // A line takes some 200 bytes; requests on one connection take well under a millisecond.
    let request =
        "GET /livez HTTP/1.1\r\nHost: a\r\nX-Request-Id: ".to_owned() + &"x".repeat(64) + "\r\n\r\n";
    let mut raw = Raw::connect(server.address()).await;
    let rotated = async {
        while size("engagement.log.1") == 0 {
            raw.send(request.repeat(50)).await.expect("requests");
            for _ in 0..50 {
                raw.answer().await.expect("an answer");
            }
        }
    };
    tokio::time::timeout(6 * SOON, rotated)
        .await
        .expect("a log that is set aside");
    client.get("/livez").await.expect(200);
    assert!(
        size("engagement.log.1") <= 1024 * 1024,
        "{}",
        size("engagement.log.1")
    );
    assert!(!logs.join("engagement.log.2").exists());
}

#[tokio::test]
async fn port_0_is_announced_as_what_it_became() {
    let (first, second) = (Server::start().await, Server::start().await);
    assert_ne!(first.address().port(), 0);
    assert_ne!(first.address(), second.address());
    eventually("both answer", Duration::from_secs(5), async || {
        let answers = [
            first.client().get("/livez").await.status,
            second.client().get("/livez").await.status,
        ];
        (answers == [200, 200]).then_some(())
    })
    .await;
}
