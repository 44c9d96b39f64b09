//! Nodes that start on an old schema: at once, and while somebody else works on the tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio_postgres::Client as Sql;
use tokio_util::sync::CancellationToken;

use crate::faults::{Proof, Violation, ensure, fails, holds, new_home};
use crate::support::postgres::{TestDatabase, shared};
use crate::support::{SOON, Server, eventually};

const CONVERSATION: &str = "11111111-1111-4111-8111-111111111111";

/// What a migration says when it is done, and when it has to wait.
const CHANGED: &str = "the schema was changed";
const WAITS: &str = "changing the schema has to wait";

/// The oldest program that can work with each schema, by number.
const NEEDS: [i64; 4] = [1, 1, 3, 4];

/// How long an older program waits for a lock, and how long its clients do.
const PATIENCE: &str = "4s";
const SOON_ENOUGH: Duration = Duration::from_secs(3);

/// The names of all migrations, in their order.
fn migrations() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let names = fs::read_dir(folder).expect("migrations").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names
        .filter_map(|name| Some(name.strip_suffix(".sql")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// A database as it was left by a program that knew this many migrations, with a conversation in it.
async fn old_database(version: usize) -> Option<TestDatabase> {
    let database = shared().await?.database().await;
    let sql = database.client().await;
    let history = "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, name text NOT NULL,
                                                   applied_at bigint NOT NULL, needs bigint NOT NULL)";
    sql.batch_execute(history).await.expect("a history");
    for (number, (name, needs)) in (1_i64..).zip(migrations().iter().zip(NEEDS).take(version)) {
        let path = format!("{}/migrations/postgres/{name}.sql", env!("CARGO_MANIFEST_DIR"));
        let script = fs::read_to_string(path).expect("a migration");
        sql.batch_execute(&script).await.expect("an old schema");
        let remember = "INSERT INTO schema_migrations VALUES ($1, $2, 1, $3)";
        let remembered = sql.execute(remember, &[&number, name, &needs]).await;
        remembered.expect("a line of history");
    }
    let conversation = format!(
        "INSERT INTO conversations (id, description, created_at, updated_at) VALUES ('{CONVERSATION}', 'old', 1, 1)"
    );
    sql.batch_execute(&conversation).await.expect("old data");
    say(&sql, "said long ago").await.expect("old data");
    Some(database)
}

/// What a program of that time does to store a message.
async fn say(sql: &Sql, text: &str) -> Result<(), tokio_postgres::Error> {
    sql.batch_execute(&format!(
        "WITH place AS (
             UPDATE conversations SET last_seq = last_seq + 1, assistant_count = assistant_count + 1
             WHERE id = '{CONVERSATION}' RETURNING last_seq
         )
         INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
         SELECT gen_random_uuid(), '{CONVERSATION}', last_seq, 'assistant', 1, 1, '{text}' FROM place"
    ))
    .await
}

fn builder(database: &TestDatabase, home: &Arc<TempDir>) -> crate::support::Builder {
    Server::builder_over(home).env("DATABASE_URL", database.url())
}

