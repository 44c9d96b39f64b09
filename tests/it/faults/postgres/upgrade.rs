//! A rolling upgrade: the older program and this one side by side, while this one changes the schema.
//!
//! The older program is a build of the last commit before the newest migration: `scripts/build-older` makes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::crowd::{Crowd, Seen, WRITERS};
use crate::faults::ledger::{Ledger, Tally};
use crate::faults::{Dice, Proof, Violation, ensure, fails, holds, load, new_home, number_from_env};
use crate::support::postgres::{TestDatabase, shared};
use crate::support::{Builder, SOON, Server, skip};

const CHANGED: &str = "the schema was changed";

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    older: Seen,
    newer: Seen,
    older_after_its_restart: Seen,
    put_off: usize,
    tally: Tally,
}

/// The older program. Says so loudly where there is none.
fn older_program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("ENGAGEMENT_TEST_OLDER_BINARY") {
        return Some(program.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let asked = Command::new(root.join("scripts/build-older"))
        .arg("--commit")
        .output();
    let (wanted, complaint) = match asked {
        Ok(asked) if asked.status.success() => (Some(asked.stdout), String::new()),
        Ok(asked) => (None, String::from_utf8_lossy(&asked.stderr).into_owned()),
        Err(error) => (None, error.to_string()),
    };
    let built = fs::read(root.join("target/older/commit")).ok();
    if wanted.is_some() && wanted == built {
        return Some(root.join("target/older/engagement"));
    }
    skip(&format!(
        "the test of upgrades needs the older program: run scripts/build-older, or name one in \
         ENGAGEMENT_TEST_OLDER_BINARY {complaint}"
    ));
    None
}

/// What a control does from beside.
#[derive(Clone, Copy, Debug, Default)]
struct Tamper {
    /// Once both serve.
    on_both: &'static str,
    /// Before the older one is started again.
    before_restart: &'static str,
}

fn node(database: &TestDatabase) -> Builder {
    Server::builder_over(&new_home()).env("DATABASE_URL", database.url())
}

/// The older program serves, this one comes along and changes the schema, and the older one goes on and starts again.
async fn prove(database: &TestDatabase, program: &Path, tamper: Tamper) -> Proof<Report> {
    let sql = database.client().await;
    let version = async || -> i64 {
        let newest = "SELECT max(version) FROM schema_migrations";
        sql.query_one(newest, &[]).await.expect("a history").get(0)
    };
    let (ledger, mut dice) = (Ledger::default(), Dice::roll("upgrade"));
    let mut older = node(database).program(program).start().await;
    let conversations = load::conversations(&older.client()).await;
    let mut with_older = Crowd::start(&older.client(), &ledger, &conversations, 0, &mut dice);
    with_older.all_write().await?;
    let before = version().await;

    let newer = node(database).start().await;
    // The line comes by a thread of its own. Where there is none, that is said below.
    let said = async {
        while !newer.log().contains(CHANGED) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(SOON / 2, said).await;
    ensure(newer.log().contains(CHANGED) && version().await > before, || {
        format!("the older program knows this program's schema, {before}, already")
    })?;
    let mut with_newer = Crowd::start(&newer.client(), &ledger, &conversations, WRITERS, &mut dice);
    with_newer.all_write().await?;
    sql.batch_execute(tamper.on_both).await.expect("tampering");
    let seconds = number_from_env("ENGAGEMENT_TEST_UPGRADE_S", 3);
    sleep(Duration::from_secs(seconds as u64)).await;
    with_older.all_write().await?;
    with_newer.all_write().await?;
    let seen_by_older = with_older.finish().await?;

    sql.batch_execute(tamper.before_restart).await.expect("tampering");
    older.terminate();
    older.wait_exit(SOON).await;
    let older = node(database).program(program).try_start().await;
    let older = older.map_err(|(status, stderr)| {
        Violation(format!(
            "the older program does not start again ({status}): {stderr}"
        ))
    })?;
    let mut with_older = Crowd::start(&older.client(), &ledger, &conversations, 2 * WRITERS, &mut dice);
    with_older.all_write().await?;
    with_newer.all_write().await?;
    let (again, seen_by_newer) = (with_older.finish().await?, with_newer.finish().await?);

    let mut all = seen_by_older.clone();
    all.add(&again);
    all.add(&seen_by_newer);
    let tally = ledger.judge(&newer.client(), 6 * SOON).await?;
    ledger.judge(&older.client(), SOON).await?;
    Ok(Report {
        older: seen_by_older,
        newer: seen_by_newer,
        older_after_its_restart: again,
        put_off: all.put_off(),
        tally,
    })
}

/// The proof, where there are a server and an older program.
async fn prove_with(tamper: Tamper) -> Option<Proof<Report>> {
    let program = older_program()?;
    let database = shared().await?.database().await;
    Some(prove(&database, &program, tamper).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_program_serves_on_while_a_newer_one_changes_the_schema() {
    if let Some(proof) = prove_with(Tamper::default()).await {
        holds(proof, &new_home());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_schema_that_needs_the_newer_program_is_seen() {
    let tamper = Tamper {
        before_restart: "UPDATE schema_migrations SET needs = version",
        ..Tamper::default()
    };
    if let Some(proof) = prove_with(tamper).await {
        fails(proof, "hint: start the newer version");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_change_that_breaks_the_older_program_is_seen() {
    let tamper = Tamper {
        on_both: "ALTER TABLE messages RENAME COLUMN folded TO collapsed",
        ..Tamper::default()
    };
    if let Some(proof) = prove_with(tamper).await {
        fails(proof, "was answered 500");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_program_that_is_not_older_is_seen() {
    let Some(cluster) = shared().await else { return };
    let this = Path::new(env!("CARGO_BIN_EXE_engagement"));
    let proof = prove(&cluster.database().await, this, Tamper::default()).await;
    fails(proof, "knows this program's schema");
}
