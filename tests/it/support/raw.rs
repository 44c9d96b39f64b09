//! HTTP by hand, for what a client library refuses to send.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Answer, SOON};

/// One connection and the bytes that came in and were not asked for yet.
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("a connection")
    }

    /// For tests in which the server may be gone.
    pub(crate) async fn try_connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    /// What came in and was not asked for: after a failed answer, the part of it that did come.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Says that nothing more will be sent; answers can still be read.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        self.stream.shutdown().await
    }

    /// Reads one answer. A body ends where its framing says, or where the connection does.
    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        let (status, head) = self.head().await?;
        let headers = headers_of(&head)?;
        let body = if status < 200 || matches!(status, 204 | 304) {
            Vec::new()
        } else if headers.contains_key("transfer-encoding") {
            self.chunks().await?
        } else if let Some(length) = headers.get("content-length") {
            let length = length.to_str().map_err(Error::other)?;
            self.take(length.parse().map_err(Error::other)?).await?
        } else {
            while self.fill().await? {}
            std::mem::take(&mut self.unread)
        };
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Reads the head of an answer only, as for HEAD.
    pub(crate) async fn head(&mut self) -> Result<(u16, String)> {
        let head = self.take_until(b"\r\n\r\n").await?;
        let head = String::from_utf8(head).map_err(Error::other)?;
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        Ok((
            status.ok_or_else(|| Error::other(format!("no status in {head:?}")))?,
            head,
        ))
    }

    /// Whether the server closes the connection in time, without another byte.
    pub(crate) async fn is_closed(&mut self, within: Duration) -> bool {
        match timeout(within, self.fill()).await {
            Ok(Ok(more)) => !more && self.unread.is_empty(),
            Ok(Err(_)) => true,
            Err(_) => false,
        }
    }

    /// Reads whatever comes until the server closes the connection, in either way.
    pub(crate) async fn drained(&mut self) {
        while matches!(self.fill().await, Ok(true)) {}
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await?;
            if chunk.is_empty() {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    /// Reads the next chunk of a body that comes in chunks; the last is empty.
    pub(crate) async fn chunk(&mut self) -> Result<Vec<u8>> {
        let line = String::from_utf8(self.take_until(b"\r\n").await?).map_err(Error::other)?;
        let size = line.split([';', '\r']).next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(Error::other)?;
        let chunk = self.take(size).await?;
        self.take_until(b"\r\n").await?;
        Ok(chunk)
    }

    async fn take_until(&mut self, end: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return self.take(at + end.len()).await;
            }
            self.fill_or_fail().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.unread.len() < length {
            self.fill_or_fail().await?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    async fn fill_or_fail(&mut self) -> Result<()> {
        let more = timeout(3 * SOON, self.fill())
            .await
            .map_err(|_| Error::from(ErrorKind::TimedOut))??;
        if more {
            Ok(())
        } else {
            Err(ErrorKind::UnexpectedEof.into())
        }
    }

    /// Reads what is there; false at the end of the connection.
    async fn fill(&mut self) -> Result<bool> {
        Ok(self.stream.read_buf(&mut self.unread).await? > 0)
    }
}

pub(super) fn headers_of(head: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Error::other)?;
        headers.append(name, HeaderValue::from_str(value.trim()).map_err(Error::other)?);
    }
    Ok(headers)
}
