//! `engagement.toml`: the same names as the flags, with underscores, and the tables of providers.

use std::{fs, io, path::Path};

use super::{ConfigError, Settings};

/// Read when no other file is named, if it is there.
const DEFAULT_PATH: &str = "engagement.toml";

pub(super) fn read(path: Option<&Path>) -> Result<Settings, ConfigError> {
    let (path, must_exist) = match path {
        Some(path) => (path, true),
        None => (Path::new(DEFAULT_PATH), false),
    };
    match fs::read_to_string(path) {
        Ok(text) => parse(&path.display().to_string(), &text),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && !must_exist => Ok(Settings::default()),
        Err(cause) => Err(ConfigError::new(
            path.display().to_string(),
            cause.to_string(),
            "give a file that can be read: --config PATH",
        )),
    }
}

pub(super) fn parse(path: &str, text: &str) -> Result<Settings, ConfigError> {
    // The parser's own message shows the line, which may hold a secret: only where and what is passed on.
    let wrong = |error: &toml::de::Error| {
        let line = error.span().map_or(1, |span| {
            text.get(..span.start).unwrap_or(text).lines().count().max(1)
        });
        ConfigError::new(
            format!("{path}, line {line}"),
            error.message(),
            "see `engagement --help` for every setting",
        )
    };
    let table: toml::Table = toml::from_str(text).map_err(|error| wrong(&error))?;
    let names = || Settings::NAMES.iter().copied().chain(["providers"]);
    if let Some(key) = table.keys().find(|key| !names().any(|name| name == *key)) {
        let hint = match nearest(key, names()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "see `engagement --help` for every setting".to_owned(),
        };
        return Err(ConfigError::new(
            path,
            format!("there is no setting `{key}`"),
            hint,
        ));
    }
    let settings: Settings = toml::from_str(text).map_err(|error| wrong(&error))?;
    settings.providers.check()?;
    Ok(settings)
}

/// The name that was probably meant.
pub(super) fn nearest(key: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let similar = |name: &&str| strsim::jaro_winkler(name, key);
    let name = names.max_by(|a, b| similar(a).total_cmp(&similar(b)))?;
    (similar(&name) > 0.8).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_settings_as_flags_do() {
        let settings = parse(
            "f",
            "listen = '127.0.0.1:1'\nworkers = 3\nproduction = true\ncors_origins = ['https://a']",
        )
        .unwrap();
        assert_eq!(settings.shown("listen").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(settings.workers, Some(3));
        assert_eq!(settings.production, Some(true));
        assert_eq!(settings.shown("cors_origins").as_deref(), Some("https://a"));
    }

    #[test]
    fn a_misspelt_setting_is_an_error_with_a_suggestion() {
        let error = parse("f", "lissten = '127.0.0.1:1'").unwrap_err();
        assert_eq!(error.problem, "there is no setting `lissten`");
        assert_eq!(error.hint, "did you mean `listen`?");
    }

    #[test]
    fn an_error_names_the_line_and_keeps_the_secret() {
        let error = parse("f", "listen = '127.0.0.1:1'\napi_key = {secret = 'canary'}").unwrap_err();
        assert_eq!(error.setting, "f, line 2");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}
