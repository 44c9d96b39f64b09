//! Which key opens the service, and when it refuses to start at all.

use std::fs;

use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, HttpSettings, Settings};

/// The key that the specification's examples use. Everybody knows it.
pub const SEED_KEY: &str = "neuRealities_assessment";

/// The shortest key that production takes.
const SHORTEST_IN_PRODUCTION: usize = 24;

const MAKE_A_KEY: &str = "make a key with `openssl rand -hex 24` and set ENGAGEMENT_API_KEY to it";

/// Who may write.
#[derive(Debug, Clone)]
pub struct Access {
    /// The key.
    pub key: SecretString,
    /// Whether it is the one that everybody knows.
    pub is_seed_key: bool,
    /// Whether the service runs under production's rules.
    pub production: bool,
}

pub(super) fn section(settings: &Settings, http: &HttpSettings) -> Result<Access, ConfigError> {
    let production = settings.production.unwrap_or_default();
    let given = given_key(settings)?;
    if production && given.is_none() {
        return Err(ConfigError::new("production", "there is no API key", MAKE_A_KEY));
    }
    let key = given.unwrap_or_else(|| SecretString::from(SEED_KEY));
    let is_seed_key = key.expose_secret() == SEED_KEY;
    if production {
        refuse_in_production(&key, is_seed_key, http)?;
    }
    let allowed = http.listen.ip().is_loopback() || settings.allow_default_key.unwrap_or_default();
    if is_seed_key && !allowed {
        return Err(ConfigError::new(
            "api_key",
            format!(
                "the default key is publicly known, and {} can be reached from other machines",
                http.listen
            ),
            format!(
                "{MAKE_A_KEY}, or listen on 127.0.0.1, or accept the risk with ENGAGEMENT_ALLOW_DEFAULT_KEY=1"
            ),
        ));
    }
    Ok(Access {
        key,
        is_seed_key,
        production,
    })
}

fn refuse_in_production(
    key: &SecretString,
    is_seed_key: bool,
    http: &HttpSettings,
) -> Result<(), ConfigError> {
    if is_seed_key {
        return Err(ConfigError::new(
            "api_key",
            "production refuses the default key, which is publicly known",
            MAKE_A_KEY,
        ));
    }
    if key.expose_secret().chars().count() < SHORTEST_IN_PRODUCTION {
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
    ) -> Result<bool, String> {
        let settings = Settings {
            listen: Some(listen.parse().unwrap()),
            api_key: key.map(SecretString::from),
            allow_default_key: Some(allow),
            production: Some(production),
            public_url: url.map(str::to_owned),
            ..Settings::default()
        };
        Config::new(&settings)
            .map(|config| config.access.is_seed_key)
            .map_err(|error| error.setting)
    }

    #[test]
    fn every_combination_at_start_up_is_judged() {
        let (near, far) = ("127.0.0.1:8000", "0.0.0.0:8000");
        let refused = |setting: &str| Err(setting.to_owned());
        for (listen, key, allow, production, url, expected) in [
            (near, None, false, false, None, Ok(true)),
            ("[::1]:8000", None, false, false, None, Ok(true)),
            (near, Some(SEED_KEY), false, false, None, Ok(true)),
            (near, Some("short"), false, false, None, Ok(false)),
            (near, Some(""), false, false, None, refused("api_key")),
            (near, Some("two words"), false, false, None, refused("api_key")),
            (far, None, false, false, None, refused("api_key")),
            (far, Some(SEED_KEY), false, false, None, refused("api_key")),
            (far, None, true, false, None, Ok(true)),
            (far, Some("short"), false, false, None, Ok(false)),
            (near, None, false, true, None, refused("production")),
            (far, None, true, true, None, refused("production")),
            (near, Some(SEED_KEY), true, true, None, refused("api_key")),
            (near, Some("short"), false, true, None, refused("api_key")),
            (far, Some(GOOD), false, true, None, Ok(false)),
            (
                far,
                Some(GOOD),
                false,
                true,
                Some("http://chat.example.com"),
                refused("public_url"),
            ),
            (
                far,
                Some(GOOD),
                false,
                true,
                Some("https://chat.example.com"),
                Ok(false),
            ),
            (
                far,
                Some(GOOD),
                false,
                false,
                Some("http://chat.example.com"),
                Ok(false),
            ),
        ] {
            let case = format!("{listen} {key:?} allow={allow} production={production} {url:?}");
            assert_eq!(outcome(listen, key, allow, production, url), expected, "{case}");
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
