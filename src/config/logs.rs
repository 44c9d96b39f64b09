use std::path::PathBuf;

use super::{ConfigError, Settings, within};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Which lines appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Errors.
    Error,
    /// And potential issues.
    Warn,
    /// And normal operation.
    #[default]
    Info,
    /// And details for development.
    Debug,
    /// And everything else.
    Trace,
}

/// What to log and where.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The file, if any.
    pub file: Option<PathBuf>,
    /// The file's largest size, in bytes.
    pub file_limit: u64,
    /// How many full files are kept.
    pub files_kept: u32,
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines appear.
    pub level: LogLevel,
    /// How identifiers appear.
    pub ids: LoggedIds,
}

/// How identifiers appear in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoggedIds {
    /// As a keyed hash: the same id looks the same within one run of the process, and nobody can go back from it.
    #[default]
    Hashed,
    /// As they are, for development.
    Plain,
}

const MIB: u64 = 1024 * 1024;

const MOST_MIB: u64 = 1024 * 1024;

/// Each is given another name whenever one is full.
const MOST_FILES: u32 = 1_000;

pub(super) fn section(settings: &Settings) -> Result<LogSettings, ConfigError> {
    let file = match settings.log_file.as_deref() {
        None => Some("logs/engagement.log".into()),
        Some("off") => None,
        Some("") => return Err(ConfigError::new("log_file", "is empty", "give a path, or off")),
        Some(path) => Some(path.into()),
    };
    let max_mib = within("log_file_max_mib", settings.log_file_max_mib, 64, &(1..=MOST_MIB))?;
    let files_kept = within("log_files_kept", settings.log_files_kept, 5, &(0..=MOST_FILES))?;
    Ok(LogSettings {
        file,
        file_limit: max_mib.saturating_mul(MIB),
        files_kept,
        format: settings.log_format.unwrap_or_default(),
        level: settings.log_level.unwrap_or_default(),
        ids: settings.log_ids.unwrap_or_default(),
    })
}
