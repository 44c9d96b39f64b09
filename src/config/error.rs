use std::fmt;

/// A setting that makes no sense or is refused: which, what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The setting's name, or the file's path.
    pub setting: String,
    /// What is wrong with it. Never shows a secret.
    pub problem: String,
    /// What to type next.
    pub hint: String,
}

impl ConfigError {
    /// An error about one setting.
    pub fn new(setting: impl Into<String>, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            setting: setting.into(),
            problem: problem.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

impl std::error::Error for ConfigError {}
