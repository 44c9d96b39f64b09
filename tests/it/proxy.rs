//! The network that fails on demand does what it says: other tests build on it.

mod lives;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::timeout;

use crate::support::proxy::{Cut, Direction, Proxy, Upstream, Verdict};
use crate::support::{SOON, eventually};

/// Long enough for bytes that flow, and short for a proof that they do not.
const A_MOMENT: Duration = Duration::from_millis(100);

/// A server that sends back what it gets and remembers it.
struct Echo {
    upstream: Upstream,
    heard: Heard,
    _folder: TempDir,
}

type Heard = Arc<Mutex<Vec<u8>>>;

impl Echo {
    async fn over_tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream::Tcp(listener.local_addr().unwrap());
        let echo = Self::new(upstream);
        let heard = Arc::clone(&echo.heard);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, Arc::clone(&heard)));
            }
        });
        echo
    }

    fn over_unix() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo");
        let listener = UnixListener::bind(&path).unwrap();
        let echo = Self {
            _folder: folder,
            ..Self::new(Upstream::Unix(path))
        };
        let heard = Arc::clone(&echo.heard);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, Arc::clone(&heard)));
            }
        });
        echo
    }

    fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            heard: Heard::default(),
            _folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn proxied(&self) -> Proxy {
        Proxy::start(self.upstream.clone()).await
    }

    fn heard(&self) -> String {
        String::from_utf8(self.heard.lock().unwrap().clone()).unwrap()
    }

    async fn hears(&self, what: &str) {
        eventually("the server hears it", SOON, async || {
            (self.heard() == what).then_some(())
        })
        .await;
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, heard: Heard) {
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        heard.lock().unwrap().extend_from_slice(&chunk[..length]);
        let _ = stream.write_all(&chunk[..length]).await;
    }
}

struct Caller(TcpStream);

impl Caller {
    async fn at(proxy: &Proxy) -> Self {
        Self(TcpStream::connect(proxy.address()).await.unwrap())
    }

    async fn says(&mut self, what: &str) {
        self.0.write_all(what.as_bytes()).await.unwrap();
    }

    async fn gets(&mut self, what: &str) {
        let mut got = vec![0; what.len()];
        timeout(SOON, self.0.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), what);
    }

    async fn gets_nothing(&mut self) {
        let more = timeout(A_MOMENT, self.0.read_u8()).await;
        assert!(more.is_err(), "{more:?}");
    }

    async fn is_reset(&mut self) {
        let end = timeout(SOON, self.0.read_u8()).await.unwrap();
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    /// Reset, but for a client that was still at connecting it can look like an end.
    async fn is_gone(&mut self) {
        timeout(SOON, self.0.read_u8()).await.unwrap().unwrap_err();
    }
}

/// Where nobody listens.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

