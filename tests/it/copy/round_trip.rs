//! What arrives is what was there.

use std::collections::BTreeSet;
use std::fs;

use engagement::store::copy::{BATCH_ROWS, Table};

use super::{Place, TABLES, assert_refused, copied, copy, engagement, home, source};

/// The columns of stdout: table, rows, checksum.
fn report(stdout: &str) -> Vec<Vec<&str>> {
    stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_file_to_a_server_and_back_nothing_changes() {
    let Some(server) = Place::server().await else {
        return;
    };
    let home = home();
    let (file, back) = (
        source(&home, 2 * BATCH_ROWS + 1).await,
        Place::file(&home, "back.db"),
    );
    let everything = file.dump().await;

    let there = copied(&home, &file, &server).await;
    let and_back = copied(&home, &server, &back).await;

    assert!(
        server.dump().await == everything,
        "the server has what the file has"
    );
    assert!(back.dump().await == everything, "the other file has it too");
    assert_eq!(
        there, and_back,
        "counts and checksums do not depend on the database"
    );
    let report = report(&there);
    for (table, line) in TABLES.iter().zip(&report) {
        let rows = everything[table].len().to_string();
        assert_eq!(line[..2], [*table, rows.as_str()]);
        assert!(line[2].starts_with("sha256:") && line[2].len() == 71, "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_file_to_a_file_nothing_changes_and_the_source_is_not_written() {
    let home = home();
    let (file, other) = (source(&home, 100).await, Place::file(&home, "other.db"));
    let bytes = fs::read(home.path().join("source.db")).expect("the source");

    copied(&home, &file, &other).await;

    assert!(other.dump().await == file.dump().await);
    assert!(fs::read(home.path().join("source.db")).expect("the source") == bytes);
    let check = engagement(&home, &["check", "--database-url", &other.url()])
        .run()
        .await;
    assert_eq!(check.code, Some(0), "{check:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_server_to_a_server_nothing_changes() {
    let (Some(one), Some(other)) = (Place::server().await, Place::server().await) else {
        return;
    };
    let home = home();
    copied(&home, &source(&home, 100).await, &one).await;

    copied(&home, &one, &other).await;

    assert!(other.dump().await == one.dump().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_in_the_order_of_their_dates_in_a_file() {
    let home = home();
    let (file, other) = (source(&home, 10).await, Place::file(&home, "other.db"));

    copied(&home, &file, &other).await;

    let dates = |name: &str| -> Vec<i64> {
        let db = rusqlite::Connection::open(home.path().join(name)).expect("the database");
        let mut select = db
            .prepare("SELECT created_at FROM idempotency ORDER BY number")
            .expect("a question");
        let dates = select.query_map((), |row| row.get(0)).expect("dates");
        dates.collect::<Result<_, _>>().expect("dates")
    };
    assert_eq!(dates("other.db"), [10, 10, 20, 30]);
    assert_eq!(
        dates("source.db"),
        [30, 10, 20, 10],
        "control: they were in another one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_copy_is_verified_again_and_not_written() {
    let home = home();
    for target in [Some(Place::file(&home, "target.db")), Place::server().await] {
        let Some(target) = target else { continue };
        let file = match target {
            Place::File(_) => source(&home, 10).await,
            Place::Server(_) => Place::file(&home, "source.db"),
        };
        let first = copied(&home, &file, &target).await;
        assert_eq!(copied(&home, &file, &target).await, first);

        for (tampered, table) in [
            (
                "UPDATE messages SET text = text || '!' WHERE seq = 7",
                "messages has",
            ),
            (
                "UPDATE conversations SET last_seq = 8 WHERE last_seq = 7",
                "conversations has",
            ),
            (
                "UPDATE replies SET attempts = 1 WHERE attempts = 2",
                "replies has",
            ),
            ("DELETE FROM purges", "purges has"),
        ] {
            target.execute(tampered).await;
            let run = copy(&home, &file, &target).await;
            assert_refused(&run, 1, &["not the same as the source", table, "used since"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_row_that_was_changed_between_two_runs_is_seen() {
    let home = home();
    for target in [Some(Place::file(&home, "target.db")), Place::server().await] {
        let Some(target) = target else { continue };
        let file = match target {
            Place::File(_) => source(&home, 10).await,
            Place::Server(_) => Place::file(&home, "source.db"),
        };
        copied(&home, &file, &target).await;
        // As a kill would have left it, but for one text.
        target
            .execute(
                "UPDATE copies SET finished_at = NULL; DELETE FROM purges;
                 UPDATE messages SET text = 'NUMBER 7' WHERE text = 'number 7'",
            )
            .await;

        let run = copy(&home, &file, &target).await;

        assert_refused(&run, 1, &["messages has", "changed between two runs"]);
        assert!(
            !run.stderr.contains("purges has"),
            "those were copied again: {run:?}"
        );
        let serve = engagement(&home, &["--database-url", &target.url()]).run().await;
        assert_refused(&serve, super::UNAVAILABLE, &["not whole"]);
    }
}

#[tokio::test]
async fn nothing_that_is_kept_is_left_out() {
    let home = home();
    let Place::File(path) = source(&home, 1).await else {
        panic!("a file")
    };
    let db = rusqlite::Connection::open(path).expect("the source");
    let names = |sql: &str| -> BTreeSet<String> {
        let mut select = db.prepare(sql).expect("a question");
        let names = select.query_map((), |row| row.get(0)).expect("names");
        names.collect::<Result<_, _>>().expect("names")
    };
    let mut tables =
        names("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
    // What belongs to a database itself, and not to what is kept in it.
    assert!(tables.remove("schema_migrations") && tables.remove("copies"));
    assert_eq!(tables, Table::ALL.map(|table| table.name().to_owned()).into());
    for table in Table::ALL {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{}')", table.name()));
        let copied: BTreeSet<_> = table
            .columns()
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let own = table.own_columns().iter().map(|name| (*name).to_owned());
        let known: BTreeSet<_> = copied.iter().cloned().chain(own).collect();
        assert_eq!(known, columns, "{table:?}");
    }
}
