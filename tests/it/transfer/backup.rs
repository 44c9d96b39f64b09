//! `engagement backup` and `engagement restore`: what they refuse, and what they leave.

use std::fs;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{ran, run};
use crate::copy::{Place, UNAVAILABLE, assert_refused, home};
use crate::support::Server;

/// A directory with a database in which this conversation is.
async fn database(description: &str) -> Arc<TempDir> {
    let home = home();
    ran(&home, &["migrate", "apply"]).await;
    Place::file(&home, "engagement.db")
        .execute(&format!(
            "INSERT INTO conversations (id, description, created_at, updated_at) VALUES (randomblob(16), '{description}', 1, 1)"
        ))
        .await;
    home
}

fn description(home: &Arc<TempDir>, file: &str) -> String {
    let db = Connection::open(home.path().join(file)).expect("a database");
    db.query_row("SELECT description FROM conversations", (), |row| row.get(0))
        .expect("a conversation")
}

fn names(home: &Arc<TempDir>) -> Vec<String> {
    let files = fs::read_dir(home.path()).expect("files").flatten();
    let mut names: Vec<_> = files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_is_one_file_that_only_its_owner_reads_and_says_what_it_holds() {
    use std::os::unix::fs::PermissionsExt;
    let home = database("one").await;
    let run = ran(&home, &["backup", "saved"]).await;
    let (start, end) = ("saved: 1 conversations, 0 messages, ", " s, verified\n");
    assert!(
        run.stdout.starts_with(start) && run.stdout.ends_with(end),
        "{run:?}"
    );
    assert_eq!(names(&home), ["engagement.db", "saved"]);
    let mode = home
        .path()
        .join("saved")
        .metadata()
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let header = fs::read(home.path().join("saved")).expect("a file");
    assert_eq!(header[18..20], [1, 1], "it needs no log");
}

#[tokio::test]
async fn a_backup_takes_the_place_of_another_only_if_told_to() {
    let home = database("one").await;
    fs::write(home.path().join("saved"), "precious").expect("a file");
    assert_refused(
        &run(&home, &["backup", "saved"]).await,
        UNAVAILABLE,
        &["exists already", "--replace"],
    );
    assert_eq!(fs::read(home.path().join("saved")).expect("a file"), b"precious");
    ran(&home, &["backup", "saved", "--replace"]).await;
    assert_eq!(description(&home, "saved"), "one");
}

#[tokio::test]
async fn a_backup_is_not_written_where_it_would_do_harm() {
    let home = database("one").await;
    assert_refused(
        &run(&home, &["backup", "engagement.db", "--replace"]).await,
        2,
        &["is the database itself"],
    );
    let server = Server::builder_over(&home).start().await;
    let other = database("another").await;
    let live = home.path().join("engagement.db");
    let live = live.to_str().expect("a path that is text");
    assert_refused(
        &run(&other, &["backup", live, "--replace"]).await,
        UNAVAILABLE,
        &["somebody is using"],
    );
    drop(server);
    assert_refused(
        &run(&home, &["backup", "missing/saved"]).await,
        74,
        &["cannot write"],
    );
}

#[tokio::test]
async fn an_older_schema_is_backed_up_as_it_is_and_restored() {
    let (home, other) = (database("old").await, home());
    let place = Place::file(&home, "engagement.db");
    place
        .execute("DELETE FROM schema_migrations WHERE version = 8; DROP TABLE key_usage")
        .await;
    ran(&home, &["backup", "saved"]).await;
    let saved = home.path().join("saved");
    ran(&other, &["restore", saved.to_str().expect("a path that is text")]).await;
    let run = ran(&other, &["migrate", "status"]).await;
    assert!(run.stdout.contains("0008_keys  pending"), "{run:?}");
}

#[tokio::test]
async fn a_restore_puts_the_backup_in_place_and_keeps_what_was_there() {
    let home = database("one").await;
    ran(&home, &["backup", "saved"]).await;
    let place = Place::file(&home, "engagement.db");
    place
        .execute("UPDATE conversations SET description = 'two'")
        .await;
    assert_refused(
        &run(&home, &["restore", "saved"]).await,
        UNAVAILABLE,
        &["exists already", "--replace"],
    );
    assert_eq!(description(&home, "engagement.db"), "two");

    let run = ran(&home, &["restore", "saved", "--replace"]).await;
    let file = home
        .path()
        .canonicalize()
        .expect("a directory")
        .join("engagement.db");
    let told = format!("restored {}: 1 conversations, 0 messages, ", file.display());
    assert!(run.stdout.starts_with(&told), "{run:?}");
    assert!(!run.stderr.contains("keys"), "there are none: {run:?}");
    assert!(run.stderr.contains("engagement.db.before-restore"), "{run:?}");
    assert_eq!(description(&home, "engagement.db"), "one");
    assert_eq!(description(&home, "engagement.db.before-restore"), "two");
    assert_eq!(description(&home, "saved"), "one");

    ran(&home, &["restore", "saved", "--replace"]).await;
    assert_eq!(description(&home, "engagement.db.before-restore-2"), "one");
    let files = [
        "engagement.db",
        "engagement.db.before-restore",
        "engagement.db.before-restore-2",
        "engagement.db.lock",
        "saved",
    ];
    assert_eq!(names(&home), files);
    // The way back.
    ran(&home, &["restore", "engagement.db.before-restore", "--replace"]).await;
    assert_eq!(description(&home, "engagement.db"), "two");
}

#[tokio::test]
async fn a_key_that_the_backup_brings_back_is_told_of() {
    let home = database("one").await;
    let key = ran(&home, &["keys", "create", "lost"]).await.stdout;
    ran(&home, &["backup", "saved"]).await;
    let id = key.split('_').nth(2).expect("an id");
    ran(&home, &["keys", "revoke", id]).await;
    let run = ran(&home, &["restore", "saved", "--replace"]).await;
    assert!(
        run.stderr.contains("its 1 keys are as they were at the backup"),
        "{run:?}"
    );
    // Once it is taken back in the backup, too, there is nothing to say.
    ran(&home, &["keys", "revoke", id]).await;
    ran(&home, &["backup", "saved", "--replace"]).await;
    let run = ran(&home, &["restore", "saved", "--replace"]).await;
    assert!(!run.stderr.contains("keys"), "{run:?}");
}

#[tokio::test]
async fn a_server_keeps_its_database() {
    let home = database("one").await;
    ran(&home, &["backup", "saved"]).await;
    let server = Server::builder_over(&home).start().await;
    assert_refused(
        &run(&home, &["restore", "saved", "--replace"]).await,
        UNAVAILABLE,
        &["another server is using the database"],
    );
    server.client().get("/readyz").await.expect(200);
}

#[tokio::test]
async fn somebody_with_a_shell_keeps_it_too() {
    let home = database("one").await;
    ran(&home, &["backup", "saved"]).await;
    let db = Connection::open(home.path().join("engagement.db")).expect("the database");
    db.execute_batch("BEGIN IMMEDIATE; UPDATE conversations SET description = 'two'")
        .expect("a write");
    let refused = run(&home, &["restore", "saved", "--replace"]).await;
    assert_refused(&refused, UNAVAILABLE, &["somebody is using"]);
    db.execute_batch("COMMIT").expect("a write");
    assert_eq!(description(&home, "engagement.db"), "two");
}

/// The log of a killed server belongs to the old database: it goes with it, and is not taken for the new one's.
#[tokio::test]
async fn a_log_that_was_left_goes_with_its_database() {
    let home = database("one").await;
    ran(&home, &["backup", "saved"]).await;
    let server = Server::builder_over(&home).start().await;
    server.client().conversation("in the log").await;
    server.kill();
    assert!(home.path().join("engagement.db-wal").exists());
    ran(&home, &["restore", "saved", "--replace"]).await;
    let count = |file: &str| -> i64 {
        let db = Connection::open(home.path().join(file)).expect("a database");
        db.query_row("SELECT count(*) FROM conversations", (), |row| row.get(0))
            .expect("a count")
    };
    assert_eq!(
        (count("engagement.db"), count("engagement.db.before-restore")),
        (1, 2)
    );
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_kept_as_it_is() {
    let home = database("one").await;
    ran(&home, &["backup", "saved"]).await;
    fs::write(home.path().join("engagement.db"), "no database at all").expect("a file");
    ran(&home, &["restore", "saved", "--replace"]).await;
    assert_eq!(description(&home, "engagement.db"), "one");
    let kept = fs::read_to_string(home.path().join("engagement.db.before-restore"));
    assert_eq!(kept.expect("a file"), "no database at all");
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_nothing_is_changed() {
    let home = database("one").await;
    ran(&home, &["backup", "saved"]).await;
    fs::write(
        home.path().join("text"),
        "no database at all, but long enough to be one ".repeat(100),
    )
    .expect("a file");
    Place::file(&home, "foreign")
        .execute("CREATE TABLE theirs (id INTEGER)")
        .await;
    ran(&home, &["backup", "newer"]).await;
    let newer = Place::file(&home, "newer");
    newer
        .execute("UPDATE schema_migrations SET needs = 99 WHERE version = 1")
        .await;
    ran(&home, &["backup", "half"]).await;
    let half = fs::read(home.path().join("half")).expect("a file");
    fs::write(home.path().join("half"), &half[..half.len() / 2]).expect("a file");
    ran(&home, &["backup", "unfinished"]).await;
    let unfinished = Place::file(&home, "unfinished");
    unfinished
        .execute("INSERT INTO copies (started_at, source) VALUES (1, 'sqlite:elsewhere')")
        .await;
    for (file, says) in [
        ("missing", "there is no database"),
        ("text", "is not a SQLite database"),
        ("foreign", "is the database of another program"),
        ("newer", "needs a newer program"),
        ("half", "malformed"),
        ("unfinished", "is not whole"),
    ] {
        let refused = run(&home, &["restore", file, "--replace"]).await;
        assert_refused(&refused, UNAVAILABLE, &[says]);
        assert_eq!(description(&home, "engagement.db"), "one");
    }
    assert!(
        names(&home).iter().all(|name| !name.contains("restor")),
        "{:?}",
        names(&home)
    );
}

#[tokio::test]
async fn a_server_of_postgresql_is_backed_up_by_its_own_tools() {
    let home = home();
    let url = "postgres://me@127.0.0.1:1/chat";
    let backup = run(&home, &["backup", "saved", "--database-url", url]).await;
    assert_refused(&backup, 2, &["pg_dump --format=custom"]);
    let restore = run(&home, &["restore", "saved", "--database-url", url]).await;
    assert_refused(&restore, 2, &["pg_restore"]);
}
