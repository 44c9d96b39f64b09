//! Logs: to the console (stderr) and to a file.

use std::{
    cell::Cell,
    io::{self, IsTerminal},
};

use async_trait::async_trait;
use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, SubscriberExt},
};

use super::{
    format::Style,
    ids,
    metrics::{Metric, Page, Source},
    rotation::RotatingFile,
    writer::{Lines, LinesLost, Writer},
};
use crate::{
    clock::Clock,
    config::{LogFormat, LogLevel, LogSettings},
};

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
    let format = settings.format;
    let plain = Style {
        format,
        colours: false,
    };
    let of_console = Style {
        format,
        colours: io::stderr().is_terminal() && format == LogFormat::Text,
    };
    let mut outputs = Outputs::default();
    outputs.add(of_console, console);
    if let Some(file) = file {
        outputs.add(plain, file);
    }
    let subscriber = tracing_subscriber::registry()
        .with(filter(settings.level))
        .with(outputs);
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

/// Where lines go. Outputs whose lines look the same get the same bytes: a line is put together once.
#[derive(Debug, Default)]
struct Outputs(Vec<(Style, Vec<Lines>)>);

impl Outputs {
    fn add(&mut self, style: Style, lines: Lines) {
        match self.0.iter_mut().find(|(other, _)| *other == style) {
            Some((_, outputs)) => outputs.push(lines),
            None => self.0.push((style, vec![lines])),
        }
    }
}

impl<S: Subscriber> Layer<S> for Outputs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        thread_local! {
            /// The line that is being put together.
            static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let now = Clock::system().now();
        let mut line = LINE.take();
        for (style, outputs) in &self.0 {
            line.clear();
            style.write(&mut line, now, event);
            for output in outputs {
                output.put(&line);
            }
        }
        LINE.set(line);
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
