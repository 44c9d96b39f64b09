//! Clients that are slow, silent or deaf harm nobody but themselves, and not for long.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Proof, Violation, ensure, fails, holds, new_home};
use crate::support::{Answer, Client, DEFAULT_KEY, Raw, SOON, Server, eventually};

const HALF_OPEN: usize = 500;
const SLOW_BODIES: usize = 100;
const IDLE: usize = 100;
const LAST_BODY: usize = HALF_OPEN + SLOW_BODIES;

/// With a head timeout of 2 s, a body timeout of 3 s and up to 5 s in which the rest of a refused body is read; the rest is
/// for a machine on which seven hundred of them come at once, and other tests.
const HEAD_ENDS: Duration = Duration::from_secs(2 + 8);
const BODY_ENDS: Duration = Duration::from_secs(3 + 5 + 8);

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    honest: Honest,
    slowest_head: Duration,
    slowest_body: Duration,
    slowest_idle: Duration,
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Honest {
    requests: usize,
    median: Duration,
    p99: Duration,
}

/// What a client does that does not behave.
#[derive(Clone, Copy, PartialEq)]
enum Slow {
    Head,
    Body,
    Idle,
}

/// Sends what it takes to wait, then a byte a second, until the server closes; gives how long it held out.
async fn hold_on(address: SocketAddr, how: Slow, drips: bool, within: Duration) -> Proof<Duration> {
    let began = Instant::now();
    let mut raw = Raw::try_connect(address)
        .await
        .map_err(|error| Violation(format!("refused: {error}")))?;
    let opening = match how {
        Slow::Head => "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ".to_owned(),
        Slow::Body => format!(
            "POST /conversations/ HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {DEFAULT_KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
        ),
        Slow::Idle => "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
    };
    raw.send(opening)
        .await
        .map_err(|error| Violation(format!("refused: {error}")))?;
    if how == Slow::Idle {
        let answer = raw
            .answer()
            .await
            .map_err(|error| Violation(format!("failed before it was idle: {error}")))?;
        ensure(answer.status == 200, || {
            format!("failed before it was idle: {}", answer.text())
        })?;
    }
    while began.elapsed() < within {
        // An answer that says why (408) may come before the end.
        let ended = timeout(Duration::from_secs(1), raw.drained()).await.is_ok();
        if ended || (drips && raw.send(" ").await.is_err()) {
            return Ok(began.elapsed());
        }
    }
    Err(Violation(format!("not closed within {within:?}")))
}

/// Asks as a good client does, until told to end.
async fn ask(client: Client, end: CancellationToken) -> Proof<Honest> {
    let conversation = client.conversation("honest").await;
    let mut took = Vec::new();
    while took.is_empty() || !end.is_cancelled() {
        for path in ["/livez", &format!("/conversations/{conversation}/messages")] {
            let began = Instant::now();
            let answer = Answer::try_of(client.request(reqwest::Method::GET, path)).await;
            let answer = answer.map_err(|error| Violation(format!("harmed: {error}")))?;
            ensure(answer.status == 200, || format!("harmed: {}", answer.text()))?;
            took.push(began.elapsed());
        }
        let began = Instant::now();
        client.message(&conversation, "assistant", "still here").await;
        took.push(began.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    took.sort();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place"
        )]
        let place = (took.len() as f64 * share) as usize;
        took[place]
    };
    let honest = Honest {
        requests: took.len(),
        median: at(0.5),
        p99: at(0.99),
    };
    ensure(honest.p99 < SOON / 2, || format!("harmed: {honest:?}"))?;
    Ok(honest)
}

/// The crowd at once, and one honest client beside it.
async fn prove(server: &Server) -> Proof<Report> {
    raise_file_limit();
    let end = CancellationToken::new();
    let mut honest = JoinSet::new();
    honest.spawn(ask(server.client(), end.clone()));
    let mut crowd = JoinSet::new();
    let address = server.address();
    for number in 0..LAST_BODY + IDLE {
        let (how, drips, within) = match number {
            0..HALF_OPEN => (Slow::Head, number % 2 == 0, HEAD_ENDS),
            HALF_OPEN..LAST_BODY => (Slow::Body, true, BODY_ENDS),
            _ => (Slow::Idle, false, HEAD_ENDS),
        };
        crowd.spawn(async move { (how, hold_on(address, how, drips, within).await) });
    }
    let mut slowest = [Duration::ZERO; 3];
    while let Some(member) = crowd.join_next().await {
        let (how, held) = member.expect("a client that ends");
        slowest[how as usize] = slowest[how as usize].max(held?);
    }
    end.cancel();
    let honest = honest
        .join_next()
        .await
        .expect("an honest client")
        .expect("its end")?;
    let [slowest_head, slowest_body, slowest_idle] = slowest;
    Ok(Report {
        honest,
        slowest_head,
        slowest_body,
        slowest_idle,
    })
}

fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .expect("more open files");
}

async fn server(head_timeout: &str, body_timeout: &str) -> Server {
    let builder = Server::builder()
        .env("HEADER_TIMEOUT_S", head_timeout)
        .env("IDLE_TIMEOUT_S", head_timeout)
        .env("BODY_TIMEOUT_S", body_timeout);
    builder.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_silent_clients_are_closed_and_harm_nobody() {
    holds(prove(&server("2", "3").await).await, &new_home());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_heads_that_may_take_an_hour_are_seen() {
    fails(prove(&server("3600", "3").await).await, "not closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_bodies_that_may_take_an_hour_are_seen() {
    let server = server("2", "3600").await;
    let proof = hold_on(server.address(), Slow::Body, true, BODY_ENDS).await;
    fails(proof, "not closed");
}

/// How many sockets the server has open.
fn sockets(server: &Server) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the server's files");
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}

/// Clients ask for many megabytes and read none of it.
async fn prove_deaf(server: &Server, patience: Duration) -> Proof<Honest> {
    const DEAF: usize = 10;
    let client = server.client();
    let conversation = client.conversation("long").await;
    for _ in 0..20 {
        client
            .message(&conversation, "assistant", &"x".repeat(100_000))
            .await;
    }
    let end = CancellationToken::new();
    let mut honest = JoinSet::new();
    honest.spawn(ask(client, end.clone()));
    let before = sockets(server);
    let request = format!(
        "GET /conversations/{conversation}/messages?page_size=100 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    );
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut raw = Raw::connect(server.address()).await;
        raw.send(request.repeat(20))
            .await
            .map_err(|error| Violation(format!("refused: {error}")))?;
        deaf.push(raw);
    }
    eventually("the deaf are connected", SOON, async || {
        (sockets(server) >= before + DEAF).then_some(())
    })
    .await;
    let closed = async {
        while sockets(server) >= before + DEAF / 2 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let closed = timeout(patience, closed).await;
    end.cancel();
    let honest = honest
        .join_next()
        .await
        .expect("an honest client")
        .expect("its end")?;
    ensure(closed.is_ok(), || format!("not closed within {patience:?}"))?;
    drop(deaf);
    Ok(honest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_are_closed_and_harm_nobody() {
    holds(
        prove_deaf(&Server::start().await, Duration::from_secs(45)).await,
        &new_home(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_clients_that_never_read_are_not_closed_at_once() {
    // Their time is half a minute: a second is too early to say that all is well.
    fails(
        prove_deaf(&Server::start().await, Duration::from_secs(1)).await,
        "not closed",
    );
}

/// More connections than there is room for.
async fn prove_cap(places: usize, expected_places: usize) -> Proof<()> {
    let server = Server::builder()
        .env("MAX_CONNECTIONS", &places.to_string())
        .start()
        .await;
    let mut inside = Vec::new();
    for _ in 0..expected_places {
        inside.push(
            greet(server.address())
                .await
                .map_err(|error| Violation(format!("refused below the cap: {error}")))?,
        );
    }
    for _ in 0..expected_places {
        ensure(greet(server.address()).await.is_err(), || {
            "let in above the cap".to_owned()
        })?;
    }
    // Those inside are still served, and a place that is given back is there for somebody else.
    for raw in &mut inside {
        raw.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("a request");
        let answer = raw
            .answer()
            .await
            .map_err(|error| Violation(format!("thrown out: {error}")))?;
        ensure(answer.status == 200, || answer.text())?;
    }
    inside.pop();
    eventually("a place is free", SOON, async || {
        greet(server.address()).await.ok()
    })
    .await;
    Ok(())
}

async fn greet(address: SocketAddr) -> std::io::Result<Raw> {
    let mut raw = Raw::try_connect(address).await?;
    raw.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    timeout(SOON, raw.answer()).await??;
    Ok(raw)
}

#[tokio::test]
async fn the_connection_cap_closes_what_is_too_much_and_recovers() {
    holds(prove_cap(10, 10).await, &new_home());
}

#[tokio::test]
async fn control_a_cap_elsewhere_is_seen() {
    fails(prove_cap(11, 10).await, "let in");
    fails(prove_cap(9, 10).await, "refused");
}
