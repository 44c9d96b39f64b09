//! Logs: to the console (stderr) and to a file.

use std::io::{self, IsTerminal};

use async_trait::async_trait;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, MakeWriter, writer::MakeWriterExt},
    layer::SubscriberExt,
};

use super::{
    format::{Json, Text},
    ids,
    metrics::{Metric, Page, Source},
    rotation::RotatingFile,
    writer::{LinesLost, Writer},
};
use crate::config::{LogFormat, LogLevel, LogSettings};

/// Keeps the writers alive; dropping it writes what they still hold.
#[derive(Debug)]
pub struct Logging {
    writers: Vec<(&'static str, Writer)>,
}

impl Logging {
    /// Tells how many lines could not be written.
    pub fn lost(&self) -> impl Source + use<> {
        let outputs = self.writers.iter();
        Lost(outputs.map(|(output, writer)| (*output, writer.lost())).collect())
    }
}

/// Lines that could not be written, by where they were to go.
struct Lost(Vec<(&'static str, LinesLost)>);

#[async_trait]
impl Source for Lost {
    async fn tell(&self, page: &mut Page) {
        for (output, lost) in &self.0 {
            page.tell(Metric::LogLinesLost, &[output], lost.count());
        }
    }
}

/// Starts logging, for the rest of the process.
pub fn start(settings: &LogSettings) -> io::Result<Logging> {
    ids::show(settings.ids);
    report_panics();
    let (console, console_writer) = Writer::start("log-console", io::stderr())?;
    let mut writers = vec![("console", console_writer)];
    let file = match &settings.file {
        Some(path) => {
            let file = RotatingFile::open(path, settings.file_limit, settings.files_kept)?;
            let (file, file_writer) = Writer::start("log-file", file)?;
            writers.push(("file", file_writer));
            Some(file)
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
    Ok(Logging { writers })
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
    let layer = fmt::layer()
        .with_writer(writer)
        .with_ansi(colours && format == LogFormat::Text);
    match format {
        LogFormat::Text => layer.event_format(Text).boxed(),
        LogFormat::Json => layer.event_format(Json).boxed(),
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
