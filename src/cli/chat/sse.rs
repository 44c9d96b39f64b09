//! Server-sent events, read as the HTML standard reads them, however the bytes are cut.

use std::{collections::VecDeque, mem};

/// The most that one event may have. The longest reply is far below it; what is above it is not a reply.
const LONGEST: usize = 16 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: Option<u64>,
    pub(super) name: String,
    pub(super) data: String,
}

/// It holds more than an event may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Makes events of bytes. An event that is cut off is not told: whoever asks again gets it whole.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    after_return: bool,
    begun: bool,
    id: Option<u64>,
    name: String,
    data: Option<String>,
    pause_ms: Option<u64>,
    events: VecDeque<Event>,
}

impl Parser {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        for &byte in bytes {
            let after_return = mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\r' | b'\n' => self.end_line(),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > LONGEST {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    /// The next whole event.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How long the sender wishes that one waits before asking again, in milliseconds.
    pub(super) fn pause_ms(&self) -> Option<u64> {
        self.pause_ms
    }

    fn end_line(&mut self) {
        let line = mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if mem::replace(&mut self.begun, true) {
            &line
        } else {
            line.strip_prefix('\u{feff}').unwrap_or(&line)
        };
        if line.is_empty() {
            self.end_event();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = value.parse().ok(),
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "retry" => self.pause_ms = value.parse().ok().or(self.pause_ms),
            // A comment has no name in front of its colon.
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let name = mem::take(&mut self.name);
        if let Some(data) = self.data.take() {
            let id = self.id;
            self.events.push_back(Event { id, name, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64, name: &str, data: &str) -> Event {
        Event {
            id: Some(id),
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    const STREAM: &str = "\u{feff}retry: 700\n: hello\n\nid: 1\nevent: a\ndata: {\"text\":\"ü\"}\n\n\
        id:2\r\nevent:b\r\ndata:one\r\ndata: two\r\n\r\n:\rid: 3\revent: c\rdata\r\rid: 4\nevent: d\n\ndata: cut off";

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let expected = [
            event(1, "a", "{\"text\":\"ü\"}"),
            event(2, "b", "one\ntwo"),
            event(3, "c", ""),
        ];
        for size in [1, 2, 3, 7, STREAM.len()] {
            let mut parser = Parser::default();
            for piece in STREAM.as_bytes().chunks(size) {
                parser.feed(piece).unwrap();
            }
            let found: Vec<_> = std::iter::from_fn(|| parser.next()).collect();
            assert_eq!(found, expected, "in pieces of {size}");
            assert_eq!(parser.pause_ms(), Some(700));
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; LONGEST / 4];
        let fed: Vec<_> = (0..5).map(|_| parser.feed(&piece).is_ok()).collect();
        assert_eq!(fed, [true, true, true, true, false]);
    }
}
