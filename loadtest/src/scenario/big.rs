//! One conversation of a million messages: its pages, searches while an honest client goes on, appends, and the start on that database.

use super::{Settings, alternate, ratio, spread, start};
use crate::client::{Client, Honest, HonestClient, create_path, sentence};
use crate::histogram::Histogram;
use crate::http;
use crate::load::{self, Load, Stop};
use crate::process::Process;
use crate::report::{Report, mib, number, time};
use anyhow::{Result, bail, ensure};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FILLERS: usize = 64;
/// Messages that are sent between two looks at the clock.
const CHUNK: u64 = 50_000;
const SMALL: u64 = 100;
const HONEST_RATE: u32 = 50;
const NEEDLE: &str = "kestrel";
const MOST_RATIO: f64 = 1.5;
const PAGE_TARGET: Duration = Duration::from_millis(20);
const SEARCH_TARGET: Duration = Duration::from_secs(1);
const P99_TARGET: Duration = Duration::from_millis(20);

struct Big<'a> {
    settings: &'a Settings,
    server: Process,
    client: Client,
    id: String,
    count: u64,
}

/// Measures it.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    eprintln!(
        "a conversation of {} messages",
        number(settings.messages as f64)
    );
    let scratch = settings.scratch("big")?;
    let server = settings.start(&scratch)?;
    let mut client = Client::new(server.addr)?;
    let id = client.conversation("Big")?;
    let mut big = Big {
        settings,
        server,
        client,
        id,
        count: 0,
    };
    big.fill(report)?;
    big.pages(report)?;
    big.searches(report)?;
    big.appends(report)?;
    report.remark(format!(
        "big: {} of memory after all that, {} of files",
        mib(big.server.memory("VmRSS")?),
        mib(size_of(scratch.path())?)
    ));
    start::restarts(settings, report, &scratch, big.server, big.count)
}

