//! Logs: to the console (stderr) and to a file.

use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
};

use super::{ids, rotation::RotatingFile, writer::Writer};
use crate::config::{LogFormat, LogLevel, LogSettings};

/// Keeps the writers alive; dropping it writes what they still hold.
#[derive(Debug)]
pub struct Logging {
    _writers: Vec<Writer>,
}

/// Starts logging, for the rest of the process.
pub fn start(settings: &LogSettings) -> io::Result<Logging> {
    ids::show(settings.ids);
    report_panics();
    let console: Box<dyn Write + Send> = Box::new(io::stderr());
    let file: Option<Box<dyn Write + Send>> = match &settings.file {
        Some(path) => Some(Box::new(RotatingFile::open(
            path,
            settings.file_limit,
            settings.files_kept,
        )?)),
        None => None,
    };
    let colours = io::stderr().is_terminal() && settings.format == LogFormat::Text;
    // Without colours both get the same bytes: a line is put together once.
    let sinks = match (colours, file) {
        (true, Some(file)) => vec![(true, vec![console]), (false, vec![file])],
        (false, Some(file)) => vec![(false, vec![console, file])],
        (_, None) => vec![(colours, vec![console])],
    };
    let (mut layers, mut writers) = (Vec::new(), Vec::new());
    for (colours, sinks) in sinks {
        let (lines, writer) = Writer::start(sinks)?;
        layers.push(layer(settings.format, colours, lines));
        writers.push(writer);
    }
    let subscriber = tracing_subscriber::registry().with(layers.with_filter(filter(settings.level)));
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    Ok(Logging { _writers: writers })
}

/// A panic's message can hold what a client sent, so only its place is logged.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a panic");
    }));
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
