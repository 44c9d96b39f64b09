//! Logs: to the console (stderr) and to a file, written by threads of their own.
//!
//! Under overload, or with a full disk, lines are dropped and counted rather than waited for.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, MakeWriter, writer::MakeWriterExt},
    layer::SubscriberExt,
};

use super::{ids, rotation::RotatingFile};
use crate::config::{LogFormat, LogLevel, LogSettings};

/// Lines that may wait for their writer.
const BUFFERED_LINES: usize = 16_384;

/// Keeps the writers alive; dropping it writes what they still hold.
#[derive(Debug)]
pub struct Logging {
    counters: Vec<ErrorCounter>,
    /// Held for what dropping them does: they write what is left.
    guards: Vec<WorkerGuard>,
}

impl Logging {
    /// How many lines were dropped because their writer could not follow.
    pub fn dropped_lines(&self) -> usize {
        self.counters.iter().map(ErrorCounter::dropped_lines).sum()
    }
}

/// Starts logging, for the rest of the process.
pub fn start(settings: &LogSettings) -> io::Result<Logging> {
    ids::show(settings.ids);
    let mut logging = Logging {
        counters: Vec::new(),
        guards: Vec::new(),
    };
    let console = logging.writer(io::stderr());
    let file = match &settings.file {
        Some(path) => {
            let file = RotatingFile::open(path, settings.file_limit, settings.files_kept)?;
            Some(logging.writer(file))
        }
        None => None,
    };
    let colours = io::stderr().is_terminal();
    let layers = match file {
        // The same bytes for both: a line is put together once.
        Some(file) if !colours => vec![layer(settings.format, false, console.and(file))],
        Some(file) => vec![
            layer(settings.format, true, console),
            layer(settings.format, false, file),
        ],
        None => vec![layer(settings.format, colours, console)],
    };
    let subscriber = tracing_subscriber::registry().with(layers.with_filter(filter(settings.level)));
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    Ok(logging)
}

impl Logging {
    fn writer(&mut self, target: impl io::Write + Send + 'static) -> NonBlocking {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(BUFFERED_LINES)
            .finish(io::BufWriter::new(target));
        self.counters.push(writer.error_counter());
        self.guards.push(guard);
        writer
    }
}

fn layer<W>(format: LogFormat, colours: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    }
}

/// Other crates' lines stay out below a warning: what they would print is not ours to vouch for.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("engagement", level)
}
