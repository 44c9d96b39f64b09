//! What has to be right before others can reach the service: the README's checklist, as far as a program can see it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use ipnet::IpNet;

use super::{CommandError, REFUSED, print};
use crate::{
    config::{Config, Database, LogLevel, LoggedIds, Ownership, Reads, Settings, Stored},
    model::{ApiKey, Environment, KeyLimits, KeyState, Timestamp},
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It may be meant so.
    Doubtful,
    /// The service would not start so.
    Bad,
    /// Nobody can see it from here.
    Unseen,
}

/// One line of the list.
#[derive(Debug)]
struct Item {
    verdict: Verdict,
    what: &'static str,
    found: String,
}

/// Goes through the list; fails if something is not as production needs it. `keys` are `None` where the database has no
/// place for them yet.
pub(super) fn run(
    settings: &Settings,
    config: &Config,
    keys: Option<&[ApiKey]>,
    now: Timestamp,
) -> Result<(), CommandError> {
    let items = items(settings, config, keys.unwrap_or_default(), now);
    for Item { verdict, what, found } in &items {
        let mark = match verdict {
            Verdict::Good => "ok      ",
            Verdict::Doubtful => "look at ",
            Verdict::Bad => "WRONG   ",
            Verdict::Unseen => "by hand ",
        };
        print(format_args!("{mark} {what}: {found}"))?;
    }
    let wrong: Vec<_> = items
        .iter()
        .filter(|item| item.verdict == Verdict::Bad)
        .map(|item| item.what)
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(CommandError {
        message: format!("not ready for production: {}", wrong.join(", ")),
        hint: "mend what is WRONG above, then run this again".to_owned(),
        code: REFUSED,
    })
}

fn items(settings: &Settings, config: &Config, keys: &[ApiKey], now: Timestamp) -> Vec<Item> {
    vec![
        key(config, keys, now),
        secrets(settings),
        tls(config),
        proxies(config),
        public_url(config),
        hosts(config),
        reads(config),
        owners(config, keys, now),
        limits(config, keys, now),
        logs(config),
        metrics(config),
        database(config),
        unseen(
            "backups",
            "made regularly, and restored once to see that they work",
        ),
    ]
}

fn item(verdict: Verdict, what: &'static str, found: impl Into<String>) -> Item {
    let found = found.into();
    Item { verdict, what, found }
}

fn good(what: &'static str, found: impl Into<String>) -> Item {
    item(Verdict::Good, what, found)
}

fn doubtful(what: &'static str, found: impl Into<String>) -> Item {
    item(Verdict::Doubtful, what, found)
}

fn unseen(what: &'static str, found: impl Into<String>) -> Item {
    item(Verdict::Unseen, what, found)
}

/// Those that open the service: production does not take keys for tests.
fn active(keys: &[ApiKey], now: Timestamp) -> impl Iterator<Item = &ApiKey> {
    keys.iter()
        .filter(|key| key.environment == Environment::Live)
        .filter(move |key| key.state(now) == KeyState::Active)
}

/// What is stored, as it is judged at start-up.
fn stored(keys: &[ApiKey], now: Timestamp) -> Stored {
    match (keys.is_empty(), active(keys, now).next()) {
        (true, _) => Stored::Nothing,
        (false, None) => Stored::NothingThatOpens,
        (false, Some(_)) => Stored::SomethingThatOpens,
    }
}

fn key(config: &Config, keys: &[ApiKey], now: Timestamp) -> Item {
    const WHAT: &str = "a key of your own";
    match config.access.judge(stored(keys, now)) {
        Err(error) => item(Verdict::Bad, WHAT, error.hint),
        Ok(()) => {
            let own = if config.access.key.is_some() {
                "one is configured, "
            } else {
                ""
            };
            good(
                WHAT,
                format!("{own}{} stored ones open the service", active(keys, now).count()),
            )
        }
    }
}

fn secrets(settings: &Settings) -> Item {
    const WHAT: &str = "secrets in files";
    let open: Vec<_> = settings
        .secret_files()
        .into_iter()
        .filter(|path| is_open_to_others(path))
        .map(|path| path.display().to_string())
        .collect();
    let elsewhere = settings.secrets_outside_files();
    if !open.is_empty() {
        let files = open.join(" ");
        doubtful(
            WHAT,
            format!("others on this machine can read {files}: chmod 600 {files}"),
        )
    } else if !elsewhere.is_empty() {
        let elsewhere = elsewhere.join(", ");
        doubtful(
            WHAT,
            format!("in the environment, the command line or engagement.toml: {elsewhere}; a file is safer"),
        )
    } else {
        good(WHAT, "nobody else reads them")
    }
}

fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

fn tls(config: &Config) -> Item {
    const WHAT: &str = "TLS in front";
    if config.http.listen.ip().is_loopback() {
        unseen(
            WHAT,
            "only this machine reaches the service; the proxy in front has to speak TLS",
        )
    } else {
        let listen = config.http.listen;
        doubtful(
            WHAT,
            format!("{listen} speaks plain HTTP: nobody but the proxy may reach it"),
        )
    }
}

