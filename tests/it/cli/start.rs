//! What keeps a server from starting.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::{assert_refused, engagement, home};
use crate::support::Server;

const UNAVAILABLE: i32 = 69;
const REFUSED: i32 = 78;

#[tokio::test]
async fn a_second_server_on_the_same_database_is_refused() {
    let home = home();
    let first = Server::builder_over(&home).start().await;
    let second = engagement(&home, &[]).run().await;
    assert_refused(
        &second,
        UNAVAILABLE,
        &["another server is using the database", "--database-url"],
    );
    // By another name it is the same database.
    std::os::unix::fs::symlink(home.path().join("engagement.db"), home.path().join("link.db"))
        .expect("a link");
    let second = engagement(&home, &["--database-url", "sqlite:link.db"])
        .run()
        .await;
    assert_refused(&second, UNAVAILABLE, &["another server is using the database"]);
    assert_eq!(first.client().get("/readyz").await.status, 200);

    first.kill();
    Server::builder_over(&home).start().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_of_ours_is_left_alone() {
    let home = home();
    let text = "this is not a database, but a text that somebody needs, long enough for a header of a hundred bytes. ";
    fs::write(home.path().join("text.db"), text.repeat(50)).expect("a file");
    let run = engagement(&home, &["--database-url", "sqlite:text.db"])
        .run()
        .await;
    assert_refused(
        &run,
        UNAVAILABLE,
        &["text.db is not a SQLite database", "--database-url"],
    );
    assert_eq!(
        fs::read_to_string(home.path().join("text.db")).expect("the file"),
        text.repeat(50)
    );

    let other = Connection::open(home.path().join("other.db")).expect("a database");
    other
        .execute_batch("CREATE TABLE invoices (total INTEGER)")
        .expect("a table");
    let run = engagement(&home, &["--database-url", "sqlite:other.db"])
        .run()
        .await;
    assert_refused(
        &run,
        UNAVAILABLE,
        &["other.db is the database of another program", "--database-url"],
    );
    let tables: u32 = other
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .expect("a count");
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let home = home();
    let run = engagement(&home, &["--database-url", "sqlite:nowhere/e.db"])
        .run()
        .await;
    assert_refused(
        &run,
        UNAVAILABLE,
        &["nowhere", "cannot open the database", "--database-url"],
    );

    // /proc takes no files from anybody, not even from root.
    let run = engagement(&home, &["--database-url", "sqlite:/proc/e.db"])
        .run()
        .await;
    assert_refused(&run, UNAVAILABLE, &["/proc/e.db", "--database-url"]);

    let run = engagement(&home, &["--database-url", "sqlite:."]).run().await;
    assert_refused(&run, UNAVAILABLE, &["hint"]);
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_unchanged() {
    let home = home();
    let server = Server::builder_over(&home).start().await;
    server.kill();
    let db = Connection::open(home.path().join("engagement.db")).expect("the database");
    let add = "INSERT INTO schema_migrations (version, name, applied_at, needs) VALUES (?, 'newer', 0, ?)";
    db.execute(add, (998, 1))
        .expect("a migration that older programs can work with");
    Server::builder_over(&home).start().await;

    db.execute(add, (999, 999))
        .expect("a migration that they cannot work with");
    for arguments in [vec![], vec!["migrate", "apply"]] {
        let run = engagement(&home, &arguments).run().await;
        assert_refused(
            &run,
            UNAVAILABLE,
            &["needs a newer program", "999", "start the newer version"],
        );
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = taken.local_addr().expect("an address").to_string();
    let run = engagement(&home(), &["--listen", &address]).run().await;
    assert_refused(
        &run,
        1,
        &["cannot listen on", &address, "address: --listen 127.0.0.1:0"],
    );
    let run = engagement(&home(), &["--metrics-listen", &address]).run().await;
    assert_refused(
        &run,
        1,
        &[
            "cannot listen on",
            &address,
            "address: --metrics-listen 127.0.0.1:0",
        ],
    );
}

#[tokio::test]
async fn metrics_do_not_listen_where_the_api_does() {
    let free = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    let both = ["--listen", &address, "--metrics-listen", &address];
    let run = engagement(&home(), &both).run().await;
    let says = ["metrics_listen: ", &address, "is where the API listens"];
    assert_refused(&run, REFUSED, &says);
}

#[tokio::test]
async fn a_log_file_that_cannot_be_written_is_named() {
    let home = home();
    fs::write(home.path().join("file"), "").expect("a file");
    for path in ["file/engagement.log", "/proc/engagement.log", "."] {
        let run = engagement(&home, &["--log-file", path]).run().await;
        assert_refused(
            &run,
            REFUSED,
            &["cannot write the log file", path, "--log-file off"],
        );
    }
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let server = Server::start().await;
    server.client().conversation("private").await;
    let home = server.home();
    for file in [
        "engagement.db",
        "engagement.db-wal",
        "engagement.db-shm",
        "engagement.db.lock",
    ] {
        let mode = fs::metadata(home.path().join(file))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
