//! One node and two over one `PostgreSQL` database, beside a bare program that asks the same server for the same.

use super::post_user::{drain, make, requests};
use super::{Settings, Side, ratio, spread};
use crate::bare_postgres::{self, Read, Size};
use crate::client::Client;
use crate::http;
use crate::load;
use crate::process::{Process, Scratch};
use crate::report::{Report, number, percent, time};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

const WRITERS: usize = 64;
const READERS: usize = 32;
/// The service's own numbers of connections.
const CONNECTIONS: usize = 1;
const LEAST_SHARE: f64 = 0.60;
const LEAST_OF_TWO: f64 = 0.90;

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let server = settings
        .postgres
        .as_deref()
        .context("no PostgreSQL server: give --postgres URL, or run under scripts/with-postgres")?;
    reads(settings, report, server, Read::Conversation)?;
    reads(settings, report, server, Read::Page)?;
    appends(settings, report, server)?;
    nodes(settings, report, server)
}

/// A database that is dropped with this value.
pub(super) struct Database {
    server: String,
    name: String,
}

impl Database {
    pub(super) fn new(server: &str, name: &str) -> Result<Self> {
        let database = Self {
            server: server.to_owned(),
            name: format!("loadtest_{name}_{}", std::process::id()),
        };
        database.ask("DROP DATABASE IF EXISTS")?;
        database.ask("CREATE DATABASE")?;
        Ok(database)
    }

    pub(super) fn url(&self) -> Result<String> {
        let (base, query) = self.server.split_once('?').unwrap_or((&self.server, ""));
        let (place, _) = base.rsplit_once('/').context("a URL with a database")?;
        Ok(format!("{place}/{}?{query}", self.name))
    }

    fn ask(&self, what: &str) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.server, tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            let force = if what.starts_with("DROP") {
                " WITH (FORCE)"
            } else {
                ""
            };
            client
                .batch_execute(&format!("{what} {}{force}", self.name))
                .await?;
            // Later dirty pages of another scenario's would be this one's to flush.
            client.batch_execute("CHECKPOINT").await.ok();
            Ok(())
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.ask("DROP DATABASE IF EXISTS").ok();
    }
}

fn node(
    settings: &Settings,
    scratch: &Scratch,
    name: &str,
    url: &str,
    arguments: &[&str],
) -> Result<Process> {
    let dir = scratch.path().join(name);
    Process::server_on(url, arguments, &settings.server, &dir, settings.stderr.as_deref())
}

fn size(settings: &Settings, callers: usize) -> Size {
    Size {
        callers,
        connections: CONNECTIONS,
        warmup: settings.warmup(),
        time: settings.time,
    }
}

fn reads(settings: &Settings, report: &mut Report, server: &str, read: Read) -> Result<()> {
    let (name, suffix) = match read {
        Read::Conversation => ("GET /conversations/{id}", ""),
        Read::Page => ("GET /conversations/{id}/messages (10 of 30)", "/messages"),
    };
    eprintln!("PostgreSQL: {name}");
    let scratch = settings.scratch("postgres-reads")?;
    let database = Database::new(server, "reads")?;
    let url = database.url()?;
    let node = node(settings, &scratch, "node", &url, &["serve"])?;
    let mut client = Client::new(node.addr)?;
    let id = client.conversation("Thirty messages")?;
    client.fill(&id, 30)?;
    let requests: Arc<[Vec<u8>]> = vec![http::get(&format!("/conversations/{id}{suffix}"))].into();
    let id: Uuid = id.parse()?;
    let (mut ours, mut bare) = (Side::default(), Vec::new());
    for _ in 0..settings.rounds {
        ours.round(&node, &settings.closed(node.addr, READERS, &requests))?;
        bare.push(bare_postgres::reads(&url, read, id, size(settings, READERS))?);
    }
    let share = ratio(&ours.rates, &bare);
    report.row(
        &format!("PostgreSQL: `{name}` over HTTP, {READERS} clients, logging on"),
        &format!(
            "{} of the bare pipelined statement, without HTTP",
            percent(LEAST_SHARE)
        ),
        format!(
            "{} ({} of {} a second)",
            percent(share),
            number(ours.rate()),
            number(crate::report::median(&bare))
        ),
        share >= LEAST_SHARE && ours.errors == 0,
    );
    report.remark(ours.text(&format!("PostgreSQL: `{name}`")));
    report.remark(format!(
        "PostgreSQL: `{name}`, ratio by round: {}",
        spread(&ours.rates, &bare)
    ));
    Ok(())
}

