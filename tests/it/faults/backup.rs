//! Backups under full write load, and SIGKILL in the middle of one and of putting one back.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use super::ledger::{Ledger, Tally};
use super::load::{self, Load};
use super::{Dice, Proof, Violation, database, ensure, fails, holds, new_home, number_from_env};
use crate::copy::engagement;
use crate::support::{SOON, Server, eventually};

/// How the file comes to be that is restored.
#[derive(Clone, Copy)]
enum By {
    /// As it should.
    Backup,
    /// By copying the main file alone, as people do who do not know of the log.
    PlainCopy,
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by people")]
struct Report {
    backups: usize,
    slowest: Duration,
    /// Of the last backup.
    last: Tally,
    acked: usize,
}

impl By {
    async fn take(self, home: &Arc<TempDir>, file: &Path) {
        match self {
            Self::Backup => {
                let file = file.to_str().expect("a path that is text");
                let run = engagement(home, &["backup", file]).run().await;
                assert_eq!(run.code, Some(0), "{run:?}");
                assert!(run.stdout.contains("verified"), "{run:?}");
            }
            Self::PlainCopy => {
                fs::copy(home.path().join("engagement.db"), file).expect("a copy");
            }
        }
    }
}

/// Backs up a server again and again while clients write as fast as they can; then restores each backup, lets the program
/// open it, and compares it with what the clients know.
async fn prove(home: &Arc<TempDir>, backups: usize, by: By, dice: &mut Dice) -> Proof<Report> {
    let ledger = Ledger::default();
    let server = Server::builder_over(home).env("LOG_FILE", "off").start().await;
    let conversations = load::conversations(&server.client()).await;
    let load = Load::start(&server.client(), &ledger, &conversations, dice);
    let mut taken = Vec::new();
    let mut slowest = Duration::ZERO;
    for number in 0..backups {
        let enough = ledger.acked() + 5 * load::WRITERS;
        eventually("clients go on writing", 3 * SOON, async || {
            (ledger.acked() >= enough).then_some(())
        })
        .await;
        let file = home.path().join(format!("backup-{number}"));
        let (before, began) = (ledger.copied(), Instant::now());
        by.take(home, &file).await;
        slowest = slowest.max(began.elapsed());
        taken.push((file, ledger.since(&before)));
    }
    load.finish().await;
    drop(server);

    let mut last = Tally::default();
    for (file, known) in taken {
        last = judge(&file, &known, by).await?;
        fs::remove_file(file).expect("a backup to remove");
    }
    Ok(Report {
        backups,
        slowest,
        last,
        acked: ledger.acked(),
    })
}

async fn judge(file: &Path, known: &Ledger, by: By) -> Proof<Tally> {
    let home = new_home();
    match by {
        By::Backup => {
            ensure(no_others(file), || {
                "unclean: there are files beside the backup".to_owned()
            })?;
            restored(&home, file, &[]).await;
        }
        By::PlainCopy => {
            fs::copy(file, home.path().join("engagement.db")).expect("a copy");
        }
    }
    // As it was, before anybody writes what it still owes.
    if matches!(by, By::Backup) {
        known.ensure_beginnings(&texts(&database(home.path())))?;
    }
    let server = Server::builder_over(&home).env("LOG_FILE", "off").start().await;
    let db = database(home.path());
    eventually("what it owed is written", 3 * SOON, async || {
        let pending = "SELECT count(*) FROM replies WHERE status IN ('queued', 'running')";
        db.query_row(pending, (), |row| row.get(0).map(|left: i64| left == 0))
            .expect("a count")
            .then_some(())
    })
    .await;
    ensure_no_gaps(&db)?;
    let tally = known.judge_read(|conversation| read(&db, conversation))?;
    // And it serves.
    let first = known.conversations().pop_first().expect("a conversation");
    server
        .client()
        .get(&format!("/conversations/{first}/messages"))
        .await
        .expect(200);
    Ok(tally)
}

async fn restored(home: &Arc<TempDir>, file: &Path, more: &[&str]) {
    let file = file.to_str().expect("a path that is text");
    let run = engagement(home, &[&["restore", file], more].concat()).run().await;
    assert_eq!(run.code, Some(0), "{run:?}");
}

/// Whether a file stands for itself.
fn no_others(file: &Path) -> bool {
    ["-wal", "-shm", "-journal", ".part"].iter().all(|ending| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        !Path::new(&name).exists()
    })
}

