//! Clients of one node while its database fails: they take 503 for an answer and nothing else, and say when it came.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::faults::ledger::Ledger;
use crate::faults::load::{self, post};
use crate::faults::{Dice, Proof, Violation, ensure};
use crate::support::{Answer, Client, SOON, eventually};

/// How many write, and how many read.
pub(super) const WRITERS: usize = 10;
const READERS: usize = 4;

/// The longest a statement may take, the longest wait for a connection, and some more: beyond that, a request hangs.
const ANSWERED_WITHIN: Duration = Duration::from_secs(9);

/// What a crowd has seen.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    pub(super) written: usize,
    pub(super) writes_put_off: usize,
    pub(super) read: usize,
    pub(super) reads_put_off: usize,
    pub(super) slowest: Duration,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.writes_put_off += other.writes_put_off;
        self.read += other.read;
        self.reads_put_off += other.reads_put_off;
        self.slowest = self.slowest.max(other.slowest);
    }

    pub(super) fn put_off(&self) -> usize {
        self.writes_put_off + self.reads_put_off
    }
}

/// What its members tell while they are at it.
#[derive(Default)]
struct News {
    seen: Mutex<Seen>,
    last_put_off: Mutex<Option<Instant>>,
    written_by: [AtomicUsize; WRITERS],
}

/// Clients at work.
pub(super) struct Crowd {
    news: Arc<News>,
    enough: CancellationToken,
    members: JoinSet<Proof<()>>,
}

impl Crowd {
    /// Starts writers and readers. In the ledger, the writers have the numbers from `first` on.
    pub(super) fn start(
        client: &Client,
        ledger: &Ledger,
        conversations: &[String],
        first: usize,
        dice: &mut Dice,
    ) -> Self {
        let mut crowd = Self {
            news: Arc::default(),
            enough: CancellationToken::new(),
            members: JoinSet::new(),
        };
        for number in 0..WRITERS + READERS {
            let member = Member {
                client: client.clone(),
                ledger: ledger.clone(),
                conversations: conversations.to_vec(),
                news: Arc::clone(&crowd.news),
                enough: crowd.enough.clone(),
                dice: Dice::of(dice.next()),
            };
            if number < WRITERS {
                crowd.members.spawn(member.write(number, first + number));
            } else {
                crowd.members.spawn(member.read());
            }
        }
        crowd
    }

    /// Waits until each writer was acknowledged something more, unless somebody sees a promise broken before.
    pub(super) async fn all_write(&mut self) -> Proof<()> {
        let before = self.written();
        eventually("everybody writes", 3 * SOON, async || {
            if let Some(ended) = self.members.try_join_next() {
                return Some(ended.expect("a member that ends"));
            }
            let all = self
                .written()
                .iter()
                .zip(before)
                .all(|(now, before)| *now > before);
            all.then_some(Ok(()))
        })
        .await
    }

    /// What was put off so far.
    pub(super) fn put_off(&self) -> usize {
        lock(&self.news.seen).put_off()
    }

    /// When somebody was last sent away.
    pub(super) fn last_put_off(&self) -> Option<Instant> {
        *lock(&self.news.last_put_off)
    }

    /// Lets everybody read the last answer and go.
    pub(super) async fn finish(mut self) -> Proof<Seen> {
        self.enough.cancel();
        while let Some(ended) = self.members.join_next().await {
            ended.expect("a member that ends")?;
        }
        Ok(lock(&self.news.seen).clone())
    }

    fn written(&self) -> [usize; WRITERS] {
        std::array::from_fn(|writer| self.news.written_by[writer].load(Ordering::Relaxed))
    }
}

struct Member {
    client: Client,
    ledger: Ledger,
    conversations: Vec<String>,
    news: Arc<News>,
    enough: CancellationToken,
    dice: Dice,
}

impl Member {
    async fn write(mut self, number: usize, name: usize) -> Proof<()> {
        while !self.enough.is_cancelled() {
            let conversation = &self.conversations[self.dice.below(self.conversations.len())];
            let text = load::text(self.dice.next(), "");
            let began = Instant::now();
            let answer = post(&self.client, &self.ledger, name, conversation, &text).await;
            let answer = answer.ok_or_else(|| Violation("a write got no answer".to_owned()))?;
            if self.judge("a write", &answer, 201, began)? {
                self.news.written_by[number].fetch_add(1, Ordering::Relaxed);
                lock(&self.news.seen).written += 1;
            } else {
                lock(&self.news.seen).writes_put_off += 1;
                self.rest(10).await;
            }
        }
        Ok(())
    }

    async fn read(mut self) -> Proof<()> {
        while !self.enough.is_cancelled() {
            let conversation = &self.conversations[self.dice.below(self.conversations.len())];
            let what = [
                "",
                "/messages",
                "/messages?role=user",
                "/messages?page=last&q=hello",
            ];
            let path = format!(
                "/conversations/{conversation}{}",
                what[self.dice.below(what.len())]
            );
            let began = Instant::now();
            let answer = Answer::try_of(self.client.request(Method::GET, &path)).await;
            let answer = answer.map_err(|error| Violation(format!("a read got no answer: {error}")))?;
            if self.judge("a read", &answer, 200, began)? {
                lock(&self.news.seen).read += 1;
            } else {
                lock(&self.news.seen).reads_put_off += 1;
            }
            self.rest(5).await;
        }
        Ok(())
    }

    /// Whether it was done, and not put off.
    fn judge(&self, what: &str, answer: &Answer, done: u16, began: Instant) -> Proof<bool> {
        let took = began.elapsed();
        ensure(took < ANSWERED_WITHIN, || format!("{what} hung for {took:?}"))?;
        let mut seen = lock(&self.news.seen);
        seen.slowest = seen.slowest.max(took);
        drop(seen);
        if answer.status == done {
            return Ok(true);
        }
        judge_put_off(what, answer)?;
        *lock(&self.news.last_put_off) = Some(Instant::now());
        Ok(false)
    }

    /// So that the ledger of what was put off stays small enough to be judged.
    async fn rest(&mut self, ms: u64) {
        sleep(Duration::from_millis(ms + self.dice.next() % (2 * ms))).await;
    }
}

/// Sent away with a time to come back, and nothing else.
pub(super) fn judge_put_off(what: &str, answer: &Answer) -> Proof<()> {
    ensure(answer.status == 503, || {
        format!("{what} was answered {}: {}", answer.status, answer.text())
    })?;
    let seconds: Option<u64> = answer.header("retry-after").parse().ok();
    ensure(seconds.is_some_and(|seconds| seconds >= 1), || {
        format!("{what} got a 503 without Retry-After")
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
