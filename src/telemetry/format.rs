//! How a line looks: for people, or one JSON object for programs. Levels bear the names that the service's contract
//! gives them. No line holds a control character but those of colours, so what somebody else wrote is never a line of its own.
//!
//! A line is written for every request. What `tracing_subscriber` has for this cost a tenth of a small one; its layers,
//! filters and events stay.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use crate::{config::LogFormat, model::Timestamp};

/// The field that says what happened; every event has it first.
const MESSAGE: &str = "message";

/// How the lines of one output look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) format: LogFormat,
    /// Only for people.
    pub(super) colours: bool,
}

impl Style {
    /// Puts the line of an event at the end of `line`.
    pub(super) fn write(self, line: &mut Vec<u8>, now: Timestamp, event: &Event<'_>) {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        match self.format {
            LogFormat::Text => {
                let colours = self.colours;
                text_head(line, now, level, target, colours);
                event.record(&mut Text { line, colours });
            }
            LogFormat::Json => {
                json_head(line, now, level, target);
                event.record(&mut Json { line });
                line.push(b'}');
            }
        }
        line.push(b'\n');
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// `2026-11-22T14:15:30.414806Z INFO engagement::request: request method="GET" …`
fn text_head(line: &mut Vec<u8>, now: Timestamp, level: Level, target: &str, colours: bool) {
    put(line, format_args!("{now}"));
    let (before, between, after) = if colours {
        let colour = match level {
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            _ => "\x1b[34m",
        };
        (colour, "\x1b[0m \x1b[2m", ":\x1b[0m")
    } else {
        ("", " ", ":")
    };
    for part in [" ", before, name(level), between, target, after] {
        line.extend_from_slice(part.as_bytes());
    }
}

struct Text<'a> {
    line: &'a mut Vec<u8>,
    colours: bool,
}

impl Text<'_> {
    /// What stands in front of a value.
    fn name(&mut self, field: &Field) {
        let (before, after) = if self.colours {
            ("\x1b[3m", "\x1b[0m\x1b[2m=\x1b[0m")
        } else {
            ("", "=")
        };
        self.line.push(b' ');
        if field.name() != MESSAGE {
            for part in [before, field.name(), after] {
                self.line.extend_from_slice(part.as_bytes());
            }
        }
    }
}

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        put(self.line, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            return self.record_debug(field, &format_args!("{value}"));
        }
        self.name(field);
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        if value.bytes().all(is_plain) {
            self.line.push(b'"');
            self.line.extend_from_slice(value.as_bytes());
            self.line.push(b'"');
        } else {
            put(self.line, format_args!("{value:?}"));
        }
    }
}

/// `{"timestamp": …, "level": …, "target": …, "message": …, <field>: …}`
fn json_head(line: &mut Vec<u8>, now: Timestamp, level: Level, target: &str) {
    put(line, format_args!("{{\"timestamp\":\"{now}\""));
    let mut head = Json { line };
    head.put("level", name(level));
    head.put("target", target);
}

struct Json<'a> {
    line: &'a mut Vec<u8>,
}

impl Json<'_> {
    fn put(&mut self, name: &str, value: impl serde::Serialize) {
        self.line.push(b',');
        // Writing into memory cannot fail, and what is written here are texts and numbers.
        let _ = serde_json::to_writer(&mut *self.line, name);
        self.line.push(b':');
        let _ = serde_json::to_writer(&mut *self.line, &value);
    }
}

impl Visit for Json<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }
}

/// Writes this with control characters escaped.
fn put(line: &mut Vec<u8>, what: fmt::Arguments<'_>) {
    // What cannot be shown is left out, and the line goes on.
    let _ = Escaped(line).write_fmt(what);
}

struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.contains(char::is_control) {
            self.0.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for character in text.chars() {
            let written = if character.is_control() {
                write!(self.0, "{}", character.escape_default())
            } else {
                write!(self.0, "{character}")
            };
            written.map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{error, info, subscriber::with_default, warn};
    use tracing_subscriber::{Layer, Registry, layer::Context, layer::SubscriberExt};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_356_930_414_806);

    struct Kept(Style, Arc<Mutex<Vec<u8>>>);

    impl Layer<Registry> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, Registry>) {
            self.0.write(&mut self.1.lock().unwrap(), NOW, event);
        }
    }

    fn lines(format: LogFormat, colours: bool, log: impl FnOnce()) -> String {
        let kept = Arc::default();
        let layer = Kept(Style { format, colours }, Arc::clone(&kept));
        with_default(Registry::default().with(layer), log);
        String::from_utf8(std::mem::take(&mut kept.lock().unwrap())).unwrap()
    }

    fn request() {
        let cause: Option<&str> = None;
        warn!(target: "engagement::request", method = "GET", status = 200_u16, share = 0.5, is_late = true, cause, "request");
    }

    #[test]
    fn a_line_for_people() {
        assert_eq!(
            lines(LogFormat::Text, false, request),
            "2026-11-22T14:15:30.414806Z WARNING engagement::request: request method=\"GET\" status=200 share=0.5 is_late=true\n"
        );
    }

    #[test]
    fn a_line_for_people_at_a_terminal() {
        assert_eq!(
            lines(LogFormat::Text, true, || info!(target: "a::b", n = 1, "hello")),
            "2026-11-22T14:15:30.414806Z \x1b[32mINFO\x1b[0m \x1b[2ma::b:\x1b[0m hello \x1b[3mn\x1b[0m\x1b[2m=\x1b[0m1\n"
        );
    }

    #[test]
    fn a_line_for_programs() {
        let line = lines(LogFormat::Json, false, request);
        assert_eq!(
            line,
            "{\"timestamp\":\"2026-11-22T14:15:30.414806Z\",\"level\":\"WARNING\",\"target\":\"engagement::request\",\
             \"message\":\"request\",\"method\":\"GET\",\"status\":200,\"share\":0.5,\"is_late\":true}\n"
        );
    }

    #[test]
    fn what_somebody_else_wrote_is_never_a_line_of_its_own() {
        let forged = "a\n2026 INFO b: \x1b[31m\u{9b}\"quoted\\";
        let log = || error!(target: "t", text = forged, shown = %forged, debug = ?forged, "says {forged}");
        for colours in [false, true] {
            let text = lines(LogFormat::Text, colours, log);
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(!text.contains('\u{9b}'), "{text}");
            assert!(!text.contains("\x1b[31m\\"), "{text}");
        }
        let text = lines(LogFormat::Text, false, log);
        assert!(!text.contains('\x1b'), "{text}");
        assert!(
            text.contains(r#"text="a\n2026 INFO b: \u{1b}[31m\u{9b}\"quoted\\""#),
            "{text}"
        );
        let json = lines(LogFormat::Json, false, log);
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["text"], forged);
        assert_eq!(read["shown"], forged);
    }
}
