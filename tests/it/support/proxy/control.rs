//! What the switches of a proxy say, shared with its connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Cut, Direction, Upstream, Verdict};

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Pass,
    Refuse,
    Stall,
    Lose(Direction),
}

/// What a test thinks of a chunk.
type Judge = Box<dyn FnMut(&[u8]) -> Verdict + Send>;

/// How long the next connection lives.
pub(super) type Lives = Box<dyn FnMut() -> Duration + Send>;

/// What is armed.
pub(super) enum Hook {
    None,
    Bytes(Vec<u8>, Cut),
    Chunk(usize, Cut),
    Judge(Judge),
}

pub(super) struct Control {
    mode: watch::Sender<Mode>,
    hook: Mutex<Hook>,
    /// Where new connections lead.
    upstream: Mutex<Upstream>,
    /// For ever, where nothing is said.
    lives: Mutex<Option<Lives>>,
    /// Cancelled to reset the connections that are open, then replaced for those to come.
    reset: Mutex<CancellationToken>,
    pub(super) connections: AtomicUsize,
    pub(super) open: AtomicUsize,
    pub(super) cuts: AtomicUsize,
    pub(super) lost: AtomicUsize,
}

impl Control {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self {
            mode: watch::Sender::new(Mode::Pass),
            hook: Mutex::new(Hook::None),
            upstream: Mutex::new(upstream),
            lives: Mutex::new(None),
            reset: Mutex::new(CancellationToken::new()),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            cuts: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        }
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits for a mode in which something happens, whatever it is.
    pub(super) async fn mode(&self, goes_on: impl FnMut(&Mode) -> bool) -> Mode {
        let mut modes = self.mode.subscribe();
        // The sender is `self`: it cannot be gone.
        modes.wait_for(goes_on).await.map_or(Mode::Refuse, |mode| *mode)
    }

    pub(super) fn lead_to(&self, upstream: Upstream) {
        *lock(&self.upstream) = upstream;
    }

    pub(super) fn upstream(&self) -> Upstream {
        lock(&self.upstream).clone()
    }

    pub(super) fn limit_lives(&self, lives: Lives) {
        *lock(&self.lives) = Some(lives);
    }

    pub(super) fn life(&self) -> Option<Duration> {
        lock(&self.lives).as_mut().map(|next| next())
    }

    pub(super) fn reset_token(&self) -> CancellationToken {
        lock(&self.reset).clone()
    }

    pub(super) fn reset_all(&self) {
        std::mem::take(&mut *lock(&self.reset)).cancel();
    }

    pub(super) fn arm(&self, hook: Hook) {
        *lock(&self.hook) = hook;
    }

    /// What becomes of this chunk. `before` is what the same client sent before it, or the end of that.
    pub(super) fn verdict(&self, before: &[u8], chunk: &[u8]) -> Verdict {
        let mut hook = lock(&self.hook);
        let cut = match &mut *hook {
            Hook::None => return Verdict::Pass,
            Hook::Judge(judge) => {
                let verdict = judge(chunk);
                if verdict != Verdict::Pass {
                    self.cuts.fetch_add(1, Ordering::SeqCst);
                }
                return verdict;
            }
            Hook::Bytes(bytes, cut) => completes(before, chunk, bytes).then_some(*cut),
            Hook::Chunk(left, cut) => {
                *left = left.saturating_sub(1);
                (*left == 0).then_some(*cut)
            }
        };
        let Some(cut) = cut else { return Verdict::Pass };
        *hook = Hook::None;
        self.cuts.fetch_add(1, Ordering::SeqCst);
        match cut {
            Cut::AfterSending => Verdict::ForwardThenReset,
            Cut::BeforeSending => Verdict::ResetBefore,
        }
    }
}

/// Whether the chunk holds the bytes, or the end of them when what came before holds their beginning.
fn completes(before: &[u8], chunk: &[u8], bytes: &[u8]) -> bool {
    let overlap = before.len().min(bytes.len().saturating_sub(1));
    let seen = [&before[before.len() - overlap..], chunk].concat();
    seen.windows(bytes.len()).any(|window| window == bytes)
}

/// A test's closure may panic; that test fails by itself, and the proxy goes on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