async fn loses(proxy: &Proxy, bytes: usize) {
    eventually("the bytes are lost", SOON, async || {
        (proxy.lost() == bytes).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bytes_pass_over_tcp_and_over_a_unix_socket() {
    for echo in [Echo::over_tcp().await, Echo::over_unix()] {
        let proxy = echo.proxied().await;
        let mut caller = Caller::at(&proxy).await;
        caller.says("hello").await;
        caller.gets("hello").await;
        let mut second = Caller::at(&proxy).await;
        second.says(" you").await;
        second.gets(" you").await;
        assert_eq!(echo.heard(), "hello you");
        assert_eq!((proxy.connections(), proxy.open(), proxy.cuts()), (2, 2, 0));
    }
}

#[tokio::test]
async fn an_end_is_passed_on_and_answers_still_come() {
    for echo in [Echo::over_tcp().await, Echo::over_unix()] {
        let proxy = echo.proxied().await;
        let mut caller = Caller::at(&proxy).await;
        caller.says("last words").await;
        caller.0.shutdown().await.unwrap();
        let mut all = String::new();
        timeout(SOON, caller.0.read_to_string(&mut all))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(all, "last words");
        eventually("the connection is closed", SOON, async || {
            (proxy.open() == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_looks_like_a_reset() {
    let proxy = Proxy::start(Upstream::Tcp(NOWHERE)).await;
    Caller::at(&proxy).await.is_gone().await;
    let proxy = Proxy::start(Upstream::Unix("/nowhere/at/all".into())).await;
    Caller::at(&proxy).await.is_gone().await;
}

#[tokio::test]
async fn refusing_resets_old_connections_and_new_ones_until_it_passes_again() {
    for echo in [Echo::over_tcp().await, Echo::over_unix()] {
        let proxy = echo.proxied().await;
        let mut old = Caller::at(&proxy).await;
        old.says("a").await;
        old.gets("a").await;
        proxy.refuse();
        old.is_reset().await;
        Caller::at(&proxy).await.is_gone().await;
        proxy.pass();
        let mut new = Caller::at(&proxy).await;
        new.says("b").await;
        new.gets("b").await;
        assert_eq!(proxy.cuts(), 0, "only hooks cut");
    }
}

#[tokio::test]
async fn stalled_bytes_wait_and_then_go_on() {
    for echo in [Echo::over_tcp().await, Echo::over_unix()] {
        let proxy = echo.proxied().await;
        let mut old = Caller::at(&proxy).await;
        old.says("a").await;
        old.gets("a").await;
        proxy.stall();
        let mut new = Caller::at(&proxy).await;
        old.says("b").await;
        new.says("b").await;
        old.gets_nothing().await;
        new.gets_nothing().await;
        assert_eq!(echo.heard(), "a");
        proxy.pass();
        old.gets("b").await;
        new.gets("b").await;
    }
}

#[tokio::test]
async fn while_stalled_nobody_learns_that_the_other_side_is_gone() {
    let echo = Echo::over_tcp().await;
    let proxy = echo.proxied().await;
    let mut caller = Caller::at(&proxy).await;
    caller.says("a").await;
    caller.gets("a").await;
    proxy.stall();
    drop(caller);
    timeout(A_MOMENT, std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(proxy.open(), 1);
    proxy.pass();
    eventually("the end arrives", SOON, async || {
        (proxy.open() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_way_loses_answers_or_requests() {
    for echo in [Echo::over_tcp().await, Echo::over_unix()] {
        let proxy = echo.proxied().await;
        let mut caller = Caller::at(&proxy).await;
        proxy.lose(Direction::ToClient);
        caller.says("answer?").await;
        loses(&proxy, 7).await;
        assert_eq!(echo.heard(), "answer?");

        proxy.lose(Direction::ToServer);
        caller.says("hello?").await;
        loses(&proxy, 7 + 6).await;
        assert_eq!(echo.heard(), "answer?");

        proxy.pass();
        caller.says("still?").await;
        loses(&proxy, 7 + 6 + 6).await;
        let mut new = Caller::at(&proxy).await;
        new.says("hello!").await;
        new.gets("hello!").await;
        assert_eq!(echo.heard(), "answer?hello!", "what was lost stays lost");
    }
}

#[tokio::test]
async fn resetting_all_serves_the_next_connection() {
    for echo in [Echo::over_tcp().await, Echo::over_unix()] {
        let proxy = echo.proxied().await;
        let (mut one, mut two) = (Caller::at(&proxy).await, Caller::at(&proxy).await);
        for caller in [&mut one, &mut two] {
            caller.says("a").await;
            caller.gets("a").await;
        }
        proxy.reset_all();
        one.is_reset().await;
        two.is_reset().await;
        let mut new = Caller::at(&proxy).await;
        new.says("b").await;
        new.gets("b").await;
    }
}

#[tokio::test]
async fn a_cut_after_sending_lets_the_request_arrive_and_no_answer_back() {
    for echo in [Echo::over_tcp().await, Echo::over_unix()] {
        let proxy = echo.proxied().await;
        let mut caller = Caller::at(&proxy).await;
        caller.says("BEGIN;").await;
        caller.gets("BEGIN;").await;
        proxy.cut_when(b"COMMIT", Cut::AfterSending);
        caller.says("do; COMMIT;").await;
        caller.is_reset().await;
        echo.hears("BEGIN;do; COMMIT;").await;
        assert_eq!(proxy.cuts(), 1);

        let mut next = Caller::at(&proxy).await;
        next.says("COMMIT").await;
        next.gets("COMMIT").await;
        assert_eq!(proxy.cuts(), 1, "a hook cuts once");
    }
}

#[tokio::test]
async fn a_cut_before_sending_keeps_the_request_from_the_server() {
    for echo in [Echo::over_tcp().await, Echo::over_unix()] {
        let proxy = echo.proxied().await;
        let mut caller = Caller::at(&proxy).await;
        proxy.cut_when(b"COMMIT", Cut::BeforeSending);
        caller.says("BEGIN;").await;
        caller.gets("BEGIN;").await;
        caller.says("do; COMMIT;").await;
        caller.is_reset().await;
        eventually("the server's side ends", SOON, async || {
            (proxy.open() == 0).then_some(())
        })
        .await;
        assert_eq!((echo.heard().as_str(), proxy.cuts()), ("BEGIN;", 1));
    }
}

#[tokio::test]
async fn bytes_that_come_in_pieces_are_found() {
    let echo = Echo::over_tcp().await;
    let proxy = echo.proxied().await;
    let (mut caller, mut other) = (Caller::at(&proxy).await, Caller::at(&proxy).await);
    proxy.cut_when(b"COMMIT", Cut::AfterSending);
    caller.says("COM").await;
    caller.gets("COM").await;
    // Another connection's bytes do not complete them.
    other.says("MIT").await;
    other.gets("MIT").await;
    caller.says("MI").await;
    caller.gets("MI").await;
    caller.says("T").await;
    caller.is_reset().await;
    echo.hears("COMMITMIT").await;
}

#[tokio::test]
async fn chunks_are_counted_from_the_arming_on() {
    for (cut, arrives) in [(Cut::AfterSending, "abc"), (Cut::BeforeSending, "ab")] {
        let echo = Echo::over_tcp().await;
        let proxy = echo.proxied().await;
        let mut caller = Caller::at(&proxy).await;
        caller.says("a").await;
        caller.gets("a").await;
        proxy.cut_at_chunk(2, cut);
        caller.says("b").await;
        caller.gets("b").await;
        caller.says("c").await;
        caller.is_reset().await;
        echo.hears(arrives).await;
        assert_eq!(proxy.cuts(), 1);
    }
}

#[tokio::test]
async fn a_judge_is_asked_until_it_is_disarmed() {
    let echo = Echo::over_tcp().await;
    let proxy = echo.proxied().await;
    proxy.judge(|chunk| match chunk {
        b"in" => Verdict::ForwardThenReset,
        b"out" => Verdict::ResetBefore,
        _ => Verdict::Pass,
    });
    for word in ["in", "out"] {
        let mut caller = Caller::at(&proxy).await;
        caller.says("-").await;
        caller.gets("-").await;
        caller.says(word).await;
        caller.is_reset().await;
    }
    echo.hears("-in-").await;
    assert_eq!(proxy.cuts(), 2);
    proxy.disarm();
    let mut caller = Caller::at(&proxy).await;
    caller.says("out").await;
    caller.gets("out").await;
}

#[tokio::test]
async fn a_proxy_that_is_dropped_resets_its_connections() {
    let echo = Echo::over_tcp().await;
    let proxy = echo.proxied().await;
    let address = proxy.address();
    let mut caller = Caller::at(&proxy).await;
    caller.says("a").await;
    caller.gets("a").await;
    drop(proxy);
    caller.is_reset().await;
    eventually("nobody listens any more", SOON, async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
}
