//! What every black-box test stands on: the real program, spoken to over real HTTP.
//!
//! - [`Server`] runs the program in a directory of its own and ends it when dropped.
//! - [`Client`] speaks JSON to it; [`Raw`] speaks bytes, for what a well-behaved client cannot say.
//! - [`Document`] is `openapi.json`, by which every answer that they get is judged.
//! - [`sse::Reader`] reads live events over as many connections as it takes.
//! - [`Scrape`] is what it tells at `/metrics`.
//! - [`EventStream`] reads what somebody sees who watches.
//! - [`postgres`] has servers and databases of PostgreSQL.
//! - [`upstream`] is a provider of models that does what the prompt says.
//! - [`collector`] receives traces.
//! - [`proxy`] is a network that fails on demand, for what stands behind it.
//! - [`eventually`] is the only way to wait: a condition and a deadline, never a hopeful pause.

mod client;
pub(crate) mod collector;
mod documented;
mod events;
pub(crate) mod postgres;
pub(crate) mod proxy;
mod raw;
mod scrape;
mod server;
pub(crate) mod sse;
pub(crate) mod upstream;

pub(crate) use client::{Answer, Client, query, texts};
pub(crate) use documented::Document;
pub(crate) use events::{Came, EventStream, Frame, names, written};
pub(crate) use raw::Raw;
pub(crate) use scrape::Scrape;
pub(crate) use server::{Builder, DEFAULT_KEY, Run, Server};

use std::io::Write;
use std::time::{Duration, Instant};

/// How long a test waits for what should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Asks again and again until `probe` gives a value; panics with `what` when the deadline passes.
pub(crate) async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Says loudly that a test does not test anything here, or fails where tests are to insist.
pub(crate) fn skip(why: &str) {
    let insists = std::env::var_os("ENGAGEMENT_TESTS_INSIST").is_some_and(|insists| insists == "1");
    assert!(!insists, "{why}");
    // Not `eprintln!`, which is shown for tests that fail only.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}
