//! One connection through the proxy.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

use super::control::{Control, Mode};
use super::{Direction, Upstream, Verdict};

const CHUNK: usize = 64 * 1024;
/// How much of what a client sent is remembered, to find bytes that come in pieces.
pub(super) const REMEMBERED: usize = 1024;

/// A socket of either kind.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes the coming close of this socket an RST instead of a farewell, where there is such a thing.
    fn reset(&self);
}

impl Socket for TcpStream {
    fn reset(&self) {
        // Fails where the other side has reset it already.
        let _ = self.set_zero_linger();
    }
}

impl Socket for UnixStream {
    fn reset(&self) {}
}

/// Why a connection ends before both sides have said that they are done.
enum End {
    /// The client is reset; the server still gets what was sent to it.
    Cut,
    /// Both sides are reset.
    Reset,
}

/// Connects when the network lets it; `None` when it does not or the server is away.
pub(super) async fn connect(upstream: &Upstream, control: &Control) -> Option<Box<dyn Socket>> {
    if control.mode(|mode| *mode != Mode::Stall).await == Mode::Refuse {
        return None;
    }
    let server: Box<dyn Socket> = match upstream {
        Upstream::Tcp(address) => Box::new(TcpStream::connect(address).await.ok()?),
        Upstream::Unix(path) => Box::new(UnixStream::connect(path).await.ok()?),
    };
    Some(server)
}

/// Carries bytes both ways until both sides are done, a hook cuts, or the connection is reset.
pub(super) async fn run(
    mut client: TcpStream,
    mut server: Box<dyn Socket>,
    control: &Control,
    reset: &CancellationToken,
) {
    let cut = AtomicBool::new(false);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = tokio::io::split(&mut *server);
    let carried = async {
        tokio::try_join!(
            carry(Direction::ToServer, from_client, to_server, control, &cut),
            carry(Direction::ToClient, from_server, to_client, control, &cut),
        )
    };
    let ended = tokio::select! {
        biased;
        () = reset.cancelled() => Err(End::Reset),
        ended = carried => ended,
    };
    match ended {
        Ok(_) => {}
        Err(End::Reset) => {
            client.reset();
            server.reset();
        }
        Err(End::Cut) => {
            client.reset();
            drop(client);
            tokio::select! {
                () = reset.cancelled() => server.reset(),
                () = hear_out(&mut *server) => {}
            }
        }
    }
}

async fn carry(
    direction: Direction,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    control: &Control,
    cut: &AtomicBool,
) -> Result<(), End> {
    let mut buffer = vec![0; CHUNK];
    let mut before = Vec::new();
    // TCP delivers nothing that comes after a gap: a connection that has lost something is silent from then on.
    let mut has_gap = false;
    loop {
        let read = from.read(&mut buffer).await;
        let ends = !matches!(read, Ok(1..));
        // What was read is in flight, and so is the news that the other side is gone.
        let loses = |mode: &Mode| has_gap || *mode == Mode::Lose(direction);
        let mode = control
            .mode(|mode| *mode == Mode::Refuse || (*mode != Mode::Stall && !(ends && loses(mode))))
            .await;
        let chunk = match read {
            _ if mode == Mode::Refuse => return Err(End::Reset),
            Err(_) => return Err(End::Reset),
            Ok(0) => return to.shutdown().await.map_err(|_| End::Reset),
            Ok(length) if loses(&mode) => {
                has_gap = true;
                control.lost.fetch_add(length, Ordering::SeqCst);
                continue;
            }
            Ok(length) => &buffer[..length],
        };
        let verdict = match direction {
            Direction::ToServer => control.verdict(&before, chunk),
            // An answer can come before the request was written to its end.
            Direction::ToClient if cut.load(Ordering::SeqCst) => continue,
            Direction::ToClient => Verdict::Pass,
        };
        if verdict != Verdict::Pass {
            cut.store(true, Ordering::SeqCst);
        }
        if verdict != Verdict::ResetBefore {
            to.write_all(chunk).await.map_err(|_| End::Reset)?;
        }
        if verdict != Verdict::Pass {
            return Err(End::Cut);
        }
        before.extend_from_slice(chunk);
        before.drain(..before.len().saturating_sub(REMEMBERED));
    }
}

/// Says that nothing more comes and reads to the end. A socket that is closed with unread bytes sends an RST, which
/// takes from the server what it has received and not read: the very bytes that were to arrive.
async fn hear_out(server: &mut dyn Socket) {
    // Both fail where the server is gone already.
    let _ = server.shutdown().await;
    let mut server = server;
    let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
}
