//! `engagement import django`: what the Django service kept, made by Django itself and by hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{exported, imported, run, told};
use crate::copy::{Place, UNAVAILABLE, assert_refused, home};
use crate::support::{Server, skip};

const VERSION: &str = "4.2.7";

/// A Python that has Django, kept for the next time; `None`, said loudly, where it cannot be installed.
fn python() -> Option<&'static PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/django");
        let python = folder.join("bin/python");
        let has_it = || {
            let code = format!("import django; assert django.__version__ == '{VERSION}'");
            says(Command::new(&python).args(["-c", &code])).is_some()
        };
        if !has_it() {
            says(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
            let wanted = format!("django=={VERSION}");
            says(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                &wanted,
            ]))?;
        }
        has_it().then_some(python)
    });
    if python.is_none() {
        skip("Django's own database needs python3 with venv, and Django from the Python package index");
    }
    python.as_ref()
}

fn says(command: &mut Command) -> Option<Output> {
    command.output().ok().filter(|output| output.status.success())
}

/// Lets Django make a database in this directory.
fn make(home: &Arc<TempDir>, more: &[&str]) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/external/django/make.py");
    let mut command = Command::new(python()?);
    command
        .arg(script)
        .arg("db.sqlite3")
        .args(more)
        .current_dir(home.path());
    let output = command.output().expect("python runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// What an export says, as Django's script says it.
fn shown(export: &str) -> Value {
    export
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("a line");
            let messages = line["messages"].as_array().expect("messages").iter();
            let message = |message: &Value| {
                json!([
                    message["message_id"],
                    message["role"],
                    message["text"],
                    message["date_created"]
                ])
            };
            json!({
                "conversation_id": line["conversation_id"],
                "title": line["title"],
                "description": line["description"],
                "date_created": line["date_created"],
                "messages": messages.map(message).collect::<Vec<_>>(),
            })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_django_made_comes_in_with_its_ids_dates_and_order() {
    let home = home();
    let Some(made) = make(&home, &[]) else { return };
    let bytes = std::fs::read(home.path().join("db.sqlite3")).expect("a file");
    let mut targets = vec![Place::file(&home, "one.db")];
    targets.extend(Place::server().await);
    for target in targets {
        let first = imported(&home, &["django", "db.sqlite3"], &target).await;
        assert_eq!(
            first,
            "imported 20 conversations, 190 messages; there already: 0; refused: 0; messages left out: 0"
        );
        let again = imported(&home, &["django", "db.sqlite3"], &target).await;
        assert!(
            again.starts_with("imported 0 conversations, 0 messages; there already: 20"),
            "{again}"
        );
        let made: Value = serde_json::from_str(&made).expect("what Django says");
        assert_eq!(shown(&exported(&home, &target).await), made);
    }
    assert!(
        std::fs::read(home.path().join("db.sqlite3")).expect("a file") == bytes,
        "nothing is written there"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_djangos_second_migration_everybody_was_a_user() {
    let home = home();
    if make(&home, &["only-the-first-migration"]).is_none() {
        return;
    }
    let target = Place::file(&home, "one.db");
    imported(&home, &["django", "db.sqlite3"], &target).await;
    let message = json!([
        "550e8400-e29b-41d4-a716-446655440001",
        "user",
        "said early",
        "2024-01-19T12:00:00.000000Z"
    ]);
    assert_eq!(
        shown(&exported(&home, &target).await)[0]["messages"],
        json!([message])
    );
}

const TABLES: &str = "
    CREATE TABLE conversations_conversation (conversation_id char(32) NOT NULL PRIMARY KEY, description varchar(500) NOT NULL,
        date_created datetime NOT NULL, date_updated datetime NOT NULL, title varchar(200) NULL);
    CREATE TABLE conversations_message (message_id char(32) NOT NULL PRIMARY KEY, text text NOT NULL,
        date_created datetime NOT NULL, date_updated datetime NOT NULL,
        conversation_id char(32) NOT NULL REFERENCES conversations_conversation (conversation_id), role varchar(20) NOT NULL);
    CREATE INDEX conversations_message_conversation_id ON conversations_message (conversation_id);";

fn id(number: u32) -> String {
    format!("550e8400e29b41d4a7164466{number:08}")
}

/// A database like Django's, with a conversation and these messages: role, text, date.
fn by_hand(home: &Arc<TempDir>, messages: &[(&str, &str, &str)]) -> Connection {
    let db = Connection::open(home.path().join("db.sqlite3")).expect("a database");
    db.execute_batch(TABLES).expect("tables");
    db.execute(
        "INSERT INTO conversations_conversation VALUES (?1, ' d ', '2024-01-19 12:00:00', '2024-01-20 12:00:00.25', '')",
        [id(1)],
    )
    .expect("a conversation");
    for (number, (role, text, date)) in (1..).zip(messages) {
        db.execute(
            "INSERT INTO conversations_message VALUES (?1, ?3, ?4, ?4, ?5, ?2)",
            (id(1_000 + number), role, text, date, id(1)),
        )
        .expect("a message");
    }
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dates_with_and_without_fraction_and_offset_keep_the_order() {
    let home = home();
    by_hand(
        &home,
        &[
            ("user", "second", "2024-01-19 12:00:01.000001"),
            ("assistant", "first", "2024-01-19 12:00:01"),
            ("user", "third, a tie", "2024-01-19 12:00:02"),
            ("assistant", "fourth", "2024-01-19 12:00:02"),
            ("user", " \n", "2024-01-19 12:00:03"),
            ("user", " trimmed\u{0}\n", "2024-01-19 12:00:04+00:00"),
        ],
    );
    let target = Place::file(&home, "one.db");
    let told = imported(&home, &["django", "db.sqlite3"], &target).await;
    assert_eq!(
        told,
        "imported 1 conversations, 5 messages; there already: 0; refused: 0; messages left out: 1"
    );
    let export = exported(&home, &target).await;
    let conversation = &shown(&export)[0];
    let texts: Vec<_> = conversation["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| message[2].clone())
        .collect();
    assert_eq!(texts, ["first", "second", "third, a tie", "fourth", "trimmed"]);
    assert_eq!(conversation["description"], "d");
    assert!(
        export.contains("\"date_updated\":\"2024-01-20T12:00:00.250000Z\""),
        "{export}"
    );

    // It is served as it was, and what was said long ago is not answered now.
    let server = Server::builder_over(&home).on(&target.url()).start().await;
    let conversation = "550e8400-e29b-41d4-a716-446600000001";
    let page = server
        .client()
        .get(&format!("/conversations/{conversation}/messages"))
        .await
        .expect(200);
    assert_eq!(
        (&page["count"], &page["results"][0]["text"]),
        (&json!(5), &json!("first"))
    );
    let first = "550e8400-e29b-41d4-a716-446600001001";
    server
        .client()
        .get(&format!("/conversations/{conversation}/messages/{first}/reply"))
        .await
        .expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_named_and_the_rest_comes_in() {
    let home = home();
    let long = "x".repeat(100_001);
    let db = by_hand(
        &home,
        &[
            ("user", "fine", "2024-01-19 12:00:00"),
            ("user", &long, "2024-01-19 12:00:01"),
        ],
    );
    for (number, change) in [
        (2, "date_created = 'yesterday'"),
        (3, "conversation_id = 'no uuid'"),
        (4, "description = ''"),
    ] {
        db.execute(
            "INSERT INTO conversations_conversation
             SELECT ?1, description, date_created, date_updated, title FROM conversations_conversation LIMIT 1",
            [id(number)],
        )
        .expect("a conversation");
        db.execute(
            &format!("UPDATE conversations_conversation SET {change} WHERE conversation_id = ?1"),
            [id(number)],
        )
        .expect("a change");
    }
    let target = Place::file(&home, "one.db");
    let arguments = ["import", "django", "db.sqlite3", "--database-url", &target.url()];
    let refused = run(&home, &arguments).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        told(&refused).contains("imported 1 conversations, 0 messages; there already: 0; refused: 3"),
        "{refused:?}"
    );
    for says in [
        format!(
            "conversation {}: message {}: text: has more than 100000 characters",
            id(1),
            id(1_002)
        ),
        format!("conversation {}: date_created: is no date", id(2)),
        "conversation no uuid: conversation_id: is no UUID".to_owned(),
    ] {
        assert!(
            refused.stderr.contains(&says),
            "no {says:?} in {}",
            refused.stderr
        );
    }
    let cut = run(&home, &[&arguments[..], &["--cut"]].concat()).await;
    assert!(
        told(&cut).contains("imported 1 conversations, 2 messages; there already: 1; refused: 2"),
        "{cut:?}"
    );
}

#[tokio::test]
async fn what_is_no_database_of_django_is_refused() {
    let home = home();
    super::write(
        &home,
        "text",
        &"no database at all, but long enough to be one ".repeat(100),
    );
    Place::file(&home, "other")
        .execute("CREATE TABLE theirs (id INTEGER)")
        .await;
    for (file, says) in [
        ("missing", "the source: there is no database"),
        ("text", "is not a SQLite database"),
        ("other", "is the database of another program"),
    ] {
        assert_refused(
            &run(&home, &["import", "django", file]).await,
            UNAVAILABLE,
            &[says],
        );
    }
    assert!(
        !home.path().join("engagement.db").exists(),
        "nothing is made for it"
    );
}