fn proxies(config: &Config) -> Item {
    const WHAT: &str = "trusted proxies";
    let proxies = &config.http.trusted_proxies;
    if proxies.is_empty() {
        doubtful(
            WHAT,
            "none is named, so clients of a proxy count as one address: ENGAGEMENT_TRUSTED_PROXIES",
        )
    } else if let Some(wide) = proxies.iter().find(|proxy| is_wide(proxy)) {
        doubtful(
            WHAT,
            format!("{wide} holds more than proxies: whoever asks from there is believed to be anybody"),
        )
    } else {
        good(
            WHAT,
            format!("{} are believed when they say who asks", proxies.len()),
        )
    }
}

/// Whether a network is larger than any that people have for themselves: `10.0.0.0/8` and `fc00::/7` are the largest.
fn is_wide(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < 8,
        IpNet::V6(network) => network.prefix_len() < 32 && !network.addr().is_unique_local(),
    }
}

fn public_url(config: &Config) -> Item {
    const WHAT: &str = "the public URL";
    match &config.http.public_url {
        Some(url) => good(WHAT, url),
        None => doubtful(
            WHAT,
            "links in pages are made from what requests say: ENGAGEMENT_PUBLIC_URL=https://…",
        ),
    }
}

fn hosts(config: &Config) -> Item {
    const WHAT: &str = "host names";
    if config.http.allowed_hosts.is_empty() {
        doubtful(WHAT, "any is answered to: ENGAGEMENT_ALLOWED_HOSTS")
    } else {
        good(WHAT, config.http.allowed_hosts.join(", "))
    }
}

fn reads(config: &Config) -> Item {
    const WHAT: &str = "who may read";
    match config.http.reads {
        Reads::Key => good(WHAT, "those with a key"),
        Reads::Public => doubtful(
            WHAT,
            "whoever has a conversation's id; ENGAGEMENT_READS=key closes that",
        ),
    }
}

fn owners(config: &Config, keys: &[ApiKey], now: Timestamp) -> Item {
    const WHAT: &str = "whose conversations are";
    match (config.service.ownership, active(keys, now).nth(1)) {
        (Ownership::Strict, _) => good(WHAT, "the key's that made them"),
        (Ownership::Shared, None) => good(WHAT, "shared by all keys, of which there are not several"),
        (Ownership::Shared, Some(_)) => doubtful(
            WHAT,
            "each key can write into and delete all of them; ENGAGEMENT_OWNERSHIP=strict keeps keys apart",
        ),
    }
}

fn limits(config: &Config, keys: &[ApiKey], now: Timestamp) -> Item {
    const WHAT: &str = "limits of keys";
    let usual = config.http.limits.keys;
    let is_limited = |own: KeyLimits| {
        let limits = own.or(usual);
        limits.requests_per_s.is_some() || limits.messages_per_min.is_some()
    };
    let stored = active(keys, now).map(|key| key.limits);
    // That of the configuration has none of its own.
    let all: Vec<_> = stored
        .chain(config.access.key.iter().map(|_| KeyLimits::default()))
        .collect();
    let unlimited = all.iter().filter(|own| !is_limited(**own)).count();
    if all.is_empty() {
        doubtful(WHAT, "there is no key that could have any")
    } else if unlimited > 0 {
        doubtful(
            WHAT,
            format!(
                "{unlimited} keys may ask as often as they like: --requests-per-s, --messages-per-min; ENGAGEMENT_KEY_REQUESTS_PER_S for all"
            ),
        )
    } else {
        good(WHAT, "each has some")
    }
}

fn metrics(config: &Config) -> Item {
    const WHAT: &str = "metrics";
    let http = &config.http;
    match http.metrics_listen {
        Some(listen) if !listen.ip().is_loopback() => doubtful(
            WHAT,
            format!("{listen} tells them to whoever reaches it: only your network may"),
        ),
        Some(listen) => good(WHAT, format!("{listen} tells them to this machine")),
        None if !http.metrics => good(WHAT, "there are none"),
        None => good(WHAT, "whoever has a key with metrics:read"),
    }
}

fn logs(config: &Config) -> Item {
    const WHAT: &str = "logs";
    if config.logs.ids == LoggedIds::Plain {
        doubtful(
            WHAT,
            "they show conversation ids, with which one can read: ENGAGEMENT_LOG_IDS=hashed",
        )
    } else if matches!(config.logs.level, LogLevel::Debug | LogLevel::Trace) {
        doubtful(
            WHAT,
            "they are as long as in development: ENGAGEMENT_LOG_LEVEL=info",
        )
    } else {
        good(WHAT, "no ids in the clear")
    }
}

fn database(config: &Config) -> Item {
    const WHAT: &str = "the way to the database";
    match &config.database {
        Database::Sqlite(_) => unseen(WHAT, "the file has to be on a local disk, not on a network share"),
        Database::Postgres(settings) => {
            let url = settings.url.expose();
            let is_near = ["@localhost", "@127.0.0.1", "@[::1]", "@/", ":///"]
                .iter()
                .any(|near| url.contains(near));
            if is_near || url.contains("sslmode=verify-full") {
                good(WHAT, "on this machine, or encrypted to a server that is known")
            } else {
                doubtful(
                    WHAT,
                    "a network may listen in or answer instead: sslmode=verify-full",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