/// Three nodes at once over this schema: one of them brings it up to date, and all three serve.
async fn prove_at_once(database: &TestDatabase) -> Proof<BTreeMap<String, usize>> {
    let applied = {
        let sql = database.client().await;
        let rows = sql.query("SELECT name FROM schema_migrations", &[]).await;
        rows.expect("the history")
            .iter()
            .map(|row| row.get(0))
            .collect::<Vec<String>>()
    };
    let homes = [new_home(), new_home(), new_home()];
    let [one, two, three] = homes.each_ref().map(|home| builder(database, home).try_start());
    let (one, two, three) = tokio::join!(one, two, three);
    let mut nodes = Vec::new();
    for node in [one, two, three] {
        nodes.push(node.map_err(|(status, stderr)| Violation(format!("no start ({status}): {stderr}")))?);
    }

    // What was changed was changed before they served; the lines come by a thread of their own.
    eventually("somebody says what it changed", SOON, async || {
        let said = nodes.iter().map(|node| node.log().matches(CHANGED).count());
        (said.sum::<usize>() + applied.len() >= migrations().len()).then_some(())
    })
    .await;

    let mut changes = BTreeMap::new();
    let migrating = nodes.iter().filter(|node| node.log().contains(CHANGED)).count();
    for name in migrations().into_iter().filter(|name| !applied.contains(name)) {
        let by = |node: &Server| {
            let log = node.log();
            let lines = log.lines();
            lines
                .filter(|line| line.contains(CHANGED) && line.contains(&name))
                .count()
        };
        let times = nodes.iter().map(by).sum();
        ensure(times == 1, || format!("{name} was applied {times} times"))?;
        changes.insert(name, times);
    }
    ensure(migrating == 1, || format!("{migrating} nodes changed the schema"))?;

    for (at, node) in nodes.iter().enumerate() {
        let path = format!("/conversations/{CONVERSATION}/messages/create");
        let body = json!({ "text": format!("said to node {at}"), "role": "assistant" });
        let answer = node.client().post_json(&path, &body).await;
        ensure(answer.status == 201, || {
            format!("node {at} answers {}", answer.text())
        })?;
    }
    let expected = [
        "said long ago",
        "said to node 0",
        "said to node 1",
        "said to node 2",
    ];
    for node in &nodes {
        let texts = node.client().texts(CONVERSATION).await;
        ensure(texts == expected, || format!("a node shows {texts:?}"))?;
    }
    Ok(changes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_nodes_that_start_at_once_one_migrates_and_all_serve() {
    let Some(database) = old_database(4).await else {
        return;
    };
    holds(prove_at_once(&database).await, &new_home());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_schema_that_nobody_changes_is_seen() {
    let Some(database) = old_database(4).await else {
        return;
    };
    builder(&database, &new_home()).start().await;
    fails(prove_at_once(&database).await, "0 nodes changed the schema");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_schema_that_needs_a_newer_program_is_refused_by_all() {
    let Some(database) = old_database(4).await else {
        return;
    };
    let newer = "INSERT INTO schema_migrations VALUES (9999, 'of a newer program', 1, 9999)";
    database
        .client()
        .await
        .batch_execute(newer)
        .await
        .expect("a newer schema");
    fails(prove_at_once(&database).await, "hint: start the newer version");
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    waits: usize,
    said_by_older: usize,
    slowest: Duration,
}

/// A node starts while somebody reads in a long transaction, if `reads`, and an older program, that waits for a lock
/// no longer than this, goes on working.
async fn prove_while_read(database: &TestDatabase, reads: bool, patience: &str) -> Proof<Report> {
    let reader = database.client().await;
    if reads {
        let hold = "BEGIN; SELECT count(*) FROM messages";
        reader.batch_execute(hold).await.expect("a long transaction");
    }
    let older = database.client().await;
    let limits = format!("SET lock_timeout = '{patience}'; SET statement_timeout = '5s'");
    older
        .batch_execute(&limits)
        .await
        .expect("an older program's limits");
    let enough = CancellationToken::new();
    let working = tokio::spawn(work(older, enough.clone()));

    let home = new_home();
    let log = || fs::read_to_string(home.path().join("logs/engagement.log")).unwrap_or_default();
    let let_go = async {
        // The second line shows that it tried again.
        eventually("the migration waits, or the node serves", SOON, async || {
            let log = log();
            let is_over = log.contains("listening") || working.is_finished();
            (log.matches(WAITS).count() >= 2 || is_over).then_some(())
        })
        .await;
        reader
            .batch_execute("COMMIT")
            .await
            .expect("the end of the transaction");
    };
    let (node, ()) = tokio::join!(builder(database, &home).start(), let_go);
    let waits = log().matches(WAITS).count();
    enough.cancel();
    let (said, slowest) = working.await.expect("an older program")?;

    ensure(waits > 0, || "nothing had to wait".to_owned())?;
    ensure(slowest < SOON_ENOUGH, || {
        format!("the older program was kept waiting for {slowest:?}")
    })?;
    let page = node
        .client()
        .get(&format!("/conversations/{CONVERSATION}/messages"))
        .await;
    let count = page.json()["count"].as_u64();
    ensure(count == Some(said as u64 + 1), || {
        format!("{count:?} messages are there, the older program has stored {said}")
    })?;
    Ok(Report {
        waits,
        said_by_older: said,
        slowest,
    })
}

/// Writes and reads as a program of that time, until told to end.
async fn work(sql: Sql, enough: CancellationToken) -> Proof<(usize, Duration)> {
    let (mut said, mut slowest) = (0, Duration::ZERO);
    let refused =
        |error: tokio_postgres::Error| Violation(format!("the older program was refused: {error:?}"));
    while !enough.is_cancelled() {
        let began = Instant::now();
        say(&sql, "said meanwhile").await.map_err(refused)?;
        said += 1;
        let read = "SELECT text FROM messages ORDER BY seq DESC LIMIT 10";
        sql.query(read, &[]).await.map_err(refused)?;
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((said, slowest))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_a_long_reader_and_keeps_nobody_waiting() {
    let Some(database) = old_database(3).await else {
        return;
    };
    holds(prove_while_read(&database, true, PATIENCE).await, &new_home());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_tables_that_nobody_holds_are_seen() {
    let Some(database) = old_database(3).await else {
        return;
    };
    fails(
        prove_while_read(&database, false, PATIENCE).await,
        "nothing had to wait",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_an_older_program_without_patience_is_refused() {
    let Some(database) = old_database(3).await else {
        return;
    };
    fails(
        prove_while_read(&database, true, "100ms").await,
        "the older program was refused",
    );
}