impl Big<'_> {
    fn fill(&mut self, report: &mut Report) -> Result<()> {
        let path = create_path(&self.id);
        let requests: Vec<Vec<u8>> = (0..1000)
            .map(|number| http::post(&path, &http::message("assistant", &sentence(number))))
            .collect();
        let requests: Arc<[Vec<u8>]> = requests.into();
        let begin = Instant::now();
        let mut sent = 0;
        let mut needle = false;
        while sent < self.settings.messages && begin.elapsed() < self.settings.fill_limit {
            let each = CHUNK
                .min(self.settings.messages - sent)
                .div_ceil(FILLERS as u64);
            let outcome = load::run(&Load {
                addr: self.server.addr,
                requests: Arc::clone(&requests),
                clients: FILLERS,
                warmup: Duration::ZERO,
                stop: Stop::Count(
                    each,
                    self.settings.fill_limit.saturating_sub(begin.elapsed()),
                ),
            })?;
            if outcome.errors() > 0 {
                bail!("while filling: {}", outcome.errors_text());
            }
            sent += outcome.succeeded;
            if !needle && sent >= self.settings.messages / 2 {
                self.client.post(
                    &path,
                    &http::message("assistant", &format!("A {NEEDLE} hung over the harbour.")),
                )?;
                needle = true;
            }
            eprintln!(
                "     {} messages, {} a second",
                number(sent as f64),
                number(outcome.rate())
            );
        }
        let seconds = begin.elapsed().as_secs_f64();
        self.count = self.client.count(&self.id, "")?;
        ensure!(
            self.count >= sent,
            "{sent} acknowledged, {} stored",
            self.count
        );
        report.remark(format!(
            "big: {} messages posted over HTTP by {FILLERS} clients in {seconds:.0} s ({} a second)",
            number(self.count as f64),
            number(sent as f64 / seconds)
        ));
        Ok(())
    }

    fn page(&self, query: &str) -> Vec<u8> {
        http::get(&format!("/conversations/{}/messages{query}", self.id))
    }

    /// Two requests by turns: the median ratio of their medians, what each took, and the ratios as text.
    fn against(&self, request: &[u8], other: &[u8]) -> Result<(f64, Histogram, Histogram, String)> {
        let (mut first, mut second) = (
            Client::new(self.server.addr)?,
            Client::new(self.server.addr)?,
        );
        let limit = self.settings.time;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut both = (Histogram::default(), Histogram::default());
        for round in 0..=self.settings.rounds {
            let [one, two] = alternate(
                self.settings,
                [
                    &mut |count| first.time_many(request, count, limit),
                    &mut |count| second.time_many(other, count, limit),
                ],
            )?;
            if round == 0 {
                continue; // warm-up
            }
            ours.push(one.median().as_secs_f64());
            theirs.push(two.median().as_secs_f64());
            both.0.merge(&one);
            both.1.merge(&two);
        }
        Ok((
            ratio(&ours, &theirs),
            both.0,
            both.1,
            spread(&ours, &theirs),
        ))
    }

    fn pages(&mut self, report: &mut Report) -> Result<()> {
        let small = self.client.conversation("Small")?;
        self.client.fill(&small, SMALL)?;
        let small = http::get(&format!("/conversations/{small}/messages"));
        let first = self.page("");
        let (times, of_big, of_small, _) = self.against(&first, &small)?;
        report.row(
            &format!(
                "first page in a conversation of {} messages, median",
                number(self.count as f64)
            ),
            &format!("within 1.5 times the one in {SMALL}"),
            format!(
                "{} = {times:.2} times {}",
                time(of_big.median()),
                time(of_small.median())
            ),
            times <= MOST_RATIO,
        );
        let pages = self.count.div_ceil(10);
        for (name, query) in [
            ("last page (`page=last`)", "?page=last".to_owned()),
            ("last page (by number)", format!("?page={pages}")),
            ("page in the middle", format!("?page={}", pages / 2)),
            (
                "page in the middle, 100 a page",
                format!("?page={}&page_size=100", (pages / 20).max(1)),
            ),
        ] {
            let request = self.page(&query);
            let seen = self
                .client
                .time_many(&request, self.settings.lone, self.settings.time)?;
            let is_last = name.starts_with("last");
            report.row(
                &format!("{name}, p99"),
                if is_last { "under 20 ms" } else { "" },
                format!("{} (median {})", time(seen.p99()), time(seen.median())),
                is_last.then(|| seen.p99() < PAGE_TARGET),
            );
        }
        for query in ["?role=assistant", "?role=user", "?role=assistant&page=last"] {
            let request = self.page(query);
            let seen = self
                .client
                .time_many(&request, self.settings.lone, self.settings.time)?;
            report.remark(format!(
                "big: `{query}` median {}, p99 {}",
                time(seen.median()),
                time(seen.p99())
            ));
        }
        Ok(())
    }

    fn honest_while<T>(
        &mut self,
        work: impl FnOnce(&mut Client) -> Result<T>,
    ) -> Result<(T, Honest)> {
        let other = self.client.conversation("Honest")?;
        self.client.fill(&other, 10)?;
        let request = http::get(&format!("/conversations/{other}"));
        let honest = HonestClient::start(
            self.server.addr,
            request,
            HONEST_RATE,
            Duration::from_mins(5),
        );
        let done = work(&mut self.client);
        let seen = honest.finish()?;
        Ok((done?, seen))
    }

    fn searches(&mut self, report: &mut Report) -> Result<()> {
        // Enough requests of the honest client for a 99th percentile.
        let long = self.settings.time.mul_f64(2.5);
        let ((), calm) = self.honest_while(|_| {
            std::thread::sleep(long);
            Ok(())
        })?;
        report.remark(format!(
            "honest client alone: p99 {}, max {}",
            time(calm.latency.p99()),
            time(calm.latency.max())
        ));
        for (name, query) in [
            ("rare word", format!("?q={NEEDLE}")),
            ("no match", "?q=no+such+words".to_owned()),
            ("in every message", "?q=HARBOUR".to_owned()),
            (
                "in every message, last page",
                "?q=HARBOUR&page=last".to_owned(),
            ),
            ("one letter", "?q=x".to_owned()),
        ] {
            let request = self.page(&query);
            let (search, honest) =
                self.honest_while(|client| client.time_many(&request, u64::MAX, long))?;
            report.row(
                &format!("`q`, {name}: slowest of {}", search.len()),
                "under 1 s",
                format!("{} (median {})", time(search.max()), time(search.median())),
                search.max() < SEARCH_TARGET,
            );
            report.row(
                &format!("… meanwhile an honest client at {HONEST_RATE} requests/s, p99"),
                "under 20 ms",
                format!(
                    "{} (max {}, {} requests, {} errors)",
                    time(honest.latency.p99()),
                    time(honest.latency.max()),
                    honest.latency.len(),
                    honest.errors
                ),
                honest.latency.p99() < P99_TARGET && honest.errors == 0,
            );
        }
        Ok(())
    }

    fn appends(&mut self, report: &mut Report) -> Result<()> {
        let body = http::message("assistant", &sentence(1));
        let into_big = http::post(&create_path(&self.id), &body);
        let empty = self.client.conversation("Empty")?;
        let into_empty = http::post(&create_path(&empty), &body);
        let (times, to_big, to_empty, rounds) = self.against(&into_big, &into_empty)?;
        self.count = self.client.count(&self.id, "")?;
        report.row(
            "append to it, lone client, median",
            "as fast as to an empty one",
            format!(
                "{} = {times:.2} times {}",
                time(to_big.median()),
                time(to_empty.median())
            ),
            times <= 1.2, // equal, but for the noise of a disk
        );
        report.remark(format!("big: append, ratio by round: {rounds}"));
        Ok(())
    }
}

fn size_of(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let data = entry?.metadata()?;
        bytes += if data.is_file() { data.len() } else { 0 };
    }
    Ok(bytes)
}
