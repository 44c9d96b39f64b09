//! Whatever bytes come in: an answer in the service's own form or a closed connection, and the process lives on.

use std::net::SocketAddr;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::corpus::{self, Case};
use super::{Proof, Violation, ensure, fails, holds, new_home, number_from_env};
use crate::support::{SOON, Server};

/// How many connections are open at once.
const AT_ONCE: usize = 128;

#[derive(Debug, Default)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    requests: usize,
    answers: usize,
    closed_without_answer: usize,
}

/// Sends every case on a connection of its own and judges all that comes back until the server closes it.
async fn prove(address: SocketAddr, cases: &[Case]) -> Proof<Report> {
    let mut report = Report {
        requests: cases.len(),
        ..Report::default()
    };
    for batch in cases.chunks(AT_ONCE) {
        let mut tasks = JoinSet::new();
        for case in batch {
            let case = case.clone();
            tasks.spawn(async move { send(address, &case).await });
        }
        while let Some(sent) = tasks.join_next().await {
            match sent.expect("a client that ends")? {
                0 => report.closed_without_answer += 1,
                answers => report.answers += answers,
            }
        }
    }
    Ok(report)
}

async fn send(address: SocketAddr, case: &Case) -> Proof<usize> {
    let request = || format!("{} ({:.200})", case.what, String::from_utf8_lossy(&case.bytes));
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(|error| Violation(format!("dead: {error}")))?;
    // The server may have seen enough, answered and closed.
    let _ = stream.write_all(&case.bytes).await;
    let mut received = Vec::new();
    match timeout(2 * SOON, read_all(&mut stream, &mut received)).await {
        Ok(()) => {}
        Err(_) => return Err(Violation(format!("neither answered nor closed: {}", request()))),
    }
    let statuses = judge(&received, case.bytes.starts_with(b"HEAD "))
        .map_err(|broken| Violation(format!("{broken}: {}", request())))?;
    if let Some(expected) = case.expected {
        ensure(statuses.first() == Some(&expected), || {
            format!("{statuses:?} instead of {expected}: {}", request())
        })?;
    }
    Ok(statuses.len())
}

/// A reset after an answer is as good an end as any.
async fn read_all(stream: &mut TcpStream, came: &mut Vec<u8>) {
    while let Ok(length) = stream.read_buf(came).await
        && length > 0
    {}
}

/// Judges the answers on one connection, gives their statuses.
fn judge(mut came: &[u8], bodiless: bool) -> Proof<Vec<u16>> {
    let broken = |what: &str| Violation(format!("{what} in {:.300}", String::from_utf8_lossy(came)));
    let mut statuses = Vec::new();
    while !came.is_empty() {
        let end = came
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .ok_or_else(|| broken("a cut head"))?;
        let head = String::from_utf8_lossy(&came[..end]).to_ascii_lowercase();
        let status: Option<u16> = head.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status
            .filter(|_| head.starts_with("http/1."))
            .ok_or_else(|| broken("no status"))?;
        let header = |name: &str| {
            head.lines().find_map(|line| {
                line.strip_prefix(name)?
                    .strip_prefix(':')
                    .map(str::trim)
                    .map(str::to_owned)
            })
        };
        let length = header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        came = &came[end + 4..];
        if status < 200 {
            continue;
        }
        let length: usize = if bodiless { 0 } else { length };
        let body = came.get(..length).ok_or_else(|| broken("a cut body"))?;
        came = &came[length..];
        statuses.push(status);
        ensure(status < 500, || format!("a {status}"))?;
        // Where the HTTP library refuses a head by itself, it has nothing to say.
        let by_library = matches!(status, 400 | 414 | 431) && body.is_empty();
        if status >= 400 && !by_library && !bodiless {
            let is_json = header("content-type").is_some_and(|kind| kind == "application/json");
            let envelope: Option<Value> = serde_json::from_slice(body).ok().filter(|_| is_json);
            let fits = envelope.is_some_and(|envelope| {
                envelope["status"] == "error"
                    && envelope["code"] == status
                    && envelope["message"].is_string()
                    && envelope["details"].is_object()
            });
            ensure(fits, || format!("a {status} without the envelope"))?;
        }
    }
    Ok(statuses)
}

/// A server that does not wait long, something in it, and the cases that are about it.
async fn server() -> (Server, Vec<Case>) {
    let server = Server::builder()
        .env("HEADER_TIMEOUT_S", "1")
        .env("IDLE_TIMEOUT_S", "1")
        .env("BODY_TIMEOUT_S", "1")
        .start()
        .await;
    let client = server.client();
    let conversation = client.conversation("to be spoken to").await;
    let cases = corpus::cases(&conversation);
    (server, cases)
}

