//! The disk is full: writes are put off with a 503, reads go on, and when there is room again so do the writes.
//!
//! The disk is a tmpfs of a few MiB in a mount namespace that the server has to itself; database and log are on it. The
//! test reaches it through `/proc/PID/root`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ledger::{Ledger, Tally};
use super::load::{self, post};
use super::{Dice, Proof, Violation, ensure, fails, holds, new_home, works_here};
use crate::support::{Answer, Client, SOON, Server};

const ROUNDS: usize = 3;

/// What the wrapper does before it becomes the server: a small disk, half of it taken up by a ballast.
const ON_A_SMALL_DISK: &str = "mkdir disk && mount -t tmpfs -o size=\"$1\" tmpfs disk && cd disk && \
    head -c 6291456 /dev/zero > ballast && shift && exec \"$@\"";

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    put_off: usize,
    slowest_resumption: Duration,
    tally: Tally,
}

struct Disk {
    server: Server,
    home: Arc<TempDir>,
}

impl Disk {
    async fn start(size: &str) -> Self {
        let home = new_home();
        let builder = Server::builder_over(&home);
        let server = builder
            .under("unshare", &["--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", size])
            .start()
            .await;
        Self { server, home }
    }

    /// The ballast, seen from outside of the namespace.
    fn ballast(&self) -> PathBuf {
        let inside = self.home.path().join("disk/ballast");
        let inside = inside.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.server.pid())).join(inside)
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).expect("a ballast to remove");
    }

    /// Takes up what is left.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).expect("a ballast");
        let _ = std::io::copy(&mut std::io::repeat(0), &mut ballast);
    }
}

/// Everything that is there can be read.
async fn read(client: &Client, conversation: &str) -> Proof<()> {
    for path in ["", "/messages", "/messages?q=hello"] {
        let answer = client.get(&format!("/conversations/{conversation}{path}")).await;
        ensure(answer.status == 200, || {
            format!("a read failed: {}", answer.text())
        })?;
    }
    Ok(())
}

/// Writes until the disk is full, reads, makes room unless `stuck`, writes on; several times.
async fn prove(disk: &Disk, most: usize, stuck: bool, ledger: &Ledger) -> Proof<Report> {
    let client = disk.server.client();
    let conversations = load::conversations(&client).await;
    let mut dice = Dice::roll("disk full");
    let padding = format!(" {}", "long ".repeat(8_000));
    let mut write = async |writer: usize| {
        let conversation = &conversations[writer % conversations.len()];
        let text = load::text(dice.next(), padding.trim_end());
        post(&client, ledger, writer, conversation, &text)
            .await
            .ok_or_else(|| Violation("a write was dropped".to_owned()))
    };
    let (mut put_off, mut slowest_resumption) = (0, Duration::ZERO);
    for round in 0..ROUNDS {
        if round > 0 {
            disk.fill();
        }
        let mut writes = 0;
        let refused = loop {
            let answer = write(0).await?;
            writes += 1;
            match answer.status {
                201 if writes < most => {}
                201 => return Err(Violation(format!("never full: {writes} writes"))),
                _ => break answer,
            }
        };
        judge(&refused)?;
        for conversation in &conversations {
            read(&client, conversation).await?;
            let answer = write(1).await?;
            if answer.status != 201 {
                judge(&answer)?;
                put_off += 1;
            }
        }
        if !stuck {
            disk.free();
        }
        let began = Instant::now();
        loop {
            let answer = write(2).await?;
            if answer.status == 201 {
                break;
            }
            judge(&answer)?;
            ensure(began.elapsed() < SOON / 2, || "writes did not go on".to_owned())?;
        }
        slowest_resumption = slowest_resumption.max(began.elapsed());
    }
    let tally = ledger.judge(&client, 2 * SOON).await?;
    judge_database(disk).await?;
    Ok(Report {
        put_off,
        slowest_resumption,
        tally,
    })
}

fn judge(answer: &Answer) -> Proof<()> {
    ensure(answer.status == 503, || {
        format!("a write was answered {}: {}", answer.status, answer.text())
    })?;
    let seconds: Option<u64> = answer.header("retry-after").parse().ok();
    ensure(seconds.is_some_and(|seconds| seconds >= 1), || {
        "a 503 without Retry-After".to_owned()
    })
}

/// Runs the program's own check in the server's namespace, beside the server.
async fn judge_database(disk: &Disk) -> Proof<()> {
    let url = format!("sqlite:{}", disk.home.path().join("disk/engagement.db").display());
    let pid = disk.server.pid().to_string();
    let check = Server::builder_over(&disk.home)
        .arg("check")
        .arg("--database-url")
        .arg(url);
    let check = check.under("nsenter", &["--target", &pid, "--mount"]).run().await;
    ensure(
        check.code == Some(0) && check.stdout.contains("database: ok"),
        || format!("damaged: {check:?}"),
    )
}

fn namespaces_work() -> bool {
    let mount = "mount -t tmpfs -o size=1m tmpfs /mnt";
    works_here("a full disk", "unshare", &["--mount", "sh", "-c", mount])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_puts_writes_off_and_harms_nothing() {
    if namespaces_work() {
        let disk = Disk::start("16m").await;
        holds(prove(&disk, 2_000, false, &Ledger::default()).await, &disk.home);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_disk_that_stays_full_is_seen() {
    if namespaces_work() {
        let disk = Disk::start("16m").await;
        fails(
            prove(&disk, 2_000, true, &Ledger::default()).await,
            "writes did not go on",
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_large_disk_is_seen() {
    if namespaces_work() {
        let disk = Disk::start("64m").await;
        fails(prove(&disk, 50, false, &Ledger::default()).await, "never full");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_loss_is_seen() {
    if namespaces_work() {
        let disk = Disk::start("16m").await;
        let ledger = Ledger::default();
        ledger.invent(&disk.server.client().conversation("of a lie").await);
        fails(prove(&disk, 2_000, false, &ledger).await, "lost");
    }
}
