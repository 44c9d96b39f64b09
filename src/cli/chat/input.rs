//! Lines from stdin, and Ctrl-C.

use std::{collections::VecDeque, io};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Split, Stdin, stdin},
    signal::unix::{Signal, SignalKind, signal},
};

/// Lines. What is typed while a reply is written waits for its turn.
#[derive(Debug)]
pub(super) struct Lines {
    stdin: Split<BufReader<Stdin>>,
    typed: VecDeque<Vec<u8>>,
    has_ended: bool,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            stdin: BufReader::new(stdin()).split(b'\n'),
            typed: VecDeque::new(),
            has_ended: false,
        }
    }

    /// The next line without its end, or nothing when there are no more. May be dropped and asked again.
    pub(super) async fn next(&mut self) -> io::Result<Option<String>> {
        let line = match self.typed.pop_front() {
            None if self.has_ended => None,
            None => self.stdin.next_segment().await?,
            line => line,
        };
        let text = |line| String::from_utf8(line).map_err(|_| io::Error::other("it is not UTF-8"));
        line.map(text).transpose()
    }

    /// Waits until nothing more will be typed.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        while !self.has_ended {
            match self.stdin.next_segment().await? {
                Some(line) => self.typed.push_back(line),
                None => self.has_ended = true,
            }
        }
        Ok(())
    }
}

/// Ctrl-C: from here on it does not end the process by itself.
#[derive(Debug)]
pub(super) struct Interrupts(Signal);

impl Interrupts {
    pub(super) fn new() -> io::Result<Self> {
        signal(SignalKind::interrupt()).map(Self)
    }

    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
