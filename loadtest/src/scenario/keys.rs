//! What keys, limits and idempotency cost: two servers of the same build, one with all of them and one with none, by turns.

use super::pairs::{PAIRS, cost, last, order, sorted};
use super::post_user::{CLIENTS, CONVERSATIONS, TEXTS, make};
use super::postgres::Database;
use super::{Settings, ratio};
use crate::client::{Client, create_path, text_of};
use crate::http::{self, FRESH, has_header};
use crate::process::{Process, Scratch};
use crate::report::{Report, median};
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;

const READERS: usize = 32;
const MOST_FOR_GET: f64 = 1.10;
const MOST_FOR_POST: f64 = 1.15;

/// The key of the configuration: as long as one that is made, so that requests are of the same length.
const STATIC_KEY: &str = "a-static-key-of-as-many-characters-as-those-have-that-the-service-makes";

/// Behind a proxy, as the service counts no requests from the machine that it is on. Both servers believe it.
const PROXIES: (&str, &str) = ("ENGAGEMENT_TRUSTED_PROXIES", "127.0.0.1");
const FROM: &str = "x-forwarded-for: 203.0.113.7\r\n";

/// What switches limits off.
const OFF: [(&str, &str); 7] = [
    ("ENGAGEMENT_ADDRESS_READS_PER_S", "0"),
    ("ENGAGEMENT_ADDRESS_401S_PER_MIN", "0"),
    ("ENGAGEMENT_ADDRESS_404S_PER_MIN", "0"),
    ("ENGAGEMENT_KEY_REQUESTS_PER_S", "0"),
    ("ENGAGEMENT_KEY_MESSAGES_PER_MIN", "0"),
    ("ENGAGEMENT_KEY_PENDING_REPLIES", "0"),
    ("ENGAGEMENT_KEY_TOKENS_PER_DAY", "0"),
];

/// A key with all limits, none of which is ever met.
const NEW_KEY: &str = r#"{"name":"load","limits":{"requests_per_s":1000000,"messages_per_min":50000000,"pending_replies":5000000,"tokens_per_day":1000000000000}}"#;

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    eprintln!("keys, limits and idempotency");
    compare(settings, report, None)?;
    match &settings.postgres {
        Some(server) => compare(settings, report, Some(server)),
        None => Ok(()),
    }
}

fn compare(settings: &Settings, report: &mut Report, postgres: Option<&str>) -> Result<()> {
    let place = if postgres.is_some() {
        "PostgreSQL"
    } else {
        "SQLite"
    };
    let mut off = Side::start(settings, "off", postgres)?;
    let mut on = Side::start(settings, "on", postgres)?;
    off.check()?;
    on.check()?;
    for round in 0..settings.rounds.max(PAIRS) {
        for is_on in order(round) {
            let side = if is_on { &mut on } else { &mut off };
            side.round(settings, round)?;
        }
        eprintln!(
            "     pair {round}: GET {:.1} and {:.1} µs, POST {:.1} and {:.1} µs",
            last(&off.gets),
            last(&on.gets),
            last(&off.posts),
            last(&on.posts)
        );
    }
    for (name, ours, theirs, most) in [
        ("GET /conversations/{id}", &on.gets, &off.gets, MOST_FOR_GET),
        ("POST …/messages/create", &on.posts, &off.posts, MOST_FOR_POST),
    ] {
        let times = ratio(ours, theirs);
        report.row(
            &format!("{place}: processor time of a `{name}` with keys, limits and idempotency"),
            &format!("at most {most:.2} times that without"),
            format!(
                "{times:.3} times ({:.1} and {:.1} µs)",
                median(ours),
                median(theirs)
            ),
            times <= most,
        );
        report.remark(format!(
            "{place}: `{name}`, ratios by size: {}",
            sorted(ours, theirs)
        ));
    }
    Ok(())
}

