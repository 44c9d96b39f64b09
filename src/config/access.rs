//! Which key opens the service, and when it refuses to start at all.

use std::{fs, net::SocketAddr};

use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, HttpSettings, Settings};

/// The key that the specification's examples use. Everybody knows it.
pub const SEED_KEY: &str = "neuRealities_assessment";

/// The shortest key that production takes.
const SHORTEST_IN_PRODUCTION: usize = 24;

const MAKE_A_KEY: &str = "make a key with `engagement keys create NAME`, or with `openssl rand -hex 24` and set ENGAGEMENT_API_KEY to it";

/// Who may write.
#[derive(Debug, Clone)]
pub struct Access {
    /// The key of the configuration, unless it is the one that everybody knows.
    pub key: Option<SecretString>,
    /// Whether the service runs under production's rules.
    pub production: bool,
    /// Whether the key that everybody knows may open the service, while there is no other.
    allows_default_key: bool,
    listen: SocketAddr,
}

/// What keys there are in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// There never was one.
    Nothing,
    /// There are some, and all of them expired or were taken back.
    NothingThatOpens,
    /// There is one that opens the service.
    SomethingThatOpens,
}

impl Access {
    /// Whether the key that everybody knows opens the service.
    pub fn lets_default_key_in(&self, stored: Stored) -> bool {
        self.key.is_none() && !self.production && self.allows_default_key && stored == Stored::Nothing
    }

    /// Refuses a service that nobody could be let into, or everybody. What is stored is known only once the database
    /// is open, so this is judged last.
    pub fn judge(&self, stored: Stored) -> Result<(), ConfigError> {
        if self.key.is_some() || stored == Stored::SomethingThatOpens {
            return Ok(());
        }
        if self.production {
            return Err(ConfigError::new(
                "production",
                "there is no API key that opens the service",
                MAKE_A_KEY,
            ));
        }
        if stored == Stored::Nothing && !self.allows_default_key {
            return Err(ConfigError::new(
                "api_key",
                format!(
                    "the default key is publicly known, and {} can be reached from other machines",
                    self.listen
                ),
                format!(
                    "{MAKE_A_KEY}, or listen on 127.0.0.1, or accept the risk with ENGAGEMENT_ALLOW_DEFAULT_KEY=1"
                ),
            ));
        }
        Ok(())
    }
}

pub(super) fn section(settings: &Settings, http: &HttpSettings) -> Result<Access, ConfigError> {
    let production = settings.production.unwrap_or_default();
    let given = given_key(settings)?;
    if production {
        refuse_in_production(given.as_ref(), http)?;
    }
    let is_loopback = http.listen.ip().is_loopback();
    Ok(Access {
        key: given.filter(|key| key.expose_secret() != SEED_KEY),
        production,
        allows_default_key: is_loopback || settings.allow_default_key.unwrap_or_default(),
        listen: http.listen,
    })
}

fn refuse_in_production(key: Option<&SecretString>, http: &HttpSettings) -> Result<(), ConfigError> {
    let key = key.map(ExposeSecret::expose_secret);
    if key == Some(SEED_KEY) {
        return Err(ConfigError::new(
            "api_key",
            "production refuses the default key, which is publicly known",
            MAKE_A_KEY,
        ));
    }
    if key.is_some_and(|key| key.chars().count() < SHORTEST_IN_PRODUCTION) {
        let problem = format!("production refuses a key shorter than {SHORTEST_IN_PRODUCTION} characters");
        return Err(ConfigError::new("api_key", problem, MAKE_A_KEY));
    }
    if http
        .public_url
        .as_deref()
        .is_some_and(|url| !url.starts_with("https://"))
    {
        let problem = "production refuses a public URL that is not https";
        return Err(ConfigError::new(
            "public_url",
            problem,
            "give the https URL that clients use",
        ));
    }
    Ok(())
}

/// The key that a service with these settings has: what somebody who asks it shows.
pub fn key(settings: &Settings) -> Result<SecretString, ConfigError> {
    Ok(given_key(settings)?.unwrap_or_else(|| SecretString::from(SEED_KEY)))
}

