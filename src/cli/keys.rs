//! Makes, lists and takes back keys, also beside a service that runs: it sees what was done within seconds.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{CommandError, UNAVAILABLE, print};
use crate::{
    access::{self, Desk, Made, NewKey},
    app,
    clock::Clock,
    config::{self, Settings},
    http::KeyShape,
    ids::IdSource,
    model::{Actor, ApiKey, AuditEntry, Environment, KeyId, KeyLimits, KeyName, Scope, Scopes, Timestamp},
    store,
};

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a key and print it: this is the only time that it is shown
    Create(Create),
    /// List the keys, the oldest first
    List {
        /// As JSON, like GET /api/v1/keys
        #[arg(long)]
        json: bool,
    },
    /// Take a key back; what it opened ends within seconds
    Revoke {
        #[arg(value_name = "ID", value_parser = id)]
        id: KeyId,
    },
    /// Make a key that takes another's place, and print it
    Rotate(Rotate),
    /// Show what happened around keys, the newest first
    Audit {
        /// At most so many entries
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: usize,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What people call it
    #[arg(value_parser = name)]
    name: KeyName,
    /// What it may do, separated by commas [default: conversations:write,messages:write,delete,read]
    #[arg(long, value_delimiter = ',', value_parser = scope)]
    scopes: Vec<Scope>,
    #[command(flatten)]
    end: End,
    /// Where it is meant to be used: live, or test, which production does not take
    #[arg(long, value_name = "WHERE", default_value = "live", value_parser = environment)]
    environment: Environment,
    /// Requests in a second
    #[arg(long, value_name = "NUMBER")]
    requests_per_s: Option<NonZeroU32>,
    /// Messages created in a minute
    #[arg(long, value_name = "NUMBER")]
    messages_per_min: Option<NonZeroU32>,
    /// Unfinished replies at once
    #[arg(long, value_name = "NUMBER")]
    pending_replies: Option<NonZeroU32>,
    /// Tokens in a day (UTC)
    #[arg(long, value_name = "NUMBER")]
    tokens_per_day: Option<NonZeroU64>,
}

/// When a key is to expire.
#[derive(Debug, Args)]
struct End {
    /// After this time it opens nothing: 90d, 24h or 30m [default: never]
    #[arg(long, value_name = "TIME", value_parser = lifetime, conflicts_with = "expires")]
    expires_in: Option<Duration>,
    /// From this date on it opens nothing: 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = date)]
    expires: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[arg(value_name = "ID", value_parser = id)]
    id: KeyId,
    /// How long the old key goes on opening things: 24h, 90d, 30m or 0s
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = time)]
    overlap: Duration,
    #[command(flatten)]
    end: End,
}

impl End {
    fn at(&self, now: Timestamp) -> Result<Option<Timestamp>, CommandError> {
        match (self.expires, self.expires_in) {
            (Some(date), _) if date <= now => Err(CommandError {
                message: format!("{date} has passed"),
                hint: "give a date that is to come".to_owned(),
                code: 2,
            }),
            (Some(date), _) => Ok(Some(date)),
            (None, time) => Ok(time.map(|time| now.after(time))),
        }
    }
}

impl From<access::Error> for CommandError {
    fn from(error: access::Error) -> Self {
        let (hint, code) = match &error {
            access::Error::NoSuchKey => ("`engagement keys list` shows which there are", 1),
            access::Error::NotActive => ("make another one: `engagement keys create NAME`", 1),
            access::Error::Repeated => ("nothing was asked for twice here: say so to the maintainers", 1),
            access::Error::Chance(_) => ("see what /dev/urandom gives", 1),
            access::Error::Store(store::Error::Unavailable(_)) => ("try again", UNAVAILABLE),
            access::Error::Store(_) => ("run `engagement check`", UNAVAILABLE),
        };
        Self {
            message: error.to_string(),
            hint: hint.to_owned(),
            code,
        }
    }
}

