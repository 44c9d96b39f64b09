//! Gets log lines to where they belong, in large pieces, on a thread of their own.
//!
//! A request only copies its line into a buffer. The thread takes the whole buffer a few milliseconds after
//! the first line came: under load that is one system call for hundreds of lines, where waking a writer for each
//! line cost a quarter of the processor. When the buffer is full, lines are dropped and counted.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// What may wait to be written; about ten thousand lines.
const BUFFER: usize = 1024 * 1024;

/// How long the first line waits for company.
const LINGER: Duration = Duration::from_millis(5);

/// How long the last lines may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is enough company.
const ENOUGH: usize = BUFFER / 4;

/// Where lines are left for the thread.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Whether the thread waits for a line to come; else it looks by itself.
    asleep: bool,
    closed: bool,
    finished: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Takes a line whole, or drops and counts it; never fails and never waits.
    pub(super) fn put(&self, line: &[u8]) {
        let mut waiting = self.0.lock();
        let (before, asleep) = (waiting.lines.len(), waiting.asleep);
        if before + line.len() > BUFFER {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.lines.extend_from_slice(line);
        let after = waiting.lines.len();
        drop(waiting);
        if asleep || (before < ENOUGH && after >= ENOUGH) {
            self.0.changed.notify_one();
        }
    }
}

/// A thread that writes. Dropping it writes what is left, if the sink takes it.
#[derive(Debug)]
pub(super) struct Writer(Arc<Shared>);

impl Writer {
    /// Starts a thread for this sink alone: one that is stuck holds up no other.
    pub(super) fn start(name: &str, sink: impl Write + Send + 'static) -> io::Result<(Lines, Self)> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&of_thread, sink))?;
        Ok((Lines(Arc::clone(&shared)), Self(shared)))
    }

    /// Tells how many lines could not be written.
    pub(super) fn lost(&self) -> LinesLost {
        LinesLost(Arc::clone(&self.0))
    }
}

/// How many lines a sink has not got.
#[derive(Debug, Clone)]
pub(super) struct LinesLost(Arc<Shared>);

impl LinesLost {
    pub(super) fn count(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.closed = true;
        self.0.changed.notify_all();
        // Nobody may be reading the console; that must not keep the process from ending.
        drop(
            self.0
                .changed
                .wait_timeout_while(waiting, FAREWELL, |waiting| !waiting.finished),
        );
    }
}

fn run(shared: &Shared, mut sink: impl Write) {
    let mut lines = Vec::new();
    let mut told = 0;
    loop {
        // Lines that come while the thread lingers, or is about to, wake nobody: they are found here.
        let (mut waiting, _) = shared
            .changed
            .wait_timeout_while(shared.lock(), LINGER, |waiting| {
                waiting.lines.len() < ENOUGH && !waiting.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.lines.is_empty() && !waiting.closed {
            waiting.asleep = true;
            waiting = shared
                .changed
                .wait_while(waiting, |waiting| waiting.lines.is_empty() && !waiting.closed)
                .unwrap_or_else(PoisonError::into_inner);
            waiting.asleep = false;
            continue;
        }
        mem::swap(&mut waiting.lines, &mut lines);
        let closed = waiting.closed;
        drop(waiting);
        if sink.write_all(&lines).and_then(|()| sink.flush()).is_err() {
            // A full disk, a closed console: the service goes on.
            let count = lines.split(|byte| *byte == b'\n').count() - 1;
            shared.dropped.fetch_add(count as u64, Ordering::Relaxed);
        }
        lines.clear();
        lines.shrink_to(ENOUGH);
        if closed {
            shared.lock().finished = true;
            shared.changed.notify_all();
            return;
        }
        let dropped = shared.dropped.load(Ordering::Relaxed);
        if dropped > told {
            tracing::warn!(lines = dropped - told, "log lines were dropped");
            told = dropped + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A sink that shows what it gets, and waits before each piece until it may go on.
    struct Gate {
        pieces: mpsc::Sender<String>,
        go: mpsc::Receiver<()>,
    }

    impl Write for Gate {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.go.recv().unwrap();
            self.pieces
                .send(String::from_utf8(piece.to_vec()).unwrap())
                .unwrap();
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Lines, Writer, mpsc::Receiver<String>, mpsc::Sender<()>) {
        let ((pieces, got), (go_on, go)) = (mpsc::channel(), mpsc::channel());
        let (lines, writer) = Writer::start("gate", Gate { pieces, go }).unwrap();
        (lines, writer, got, go_on)
    }

    #[test]
    fn lines_arrive_whole_and_in_order_and_the_last_before_the_end() {
        let (lines, writer, got, go_on) = gated();
        for number in 0..100 {
            lines.put(format!("line {number}\n").as_bytes());
        }
        for _ in 0..200 {
            go_on.send(()).unwrap();
        }
        drop(writer);
        let expected: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
        assert_eq!(
            got.try_iter().collect::<String>().lines().collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn a_stuck_sink_does_not_keep_the_process_from_ending() {
        let (lines, writer, _got, _go_on) = gated();
        lines.put(b"never written\n");
        drop(writer);
    }

    #[test]
    fn a_stuck_sink_costs_lines_and_no_waiting() {
        let (lines, writer, got, go_on) = gated();
        let line = [b'x'; 1_024];
        for _ in 0..4 * BUFFER / line.len() {
            lines.put(&line);
        }
        let dropped = writer.0.dropped.load(Ordering::Relaxed);
        assert!(dropped > 0, "what does not fit is counted");
        for _ in 0..200 {
            go_on.send(()).unwrap();
        }
        drop(writer);
        let written: usize = got.try_iter().map(|piece| piece.len()).sum();
        assert_eq!(
            written / line.len() + usize::try_from(dropped).unwrap(),
            4 * BUFFER / line.len()
        );
    }
}
