//! Server-sent events, read from bytes as they come, in bounded memory.

use bytes::{Buf, Bytes};

/// The longest line, and the longest data of one event.
const LONGEST: usize = 1024 * 1024;

/// A line or an event is longer than is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Cuts bytes into the data of events. Names, ids and comments are skipped: in the dialects here, the data says it all.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// A line feed that comes now belongs to the carriage return before it.
    after_cr: bool,
    /// A byte order mark is possible no more.
    begun: bool,
}

impl Parser {
    /// Reads on until an event is complete, and gives its data. `None` when all the bytes are used up.
    ///
    /// What is no UTF-8 is replaced by U+FFFD. An event that the stream's end leaves incomplete is never given.
    pub(super) fn next(&mut self, bytes: &mut Bytes) -> Result<Option<String>, TooLong> {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes.advance(1);
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = bytes.split_to(end.unwrap_or(bytes.len()));
            if self.line.len() + part.len() > LONGEST {
                return Err(TooLong);
            }
            self.line.extend_from_slice(&part);
            if end.is_none() {
                break;
            }
            self.after_cr = bytes.first() == Some(&b'\r');
            bytes.advance(1);
            if let Some(data) = self.end_line()? {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    fn end_line(&mut self) -> Result<Option<String>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if !self.begun => rest,
            _ => &line,
        };
        self.begun = true;
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let has_data = std::mem::take(&mut self.has_data);
            return Ok(has_data.then(|| String::from_utf8_lossy(&data).into_owned()));
        }
        let value = match line.strip_prefix(b"data") {
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            Some([]) => &[],
            _ => return Ok(None),
        };
        if self.data.len() + value.len() >= LONGEST {
            return Err(TooLong);
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(parts: &[&[u8]]) -> Result<Vec<String>, TooLong> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for part in parts {
            let mut bytes = Bytes::copy_from_slice(part);
            while let Some(data) = parser.next(&mut bytes)? {
                events.push(data);
            }
        }
        Ok(events)
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        for (stream, expected) in [
            ("data: a\n\ndata: b\n\n", vec!["a", "b"]),
            ("data: a\r\n\r\ndata: b\r\rdata: c\n\n", vec!["a", "b", "c"]),
            ("\u{feff}data: a\n\n", vec!["a"]),
            (
                "event: x\ndata:a\nid: 7\nretry: 1\nunknown: z\nno colon\n\n",
                vec!["a"],
            ),
            (": a comment\n\n:\n\ndata: a\n\n", vec!["a"]),
            ("data: a\ndata:  b\ndata\ndata:\n\n", vec!["a\n b\n\n"]),
            ("event: lonely\n\n", vec![]),
            ("database: no\n\n", vec![]),
            ("data: complete\n\ndata: cut", vec!["complete"]),
            ("data: complete\n\ndata: cut\n", vec!["complete"]),
            ("", vec![]),
        ] {
            assert_eq!(all(&[stream.as_bytes()]).unwrap(), expected, "{stream:?}");
        }
    }

    #[test]
    fn letters_that_are_none_are_replaced() {
        assert_eq!(all(&[b"data: a\xff\xc3b\n\n"]).unwrap(), ["a\u{fffd}\u{fffd}b"]);
    }

    #[test]
    fn no_more_than_a_line_and_an_event_are_kept() {
        let long = vec![b'a'; LONGEST];
        assert_eq!(all(&[b"data: ", &long]), Err(TooLong));
        assert_eq!(all(&[b":", &long]), Err(TooLong));
        let line = [b"data: ", &long[..LONGEST / 4], b"\n"].concat();
        assert_eq!(all(&[&line, &line, &line, &line]), Err(TooLong));
        assert_eq!(
            all(&[&line, &line, &line, b"\n", &line, b"\n"]).map(|events| events.len()),
            Ok(2)
        );
    }

    proptest! {
        #[test]
        fn it_never_matters_where_the_bytes_are_cut(
            stream in "(data: ?|event: x|:|\r|\n|\r\n|\n\n|a|é|😀){0,40}",
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let parts: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(all(&parts), all(&[bytes]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = all(&[&bytes]);
        }
    }
}