pub(super) fn run(command: Keys, settings: &Settings) -> Result<(), CommandError> {
    let database = config::database(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(app::Failure::Other)?;
    runtime.block_on(async {
        let store = app::keys::open(&database).await?;
        let desk = Desk::new(store, Clock::system(), IdSource::random());
        carry_out(command, &desk).await
    })
}

async fn carry_out(command: Keys, desk: &Desk) -> Result<(), CommandError> {
    let by = Actor::CommandLine;
    match command {
        Keys::Create(create) => {
            let new = create.into_key(desk.now())?;
            let made = desk.create(new, by, None).await?;
            show(&made)
        }
        Keys::List { json } => list(&desk.list().await?, desk.now(), json),
        Keys::Revoke { id } => {
            let key = desk.revoke(id, by).await?;
            eprintln!("{} opens nothing any more", called(&key));
            Ok(())
        }
        Keys::Rotate(rotate) => {
            let expires = rotate.end.at(desk.now())?;
            let made = desk.rotate(rotate.id, rotate.overlap, expires, by, None).await?;
            let until = desk.now().after(rotate.overlap);
            eprintln!("the key {} goes on until {until} at the longest", rotate.id);
            show(&made)
        }
        Keys::Audit { limit, json } => audit(&desk.audit(limit).await?, json),
    }
}

impl Create {
    fn into_key(self, now: Timestamp) -> Result<NewKey, CommandError> {
        let expires = self.end.at(now)?;
        Ok(NewKey {
            name: self.name,
            environment: self.environment,
            scopes: if self.scopes.is_empty() {
                Scopes::USUAL
            } else {
                self.scopes.into_iter().collect()
            },
            limits: KeyLimits {
                requests_per_s: self.requests_per_s,
                messages_per_min: self.messages_per_min,
                pending_replies: self.pending_replies,
                tokens_per_day: self.tokens_per_day,
            },
            expires,
        })
    }
}

/// The key alone goes to stdout, so that a script can take it.
fn show(made: &Made) -> Result<(), CommandError> {
    let key = &made.key;
    eprintln!("{} may: {}", called(key), key.scopes);
    match key.expires {
        Some(expires) => eprintln!("it expires {expires}"),
        None => eprintln!("it does not expire"),
    }
    eprintln!("this is the only time it is shown:");
    print(made.text.expose_secret()).map_err(|error| CommandError {
        message: format!("{}, so nobody has seen the key {}", error.message, key.id),
        hint: format!("take it back: `engagement keys revoke {}`", key.id),
        code: error.code,
    })
}

fn called(key: &ApiKey) -> String {
    format!(
        "the key {} ({}, {})",
        key.id,
        key.name.as_str(),
        key.environment.as_str()
    )
}

fn list(keys: &[ApiKey], now: Timestamp, as_json: bool) -> Result<(), CommandError> {
    if as_json {
        let results: Vec<_> = keys.iter().map(|key| KeyShape::new(key, now)).collect();
        return print(json!({ "results": results }));
    }
    let rows = keys.iter().map(|key| {
        [
            key.id.to_string(),
            key.name.as_str().to_owned(),
            key.environment.as_str().to_owned(),
            key.state(now).as_str().to_owned(),
            key.scopes.to_string().replace(' ', ","),
            key.created.to_string(),
            key.expires.map_or_else(dash, |expires| expires.to_string()),
            key.last_used.map_or_else(dash, |used| used.to_string()),
        ]
    });
    let heads = [
        "ID",
        "NAME",
        "FOR",
        "STATUS",
        "SCOPES",
        "CREATED",
        "EXPIRES",
        "LAST USED",
    ];
    table(heads, rows)
}

fn audit(entries: &[AuditEntry], as_json: bool) -> Result<(), CommandError> {
    if as_json {
        let shape = |entry: &AuditEntry| {
            json!({
                "date": entry.at.to_string(),
                "event": entry.what.as_str(),
                "key_id": entry.key.map(|key| key.to_string()),
                "actor": entry.by.to_string(),
                "address": entry.address,
                "count": entry.count,
            })
        };
        let results: Vec<_> = entries.iter().map(shape).collect();
        return print(json!({ "results": results }));
    }
    let rows = entries.iter().map(|entry| {
        [
            entry.at.to_string(),
            entry.what.as_str().to_owned(),
            entry.key.map_or_else(dash, |key| key.to_string()),
            entry.by.to_string(),
            entry.address.clone().unwrap_or_else(dash),
            entry.count.to_string(),
        ]
    });
    table(["DATE", "EVENT", "KEY", "BY", "FROM", "TIMES"], rows)
}

fn dash() -> String {
    "-".to_owned()
}

/// Writes columns as wide as what is in them.
fn table<const N: usize>(
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<(), CommandError> {
    let rows: Vec<[String; N]> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    });
    rows.iter().try_for_each(|row| {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        print(cells.join("  ").trim_end())
    })
}

fn id(text: &str) -> Result<KeyId, String> {
    KeyId::parse(text).ok_or_else(|| {
        format!(
            "an id is {} letters and digits, the part of a key behind eng_live_",
            KeyId::LENGTH
        )
    })
}

fn name(text: &str) -> Result<KeyName, String> {
    KeyName::parse(text).ok_or_else(|| format!("a name has 1 to {} characters, on one line", KeyName::MAX))
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text.trim()).ok_or_else(|| {
        let names: Vec<_> = Scope::ALL.into_iter().map(Scope::as_str).collect();
        format!("there are {}", names.join(", "))
    })
}

fn environment(text: &str) -> Result<Environment, String> {
    Environment::parse(text).ok_or_else(|| "give live or test".to_owned())
}

fn date(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "give 2027-01-31 or 2027-01-31T12:00:00Z".to_owned())
}

/// As over HTTP: about 136 years.
const LONGEST_S: u64 = u32::MAX as u64;

/// Reads `90d`, `24h`, `30m` or `10s`.
fn time(text: &str) -> Result<Duration, String> {
    let units = [('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60), ('s', 1)];
    let read = units.into_iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        let all = number.checked_mul(seconds).filter(|all| *all <= LONGEST_S);
        all.map(Duration::from_secs)
    });
    read.ok_or_else(|| "give a number and a unit: 90d, 24h, 30m or 10s, up to 49710d".to_owned())
}

/// A key that is over at once is a mistake.
fn lifetime(text: &str) -> Result<Duration, String> {
    time(text).and_then(|time| {
        if time.is_zero() {
            Err("give at least 1s: it would open nothing".to_owned())
        } else {
            Ok(time)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        for (text, seconds) in [
            ("90d", Some(7_776_000)),
            ("24h", Some(86_400)),
            ("30m", Some(1_800)),
            ("0s", Some(0)),
            ("24", None),
            ("h", None),
            ("-1h", None),
            ("1.5h", None),
            ("24 h", None),
            ("99999999999999999999d", None),
            ("999999999999999d", None),
            ("49710d", Some(49_710 * 86_400)),
            ("49711d", None),
        ] {
            assert_eq!(time(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_key_lives_for_a_second_at_least() {
        assert_eq!(lifetime("1s"), Ok(Duration::from_secs(1)));
        for nothing in ["0s", "0d"] {
            assert!(
                lifetime(nothing).unwrap_err().contains("at least 1s"),
                "{nothing}"
            );
        }
    }
}