/// The key that was configured, in whichever of the two ways.
fn given_key(settings: &Settings) -> Result<Option<SecretString>, ConfigError> {
    let key = match (&settings.api_key, &settings.api_key_file) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::new(
                "api_key",
                "is given twice, as key and as file",
                "remove one of the two",
            ));
        }
        (Some(key), None) => key.clone(),
        (None, Some(path)) => match fs::read_to_string(path) {
            Ok(text) => SecretString::from(text.trim()),
            Err(cause) => {
                let problem = format!("cannot read {}: {cause}", path.display());
                return Err(ConfigError::new(
                    "api_key_file",
                    problem,
                    "give a file that this user can read",
                ));
            }
        },
        (None, None) => return Ok(None),
    };
    let text = key.expose_secret();
    if text.is_empty() {
        return Err(ConfigError::new("api_key", "is empty", MAKE_A_KEY));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = "holds characters that cannot be sent in a header";
        return Err(ConfigError::new("api_key", problem, MAKE_A_KEY));
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const GOOD: &str = "0123456789abcdef01234567";

    /// What a start-up comes to: who is refused over which setting, or whether the default key rules.
    fn outcome(
        listen: &str,
        key: Option<&str>,
        allow: bool,
        production: bool,
        url: Option<&str>,
        stored: Stored,
    ) -> Result<bool, String> {
        let settings = Settings {
            listen: Some(listen.parse().unwrap()),
            api_key: key.map(SecretString::from),
            allow_default_key: Some(allow),
            production: Some(production),
            public_url: url.map(str::to_owned),
            ..Settings::default()
        };
        let judged = Config::new(&settings).and_then(|config| {
            config.access.judge(stored)?;
            Ok(config.access.lets_default_key_in(stored))
        });
        judged.map_err(|error| error.setting)
    }

    #[test]
    fn every_combination_at_start_up_is_judged() {
        use Stored::{Nothing as N, NothingThatOpens as Old, SomethingThatOpens as Open};
        let (near, far) = ("127.0.0.1:8000", "0.0.0.0:8000");
        let (http, https) = (Some("http://chat.example.com"), Some("https://chat.example.com"));
        let refused = |setting: &str| Err(setting.to_owned());
        for (listen, key, allow, production, url, stored, expected) in [
            (near, None, false, false, None, N, Ok(true)),
            ("[::1]:8000", None, false, false, None, N, Ok(true)),
            (near, Some(SEED_KEY), false, false, None, N, Ok(true)),
            (near, Some("short"), false, false, None, N, Ok(false)),
            (near, Some(""), false, false, None, N, refused("api_key")),
            (near, Some("two words"), false, false, None, N, refused("api_key")),
            (near, None, false, false, None, Open, Ok(false)),
            (near, Some(SEED_KEY), true, false, None, Open, Ok(false)),
            (near, None, false, false, None, Old, Ok(false)),
            (far, None, false, false, None, N, refused("api_key")),
            (far, Some(SEED_KEY), false, false, None, N, refused("api_key")),
            (far, None, true, false, None, N, Ok(true)),
            (far, Some("short"), false, false, None, N, Ok(false)),
            (far, None, false, false, None, Open, Ok(false)),
            (far, None, false, false, None, Old, Ok(false)),
            (far, None, true, false, None, Old, Ok(false)),
            (near, None, false, true, None, N, refused("production")),
            (far, None, true, true, None, N, refused("production")),
            (far, None, false, true, None, Old, refused("production")),
            (far, None, false, true, None, Open, Ok(false)),
            (near, Some(SEED_KEY), true, true, None, N, refused("api_key")),
            (near, Some(SEED_KEY), true, true, None, Open, refused("api_key")),
            (near, Some("short"), false, true, None, N, refused("api_key")),
            (near, Some("short"), false, true, None, Open, refused("api_key")),
            (far, Some(GOOD), false, true, None, N, Ok(false)),
            (far, Some(GOOD), false, true, http, N, refused("public_url")),
            (far, Some(GOOD), false, true, https, N, Ok(false)),
            (far, Some(GOOD), false, false, http, N, Ok(false)),
        ] {
            let case = format!("{listen} {key:?} allow={allow} production={production} {url:?} {stored:?}");
            let judged = outcome(listen, key, allow, production, url, stored);
            assert_eq!(judged, expected, "{case}");
        }
    }

    #[test]
    fn refusals_never_show_the_key() {
        let settings = Settings {
            api_key: Some("canary with spaces".into()),
            ..Settings::default()
        };
        let error = Config::new(&settings).unwrap_err();
        assert!(!format!("{error} {error:?} {settings:?}").contains("canary"));
    }
}
