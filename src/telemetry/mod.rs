//! What the process tells its operator.

pub(crate) mod causes;
mod format;
pub mod ids;
pub mod logging;
pub mod metrics;
mod rotation;
pub mod traces;
mod writer;

use metrics::Metrics;
use traces::Traces;

/// What a process counts, and where it sends its traces. By default: nothing, nowhere.
#[derive(Clone, Default)]
pub struct Telemetry {
    /// What is counted.
    pub metrics: Metrics,
    /// Where traces go.
    pub traces: Traces,
}
