//! The formats in which conversations come and go: our own lines of JSON, and what other programs have written.
//!
//! What is read is handed on portion by portion, so that nothing has to be held as a whole. What is wrong with one
//! conversation is told, and the next one is read.

mod chatgpt;
mod django;
mod fit;
mod jsonl;

use std::fmt;

pub use chatgpt::read as read_chatgpt;
pub use django::read as read_django;
pub use fit::Fit;
pub use jsonl::{Export, read as read_jsonl};

use crate::model::{MovedConversation, MovedMessage};

/// The most messages in a portion ...
pub const PORTION: usize = 2_000;

/// ... and about the most bytes of text.
pub const PORTION_BYTES: usize = 4 * 1024 * 1024;

/// A part of a conversation, in its order.
#[derive(Debug)]
pub struct Portion {
    /// Where it was found, for people: a line, or the number of a conversation.
    pub place: u64,
    /// The conversation.
    pub conversation: MovedConversation,
    /// Whether it is the first part.
    pub is_first: bool,
    /// Whether it is the last part.
    pub is_last: bool,
    /// What was said.
    pub messages: Vec<MovedMessage>,
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// A part of a conversation.
    Portion(Box<Portion>),
    /// A conversation that cannot be read, or the rest of one.
    Refused(Refused),
    /// So many messages that nobody would see were left out.
    Skipped(u64),
}

/// What is wrong with a conversation. It is for a terminal, as it may hold an identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where, as in [`Portion::place`].
    pub place: u64,
    /// What, by the field's name.
    pub problem: String,
}

/// Why reading ended before its end.
#[derive(Debug)]
pub enum Unreadable {
    /// The file.
    Io(std::io::Error),
    /// It is not what it should be; where and how.
    Format(String),
    /// Nobody takes what is read any more.
    Stopped,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(cause) => write!(f, "it cannot be read: {cause}"),
            Self::Format(problem) => f.write_str(problem),
            Self::Stopped => f.write_str("nobody takes it"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<std::io::Error> for Unreadable {
    fn from(cause: std::io::Error) -> Self {
        Self::Io(cause)
    }
}

/// Takes what is read; [`Unreadable::Stopped`] ends the reading.
pub type Take<'a> = &'a mut dyn FnMut(Found) -> Result<(), Unreadable>;

/// What is wrong with a piece of JSON, by the field's name.
fn named(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let (path, cause) = (error.path().to_string(), shown(error.inner()));
    if matches!(path.as_str(), "." | "?") {
        cause
    } else {
        format!("{path}: {cause}")
    }
}

/// The cause without its line, which is always the first, and without its column where the field says enough.
fn shown(error: &serde_json::Error) -> String {
    let (cause, column) = (error.to_string(), error.column());
    let cause = cause.split(" at line ").next().unwrap_or_default();
    if error.is_syntax() || error.is_eof() {
        format!("{cause} at column {column}")
    } else {
        cause.to_owned()
    }
}
