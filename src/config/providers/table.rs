//! The tables as they stand in the file.

use std::{fmt, path::PathBuf};

use serde::Deserialize;

use crate::config::{ConfigError, DatabaseUrl, file::nearest};

/// What a table may hold, and what holds where it does not, for people to read.
const KEYS: &[(&str, &str)] = &[
    ("kind", "openai"),
    ("base_url", "-"),
    ("models", "-"),
    ("api_key_env", "none"),
    ("api_key_file", "none"),
    ("ca_file", "the system's"),
    ("api", "chat"),
    ("stream", "true"),
    ("output_limit", "by the host"),
    ("connect_timeout_s", "5"),
    ("first_byte_timeout_s", "30"),
    ("gap_timeout_s", "30"),
    ("total_timeout_s", "120"),
    ("concurrency", "256"),
    ("context_tokens", "8192"),
    ("fallback", "none"),
];

/// Which dialect a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// That of OpenAI, which most servers speak.
    #[default]
    Openai,
    /// That of Anthropic.
    Anthropic,
}

/// Which API of the OpenAI dialect is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Chat Completions.
    #[default]
    Chat,
    /// Responses.
    Responses,
}

/// What the longest answer is called in Chat Completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputLimit {
    /// As most servers call it.
    MaxTokens,
    /// As OpenAI calls it by now.
    MaxCompletionTokens,
}

/// One table.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Table {
    pub(super) kind: ProviderKind,
    pub(super) base_url: Option<String>,
    pub(super) models: Vec<String>,
    pub(super) api_key_env: Option<String>,
    pub(super) api_key_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) api: Option<Api>,
    pub(super) stream: Option<bool>,
    pub(super) output_limit: Option<OutputLimit>,
    pub(super) connect_timeout_s: Option<u64>,
    pub(super) first_byte_timeout_s: Option<u64>,
    pub(super) gap_timeout_s: Option<u64>,
    pub(super) total_timeout_s: Option<u64>,
    pub(super) concurrency: Option<usize>,
    pub(super) context_tokens: Option<usize>,
    pub(super) fallback: Vec<String>,
}

/// The `[providers.NAME]` tables, in the order of the file.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct ProviderTables(toml::Table);

// A URL can hold a password, so only names show.
impl fmt::Debug for ProviderTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ProviderTables {
    /// What every table may hold, and what holds where it does not, for people to read.
    pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
        KEYS.iter().copied()
    }

    /// These tables, or others if there are none.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        if self.0.is_empty() { others } else { self }
    }

    /// Every key of every table: its full name, the value in effect as people may see it, and whether the file gives it.
    pub fn shown(&self) -> impl Iterator<Item = (String, String, bool)> {
        self.0.iter().flat_map(|(name, table)| {
            KEYS.iter().map(move |(key, default)| {
                let given = table.get(key).map(|value| match value {
                    // It may hold a password, although it should not.
                    toml::Value::String(url) if *key == "base_url" => {
                        DatabaseUrl::from(url.as_str()).to_string()
                    }
                    toml::Value::String(name) if *key == "api_key_env" && !is_variable(name) => {
                        "(secret)".to_owned()
                    }
                    value => shown(value),
                });
                let is_given = given.is_some();
                (
                    format!("providers.{name}.{key}"),
                    given.unwrap_or_else(|| (*default).to_owned()),
                    is_given,
                )
            })
        })
    }

    /// Refuses what is no table or holds what no table may hold.
    pub(in crate::config) fn check(&self) -> Result<(), ConfigError> {
        for (name, table) in &self.0 {
            let Some(table) = table.as_table() else {
                return Err(ConfigError::new(
                    format!("providers.{name}"),
                    "is not a table",
                    format!("begin one with [providers.{name}]"),
                ));
            };
            let known = || KEYS.iter().map(|(key, _)| *key);
            let Some(key) = table.keys().find(|key| !known().any(|known| known == *key)) else {
                continue;
            };
            let hint = match nearest(key, known()) {
                _ if key == "api_key" => {
                    "keys stay out of this file: name the variable or the file that holds it, api_key_env = \"NAME\" or api_key_file = \"PATH\""
                        .to_owned()
                }
                Some(name) => format!("did you mean `{name}`?"),
                None => "see docs/providers.md for what a provider can have".to_owned(),
            };
            return Err(ConfigError::new(
                format!("providers.{name}"),
                format!("there is no setting `{key}`"),
                hint,
            ));
        }
        Ok(())
    }

    pub(super) fn read(&self) -> Result<Vec<(String, Table)>, ConfigError> {
        self.check()?;
        let read = |(name, table): (&String, &toml::Value)| match table.clone().try_into() {
            Ok(table) => Ok((name.clone(), table)),
            Err(error) => {
                // It says which key in a second line.
                let problem = error.to_string().trim().replace('\n', " ");
                let hint = "see docs/providers.md for what a provider can have";
                Err(ConfigError::new(format!("providers.{name}"), problem, hint))
            }
        };
        self.0.iter().map(read).collect()
    }
}

fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(switch) => switch.to_string(),
        _ => "(something else)".to_owned(),
    }
}

/// Whether an environment can have a variable of this name. Keys of providers look different, so one that was written
/// in the name's place is not taken for a name.
pub(super) fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
