//! Answers as bytes.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use super::Seen;

/// The way to the caller.
pub(super) struct Out {
    writer: OwnedWriteHalf,
    seen: Arc<Seen>,
    broke_off: bool,
}

impl Out {
    pub(super) fn new(writer: OwnedWriteHalf, seen: Arc<Seen>) -> Self {
        Self {
            writer,
            seen,
            broke_off: false,
        }
    }

    /// Whether it was this side that ended the connection.
    pub(super) fn broke_off(&self) -> bool {
        self.broke_off
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        // A part at a time, so that what is counted as sent was taken.
        for part in bytes.chunks(64 * 1024) {
            self.writer.write_all(part).await?;
            self.seen.sent.fetch_add(part.len() as u64, SeqCst);
        }
        Ok(())
    }

    /// A whole answer; `headers` are lines that end in CRLF.
    pub(super) async fn whole(&mut self, status: u16, kind: &str, headers: &str, body: &[u8]) -> Result<()> {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    pub(super) async fn begin(&mut self, kind: &str) -> Result<()> {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
        self.raw(head.as_bytes()).await
    }

    pub(super) async fn begin_stream(&mut self) -> Result<()> {
        self.begin("text/event-stream").await
    }

    pub(super) async fn chunk(&mut self, bytes: &[u8]) -> Result<()> {
        let head = format!("{:x}\r\n", bytes.len());
        self.raw(&[head.as_bytes(), bytes, b"\r\n"].concat()).await
    }

    /// The end of a chunked body.
    pub(super) async fn end(&mut self) -> Result<()> {
        self.raw(b"0\r\n\r\n").await
    }

    /// The end of the connection: what was sent arrives, and then nothing.
    pub(super) async fn close(&mut self) -> Result<()> {
        self.broke_off = true;
        self.writer.shutdown().await?;
        Err(ErrorKind::ConnectionAborted.into())
    }

    /// The connection is reset.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.broke_off = true;
        let stream: &tokio::net::TcpStream = self.writer.as_ref();
        stream.set_zero_linger()?;
        Err(Error::from(ErrorKind::ConnectionReset))
    }
}