fn appends(settings: &Settings, report: &mut Report, server: &str) -> Result<()> {
    eprintln!("PostgreSQL: POST user messages");
    let scratch = settings.scratch("postgres-appends")?;
    let database = Database::new(server, "appends")?;
    let url = database.url()?;
    let (mut ours, mut bare, mut replying) = (Side::default(), Vec::new(), Side::default());
    let mut slowest_drain = Duration::ZERO;
    for round in 0..settings.rounds {
        let front = node(settings, &scratch, "front", &url, &["serve", "--no-replies"])?;
        let mut client = Client::new(front.addr)?;
        let ids = make(&mut client, round)?;
        ours.round(&front, &settings.closed(front.addr, WRITERS, &requests(&ids)))?;
        front.stop()?;

        let parsed = ids
            .iter()
            .map(|id| id.parse())
            .collect::<Result<Vec<Uuid>, _>>()?;
        bare.push(bare_postgres::appends(&url, &parsed, size(settings, WRITERS))?);
        // Nobody replied until now, and the next one would begin with these.
        clear_queue(&url)?;

        let whole = node(settings, &scratch, "whole", &url, &["serve"])?;
        let mut client = Client::new(whole.addr)?;
        let ids = make(&mut client, round)?;
        let outcome = replying.round(&whole, &settings.closed(whole.addr, WRITERS, &requests(&ids)))?;
        let stopped = Instant::now();
        let drained = drain(
            &mut client,
            &ids,
            &outcome.last,
            outcome.succeeded + outcome.warmed,
            stopped,
        )?;
        slowest_drain = slowest_drain.max(drained.after);
        eprintln!(
            "     round {round}: {} messages, {} replies, drained in {}",
            drained.user,
            drained.assistant,
            time(drained.after)
        );
        whole.stop()?;
    }
    let share = ratio(&ours.rates, &bare);
    report.row(
        &format!("PostgreSQL: `POST …/messages/create`, user messages, {WRITERS} clients, durable, `serve --no-replies`"),
        &format!("{} of the bare grouped statement, without HTTP", percent(LEAST_SHARE)),
        format!("{} ({} of {} a second)", percent(share), number(ours.rate()), number(crate::report::median(&bare))),
        share >= LEAST_SHARE && ours.errors == 0,
    );
    report.row(
        "… by a node that replies at the same time (three times the writes)",
        "",
        format!(
            "{} a second, p99 {}, drained in {}",
            number(replying.rate()),
            time(replying.latency.p99()),
            time(slowest_drain)
        ),
        (replying.errors > 0).then_some(false),
    );
    report.remark(ours.text("PostgreSQL: POST, no replies"));
    report.remark(replying.text("PostgreSQL: POST with replies"));
    report.remark(format!(
        "PostgreSQL: POST, no replies, ratio by round: {}",
        spread(&ours.rates, &bare)
    ));
    Ok(())
}

fn clear_queue(url: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute("TRUNCATE replies").await?;
        client.batch_execute("CHECKPOINT").await?;
        Ok(())
    })
}

/// The same clients on one node, and shared out to two.
fn nodes(settings: &Settings, report: &mut Report, server: &str) -> Result<()> {
    eprintln!("PostgreSQL: two nodes");
    let scratch = settings.scratch("postgres-nodes")?;
    let database = Database::new(server, "nodes")?;
    let url = database.url()?;
    let (mut one, mut shared, mut full) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        let first = node(settings, &scratch, "first", &url, &["serve"])?;
        let mut client = Client::new(first.addr)?;
        let ids = make(&mut client, round)?;
        let sent = requests(&ids);
        let outcome = load::run(&settings.closed(first.addr, WRITERS, &sent))?;
        ensure!(outcome.errors() == 0, "one node: {}", outcome.errors_text());
        one.push(outcome.rate());
        drain(
            &mut client,
            &ids,
            &outcome.last,
            outcome.succeeded + outcome.warmed,
            Instant::now(),
        )?;

        let second = node(settings, &scratch, "second", &url, &["serve"])?;
        let both = [first.addr, second.addr];
        shared.push(on_both(settings, &mut client, both, WRITERS / 2, round)?);
        full.push(on_both(settings, &mut client, both, WRITERS, round)?);
        second.stop()?;
        first.stop()?;
    }
    for (clients, two, least) in [
        (
            format!("{WRITERS} clients at each of two nodes"),
            &full,
            Some(LEAST_OF_TWO),
        ),
        (
            format!("{WRITERS} clients shared out to two nodes"),
            &shared,
            None,
        ),
    ] {
        let share = ratio(two, &one);
        report.row(
            &format!("PostgreSQL: user messages with their replies, {clients} on one database"),
            &least.map_or_else(String::new, |least| {
                format!(
                    "{} of one node with {WRITERS} clients, on the same machine",
                    percent(least)
                )
            }),
            format!(
                "{} ({} of {} a second)",
                percent(share),
                number(crate::report::median(two)),
                number(crate::report::median(&one))
            ),
            least.map(|least| share >= least),
        );
        report.remark(format!(
            "PostgreSQL: {clients}, ratio by round: {}",
            spread(two, &one)
        ));
    }
    Ok(())
}

/// User messages at two nodes at once; acknowledged a second.
fn on_both(
    settings: &Settings,
    client: &mut Client,
    nodes: [SocketAddr; 2],
    clients: usize,
    round: u32,
) -> Result<f64> {
    let ids = make(client, round)?;
    let sent = requests(&ids);
    let loads: Vec<_> = nodes
        .into_iter()
        .map(|addr| settings.closed(addr, clients, &sent))
        .map(|load| thread::spawn(move || load::run(&load)))
        .collect();
    let (mut rate, mut acknowledged, mut last) = (0.0, 0, Vec::new());
    for load in loads {
        let outcome = load.join().ok().context("a generator panicked")??;
        ensure!(outcome.errors() == 0, "two nodes: {}", outcome.errors_text());
        rate += outcome.rate();
        acknowledged += outcome.succeeded + outcome.warmed;
        last.extend(outcome.last);
    }
    drain(client, &ids, &last, acknowledged, Instant::now())?;
    Ok(rate)
}
