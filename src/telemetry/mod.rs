//! What the process tells its operator.

pub mod ids;
pub mod logging;
mod rotation;
mod writer;