fn texts(db: &Connection) -> HashSet<String> {
    let mut select = db
        .prepare("SELECT text FROM messages WHERE role = 'user'")
        .expect("messages");
    let texts = select.query_map((), |row| row.get(0)).expect("texts");
    texts.collect::<Result<_, _>>().expect("texts")
}

/// Nobody deleted anything: places and counts are without a gap.
fn ensure_no_gaps(db: &Connection) -> Proof<()> {
    let gaps = "SELECT count(*) FROM conversations
                WHERE last_seq <> user_count + assistant_count
                      OR last_seq <> (SELECT count(*) FROM messages WHERE conversation_id = conversations.id)
                      OR last_seq <> (SELECT coalesce(max(seq), 0) FROM messages
                                      WHERE conversation_id = conversations.id)";
    let gaps: i64 = db.query_row(gaps, (), |row| row.get(0)).expect("a count");
    ensure(gaps == 0, || format!("gaps: in {gaps} conversations"))
}

/// A conversation's messages and replies, as clients would see them.
fn read(db: &Connection, conversation: &str) -> (Vec<Value>, HashMap<String, Value>) {
    let shown = |id: [u8; 16]| Uuid::from_bytes(id).to_string();
    let id = Uuid::try_parse(conversation).expect("an id").into_bytes();
    let messages = "SELECT id, role, text FROM messages WHERE conversation_id = ? ORDER BY seq";
    let messages = db
        .prepare(messages)
        .expect("messages")
        .query_map([id], |row| {
            Ok(json!({
                "message_id": shown(row.get(0)?),
                "role": row.get::<_, String>(1)?,
                "text": row.get::<_, String>(2)?,
            }))
        })
        .expect("messages")
        .collect::<Result<_, _>>()
        .expect("messages");
    let replies = "SELECT message_id, status, (SELECT id FROM messages WHERE reply_to = message_id)
                   FROM replies WHERE conversation_id = ?";
    let replies = db
        .prepare(replies)
        .expect("replies")
        .query_map([id], |row| {
            let answer: Option<[u8; 16]> = row.get(2)?;
            Ok((
                shown(row.get(0)?),
                json!({ "status": row.get::<_, String>(1)?, "assistant_message_id": answer.map(shown) }),
            ))
        })
        .expect("replies")
        .collect::<Result<_, _>>()
        .expect("replies");
    (messages, replies)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_backups_under_load_is_what_clients_know_of_its_moment() {
    let home = new_home();
    let backups = number_from_env("ENGAGEMENT_TEST_BACKUPS", 20);
    holds(
        prove(&home, backups, By::Backup, &mut Dice::roll("backup")).await,
        &home,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_copy_of_the_main_file_alone_is_a_loss() {
    let proof = prove(&new_home(), 1, By::PlainCopy, &mut Dice::roll("control")).await;
    fails(proof, "lost");
}

// --- a death in the middle ------------------------------------------------------------------------------------------

/// Enough that a backup takes a while, in many steps.
const MESSAGES: usize = 40_000;

/// A database in which this was said so often.
async fn talk(home: &Arc<TempDir>, text: &str) -> PathBuf {
    let path = home.path().join("engagement.db");
    assert_eq!(engagement(home, &["migrate", "apply"]).run().await.code, Some(0));
    let sql = format!(
        "INSERT INTO conversations (id, description, created_at, updated_at, last_seq, user_count, assistant_count)
         VALUES (zeroblob(16), '{text}', 1, 1, {MESSAGES}, 0, {MESSAGES});
         INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MESSAGES})
         SELECT randomblob(16), zeroblob(16), n, 'assistant', 1, 1, '{text}' || hex(randomblob(100)) FROM n;"
    );
    Connection::open(&path)
        .expect("the database")
        .execute_batch(&sql)
        .expect("messages");
    path
}

/// What is said in a database that has to be whole: all of one, and nothing of another.
fn said(path: &Path) -> Proof<String> {
    let db = Connection::open(path).map_err(|error| Violation(format!("damaged: {error}")))?;
    let text = |sql: &str| -> Proof<String> {
        let value = db.query_row(sql, (), |row| row.get(0));
        value.map_err(|error| Violation(format!("damaged: {error}")))
    };
    let sound = text("PRAGMA integrity_check")?;
    ensure(sound == "ok", || format!("damaged: {sound}"))?;
    let said = text("SELECT description FROM conversations")?;
    let count = format!("SELECT count(*) || '' FROM messages WHERE text LIKE '{said}%'");
    let count = text(&count)?;
    ensure(count == MESSAGES.to_string(), || {
        format!("a part: {count} of {said}")
    })?;
    Ok(said)
}

/// Runs a command again and again and kills it at some moment of its way, until it was killed so often; judges after each
/// death and each end.
async fn kill_often(
    home: &Arc<TempDir>,
    arguments: &[&str],
    dice: &mut Dice,
    mut judge: impl FnMut(bool) -> Proof<()>,
) -> Proof<usize> {
    let began = Instant::now();
    let whole = engagement(home, arguments).run().await;
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let undisturbed = began.elapsed();
    judge(true)?;
    let mut deaths = 0;
    for _ in 0..100 {
        let mut running = engagement(home, arguments).launch();
        let moment = undisturbed / 1_000 * u32::try_from(dice.below(1_000)).expect("a small number");
        if let Ok(status) = timeout(moment, running.wait_exit(SOON)).await {
            ensure(status.success(), || {
                format!("failed after a death: {}", running.stderr())
            })?;
            judge(true)?;
        } else {
            running.kill();
            deaths += 1;
            judge(false)?;
        }
        if deaths >= 20 {
            break;
        }
    }
    ensure(deaths > 0, || "no kill came before the end".to_owned())?;
    Ok(deaths)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_killed_leaves_the_earlier_one() {
    let home = new_home();
    talk(&home, "backed up").await;
    let file = home.path().join("kept");
    let arguments = ["backup", "kept", "--replace"];
    let proof = kill_often(&home, &arguments, &mut Dice::roll("backup"), |_| {
        ensure(said(&file)? == "backed up", || "another".to_owned())
    })
    .await;
    holds(proof, &home);
}

/// Restores a backup over another database and dies on the way; `tamper` meddles after each death.
async fn prove_restore(home: &Arc<TempDir>, mut tamper: impl FnMut(&Path)) -> Proof<usize> {
    let backups = new_home();
    let (old, new) = (backups.path().join("old"), backups.path().join("new"));
    let live = talk(home, "new").await;
    fs::rename(&live, &new).expect("a backup");
    talk(home, "old").await;
    fs::rename(&live, &old).expect("a backup");
    restored(home, &old, &[]).await;
    let arguments = ["restore", new.to_str().expect("a path that is text"), "--replace"];
    kill_often(home, &arguments, &mut Dice::roll("restore"), |is_whole| {
        if !is_whole {
            tamper(&live);
        }
        let said = said(&live)?;
        ensure(said == "new" || !is_whole && said == "old", || {
            format!("another: {said}")
        })?;
        // Back to where it began, without what is kept of each.
        for entry in fs::read_dir(home.path()).expect("files").flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("engagement.db")
                && !name.to_string_lossy().ends_with(".lock")
            {
                fs::remove_file(entry.path()).expect("a file to remove");
            }
        }
        fs::copy(&old, &live).expect("the old one");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_leaves_the_old_database_or_the_new_one() {
    let home = new_home();
    holds(prove_restore(&home, |_| {}).await, &home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_half_a_file_in_its_place_is_seen() {
    let tamper = |live: &Path| {
        let half = live.metadata().expect("a database").len() / 2;
        fs::OpenOptions::new()
            .write(true)
            .open(live)
            .and_then(|file| file.set_len(half))
            .expect("half of it");
    };
    fails(prove_restore(&new_home(), tamper).await, "damaged");
}
