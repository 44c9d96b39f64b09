//! Our own format: a conversation is a line of JSON, a long one several (`docs/transfer.md`).

mod line;
mod read;
mod shapes;
mod write;

pub use read::read;
pub use write::Export;

/// What each line says first.
const FORMAT: &str = "engagement.conversation/1";