/// Nothing panicked, and the server goes on as if nothing had been.
async fn judge_after(server: &Server) -> Proof<()> {
    for said in [server.stderr(), server.log()] {
        ensure(!said.contains("panic"), || format!("a panic: {said}"))?;
    }
    ensure(server.client().get("/readyz").await.status == 200, || {
        "not ready any more".to_owned()
    })?;
    server.client().conversation("afterwards").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corpus_of_malformed_requests_does_no_harm() {
    let (server, cases) = server().await;
    assert!(cases.len() >= 200, "only {} cases", cases.len());
    let proof = prove(server.address(), &cases).await;
    let proof = match judge_after(&server).await {
        Ok(()) => proof,
        Err(violation) => Err(violation),
    };
    holds(proof, &new_home());
}

/// Cases made by chance, in batches, because a server may wait a second for what does not come.
fn prove_by_chance(strategy: &impl Strategy<Value = Vec<u8>>) {
    let runtime = Runtime::new().expect("a runtime");
    let (server, _) = runtime.block_on(server());
    let batches =
        u32::try_from(number_from_env("ENGAGEMENT_TEST_MALFORMED_BATCHES", 6)).expect("a small number");
    let config = Config {
        cases: batches,
        failure_persistence: None,
        max_shrink_iters: 64,
        ..Config::default()
    };
    let proof = TestRunner::new(config).run(&proptest::collection::vec(strategy, AT_ONCE), |batch| {
        let case = |bytes| Case {
            what: "by chance".to_owned(),
            bytes,
            expected: None,
        };
        let cases: Vec<Case> = batch.into_iter().map(case).collect();
        let proof = runtime.block_on(prove(server.address(), &cases));
        let alive = runtime.block_on(judge_after(&server));
        proof
            .and(alive)
            .map_err(|violation| TestCaseError::fail(violation.to_string()))
    });
    if let Err(failure) = proof {
        panic!("{failure}");
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let lines = proptest::collection::vec("[ -~]{0,40}", 0..8)
        .prop_map(|lines| (lines.join("\r\n") + "\r\n\r\n").into());
    prove_by_chance(&prop_oneof![bytes, lines]);
}

#[test]
fn good_requests_with_a_few_bytes_changed_do_no_harm() {
    let good = prop::sample::select(corpus::good("11111111-1111-4111-8111-111111111111"));
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6);
    prove_by_chance(&(good, changes).prop_map(|(mut bytes, changes)| {
        for (place, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match how {
                0 => bytes.insert(place, byte),
                1 => drop(bytes.remove(place)),
                2 => bytes.truncate(place.max(1)),
                _ => bytes[place] = byte,
            }
        }
        bytes
    }));
}

/// A server that reads once and then says this, or resets the connection.
async fn stub(answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = [0; 16];
            let _ = stream.read(&mut read).await;
            if let Some(answer) = answer {
                let _ = stream.write_all(answer.as_bytes()).await;
                while matches!(stream.read(&mut [0; 4096]).await, Ok(length) if length > 0) {}
            }
        }
    });
    server.detach_all();
    address
}

#[tokio::test]
async fn control_wrong_answers_are_seen() {
    let missing = Case {
        what: "a good one".to_owned(),
        bytes: b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        expected: Some(404),
    };
    for (answer, because) in [
        (
            "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "a 500",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
            "without the envelope",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            "without the envelope",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "without the envelope",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "instead of 404"),
        ("nonsense\r\n\r\n", "no status"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
            "a cut body",
        ),
    ] {
        let broken = judge(answer.as_bytes(), false).and_then(|statuses| match statuses[..] {
            [404] => Ok(()),
            _ => Err(Violation(format!("{statuses:?} instead of 404"))),
        });
        fails(broken, because);
    }
    fails(
        prove(stub(None).await, std::slice::from_ref(&missing)).await,
        "instead of 404",
    );
    let html = stub(Some("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")).await;
    let proof = timeout(6 * SOON, prove(html, &[missing])).await.expect("an end");
    fails(proof, "neither answered nor closed");
}

#[tokio::test]
async fn control_a_dead_server_is_seen() {
    let (server, cases) = server().await;
    let address = server.address();
    server.kill();
    fails(prove(address, &cases[..1]).await, "dead");
}
