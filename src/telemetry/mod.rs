//! What the process tells its operator.

mod format;
pub mod ids;
pub mod logging;
mod rotation;
mod writer;
