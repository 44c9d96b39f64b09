//! Streamed replies, beside the same fake upstream called directly: the first token, 200 at once, and those who only listen.

mod crowd;
mod first_token;
mod idle;
mod many;
mod talk;

use super::Settings;
use crate::process::{Process, Scratch};
use crate::report::Report;
use crate::upstream::MODEL;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// How long a part may take beyond what its tokens take.
const GRACE: Duration = Duration::from_secs(30);

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    eprintln!("streamed replies");
    first_token::run(settings, report).context("the first token")?;
    many::run(settings, report).context("many streams")?;
    idle::run(settings, report).context("idle subscribers")?;
    crowd::run(settings, report).context("subscribers of one conversation")
}

/// The service, and the upstream that it asks.
struct Stage {
    server: Process,
    upstream: Process,
    scratch: Scratch,
}

impl Stage {
    fn start(settings: &Settings, name: &str) -> Result<Self> {
        let scratch = settings.scratch(name)?;
        let upstream = Process::upstream()?;
        let config = format!(
            "[providers.fake]\nbase_url = \"http://{}/v1\"\nmodels = [\"{MODEL}\"]\n",
            upstream.addr
        );
        std::fs::write(scratch.path().join("engagement.toml"), config)?;
        Ok(Self {
            server: settings.start(&scratch)?,
            upstream,
            scratch,
        })
    }

    /// How many transactions were committed so far: a counter in the index of `SQLite`'s log, which other processes may read.
    fn commits(&self) -> Result<u32> {
        let index = std::fs::read(self.scratch.path().join("engagement.db-shm"))?;
        let counter = index.get(8..12).context("the log's index is too short")?;
        Ok(u32::from_ne_bytes(counter.try_into()?))
    }

    fn usage(&self) -> Usage {
        Usage {
            at: Instant::now(),
            server: self.server.cpu(),
            upstream: self.upstream.cpu(),
            own: crate::process::own_cpu(),
        }
    }
}

/// Processor time up to some moment, or between two.
struct Usage {
    at: Instant,
    server: Duration,
    upstream: Duration,
    own: Duration,
}

impl Usage {
    /// Shares of one processor since then, as text, and the service's time.
    fn since(&self, before: &Self) -> (String, Duration) {
        let time = (self.at - before.at).as_secs_f64();
        let share = |now: Duration, then: Duration| {
            crate::report::percent(now.saturating_sub(then).as_secs_f64() / time)
        };
        let text = format!(
            "of one processor the service took {}, the upstream {}, the clients {}",
            share(self.server, before.server),
            share(self.upstream, before.upstream),
            share(self.own, before.own)
        );
        (text, self.server.saturating_sub(before.server))
    }
}

/// Runs a part on this thread, but not for ever.
fn within<T>(limit: Duration, part: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match tokio::time::timeout(limit + GRACE, part).await {
            Ok(done) => done,
            Err(_) => bail!("not over after {:?}", limit + GRACE),
        }
    })
}
