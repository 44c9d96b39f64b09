//! `docs/contract.md`, clause by clause, over real HTTP.
//!
//! Each test starts a server of its own. With `ENGAGEMENT_TEST_URL` (and `ENGAGEMENT_TEST_API_KEY`) the tests are
//! put to that server instead; those that need special settings then say that they are skipped.
//!
//! The first words of a test's comment are the clauses that it proves.

mod assistant;
mod bodies;
mod clauses;
mod cors;
mod deletion;
mod durability;
mod edge;
mod errors;
mod framing;
mod hosts;
mod json;
mod keys;
mod limits;
mod links;
mod logging;
mod methods;
mod operations;
mod paging;
mod routes;
mod search;
mod shapes;
mod walking;

use std::fmt::{Debug, Display};
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::Deref;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Answer, Client, DEFAULT_KEY, Raw, Server};

/// An id that is well formed and names nothing.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// The service under test, as a client that holds its key.
struct Service {
    client: Client,
    /// The process, if it is ours.
    server: Option<Server>,
}

/// The service with default settings, or the one that the environment names.
async fn service() -> Service {
    if let Ok(url) = std::env::var("ENGAGEMENT_TEST_URL") {
        let key = std::env::var("ENGAGEMENT_TEST_API_KEY").unwrap_or_else(|_| DEFAULT_KEY.to_owned());
        return Service {
            client: Client::new(url.trim_end_matches('/'), Some(&key)),
            server: None,
        };
    }
    Service::over(Server::start().await)
}

/// A server with these settings; `None`, said loudly, when the tests are put to a server that runs already.
async fn service_with(settings: &[(&str, &str)]) -> Option<Service> {
    if std::env::var_os("ENGAGEMENT_TEST_URL").is_some() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("SKIPPED: {test} needs a server of its own with {settings:?}");
        return None;
    }
    let builder = settings.iter().fold(Server::builder(), |builder, (name, value)| {
        builder.env(name, value)
    });
    Some(Service::over(builder.start().await))
}

impl Service {
    fn over(server: Server) -> Self {
        Self {
            client: server.client(),
            server: Some(server),
        }
    }

    /// The process, in tests that asked for one of their own.
    fn server(&self) -> &Server {
        self.server.as_ref().expect("a server of our own")
    }

    /// `host:port`, as the service is called.
    fn authority(&self) -> &str {
        self.base_url().trim_start_matches("http://")
    }

    fn address(&self) -> SocketAddr {
        self.authority()
            .to_socket_addrs()
            .expect("an address")
            .next()
            .expect("an address")
    }

    async fn connect(&self) -> Raw {
        Raw::connect(self.address()).await
    }

    /// Sends a head of these lines and a body on a connection of its own, and reads the answer.
    async fn exchange(&self, lines: &[&str], body: impl AsRef<[u8]>) -> Answer {
        let mut raw = self.connect().await;
        raw.send(head(lines)).await.expect("a head to send");
        raw.send(body).await.expect("a body to send");
        raw.answer()
            .await
            .unwrap_or_else(|error| panic!("no answer to {lines:?}: {error}"))
    }

    /// GET of a path that no client library would leave as it is.
    async fn get_raw(&self, path: &str) -> Answer {
        let host = format!("Host: {}", self.authority());
        self.exchange(&[&format!("GET {path} HTTP/1.1"), &host], "").await
    }

    /// The header line with the key.
    fn key_line(&self) -> String {
        format!("X-API-Key: {}", self.key().expect("a key"))
    }
}

impl Deref for Service {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// The bytes of a request head.
fn head(lines: &[&str]) -> String {
    lines.join("\r\n") + "\r\n\r\n"
}

fn not_found() -> Value {
    json!({ "detail": ["Not found."] })
}

/// What is wrong with an answer that should be this error, if anything is.
fn fault(answer: &Answer, code: u16, details: &Value) -> Option<String> {
    let message = match code {
        400 => "Validation or Client Error",
        401 => "Invalid or missing API key",
        404 => "Resource not found",
        500 => "Server error",
        other => StatusCode::from_u16(other)
            .ok()
            .and_then(|code| code.canonical_reason())
            .expect("a reason phrase"),
    };
    let opening = format!(r#"{{"status":"error","code":{code},"message":"{message}","details":{{"#);
    let right = answer.status == code
        && answer.header("content-type") == "application/json"
        && answer.text().starts_with(&opening)
        && answer.json()["details"] == *details;
    (!right).then(|| {
        let (status, kind) = (answer.status, answer.header("content-type"));
        format!(
            "wanted {code} {details}\n     got {status} {kind:?} {:.500}",
            answer.text()
        )
    })
}

#[track_caller]
fn assert_error(answer: &Answer, code: u16, details: &Value) {
    if let Some(fault) = fault(answer, code, details) {
        panic!("{fault}");
    }
}

/// Judges a table and, at its end, names every row that is wrong, not only the first.
#[derive(Default)]
struct Rows {
    wrong: Vec<String>,
}

impl Rows {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a row reads better without ampersands"
    )]
    fn equal<T: PartialEq<U> + Debug, U: Debug>(&mut self, row: impl Display, got: T, wanted: U) {
        if got != wanted {
            self.wrong
                .push(format!("{row}\n  wanted {wanted:?}\n     got {got:?}"));
        }
    }

    fn error(&mut self, row: impl Display, answer: &Answer, code: u16, details: &Value) {
        self.wrong
            .extend(fault(answer, code, details).map(|fault| format!("{row}\n  {fault}")));
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(
                self.wrong.is_empty(),
                "{} rows are wrong:\n{}",
                self.wrong.len(),
                self.wrong.join("\n")
            );
        }
    }
}