/// One of the two servers, and how it is asked.
struct Side {
    server: Process,
    client: Client,
    /// Of a GET, and of a POST.
    headers: [String; 2],
    is_on: bool,
    /// Microseconds a request, each round.
    gets: Vec<f64>,
    posts: Vec<f64>,
    /// Dropped after the server that uses them.
    _data: (Scratch, Option<Database>),
}

impl Side {
    fn start(settings: &Settings, name: &str, postgres: Option<&str>) -> Result<Self> {
        let is_on = name == "on";
        let scratch = settings.scratch(&format!("keys-{name}"))?;
        let database = postgres
            .map(|server| Database::new(server, &format!("keys_{name}")))
            .transpose()?;
        let url = match &database {
            Some(database) => database.url()?,
            None => format!("sqlite:{}", scratch.path().join("engagement.db").display()),
        };
        let mut environment: Vec<(&str, OsString)> = vec![
            ("ENGAGEMENT_API_KEY", STATIC_KEY.into()),
            (PROXIES.0, PROXIES.1.into()),
        ];
        if !is_on {
            environment.extend(OFF.map(|(name, value)| (name, value.into())));
        }
        let (binary, dir) = (&settings.server, scratch.path());
        let server = Process::served(
            &url,
            &["serve"],
            &environment,
            binary,
            dir,
            settings.stderr.as_deref(),
        )?;
        let mut client = Client::with_key(server.addr, STATIC_KEY)?;
        let headers = if is_on {
            let key = text_of(&client.post("/api/v1/keys", NEW_KEY)?, "key")?;
            ensure!(key.len() == STATIC_KEY.len(), "a key of {} characters", key.len());
            let known = format!("{FROM}x-api-key: {key}\r\n");
            let fresh = String::from_utf8_lossy(FRESH);
            let once = format!("{known}idempotency-key: 8e03978e-40d5-43e8-{fresh}\r\n");
            client = Client::with_key(server.addr, &key)?;
            [known, once]
        } else {
            [FROM.to_owned(), format!("{FROM}x-api-key: {STATIC_KEY}\r\n")]
        };
        Ok(Self {
            server,
            client,
            headers,
            is_on,
            gets: Vec::new(),
            posts: Vec::new(),
            _data: (scratch, database),
        })
    }

    fn get(&self, id: &str) -> Vec<u8> {
        http::get_with(&format!("/conversations/{id}"), &self.headers[0])
    }

    fn post(&self, id: &str, text: &str) -> Vec<u8> {
        http::post_with(&create_path(id), &self.headers[1], &http::message("user", text))
    }

    /// That what is to be on is on, and what is to be off is off: answers tell.
    fn check(&mut self) -> Result<()> {
        let id = self.client.conversation("To see what holds")?;
        let (get, post) = (self.get(&id), self.post(&id, TEXTS[0]));
        for (request, header) in [
            (&get, "ratelimit"),
            (&post, "ratelimit"),
            (&post, "idempotent-replayed"),
        ] {
            let response = self.client.send(request)?;
            ensure!(response.head.is_success(), "status {}", response.head.status);
            let is_there = has_header(response.raw, header.as_bytes());
            ensure!(is_there == self.is_on, "`{header}` in an answer: {is_there}");
        }
        Ok(())
    }

    fn round(&mut self, settings: &Settings, round: u32) -> Result<()> {
        let ids = make(&mut self.client, round)?;
        let first = ids.first().context("no conversation")?;
        let spent = cost(&self.server, settings, READERS, vec![self.get(first)])?;
        self.gets.push(spent);
        let each = |text| ids.iter().map(move |id| (id, text));
        let posts: Vec<_> = TEXTS
            .into_iter()
            .flat_map(each)
            .map(|(id, text)| self.post(id, text))
            .collect();
        ensure!(posts.len() == TEXTS.len() * CONVERSATIONS, "too few requests");
        let spent = cost(&self.server, settings, CLIENTS, posts)?;
        self.posts.push(spent);
        Ok(())
    }
}
