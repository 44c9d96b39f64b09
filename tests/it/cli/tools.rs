//! `migrate`, `check` and `openapi`, alone and beside a running server.

use super::{assert_refused, engagement, home};
use crate::support::Server;

const UNAVAILABLE: i32 = 69;

#[tokio::test]
async fn migrations_are_listed_and_applied() {
    let home = home();
    for arguments in [["migrate", "status"].as_slice(), &["check"]] {
        let run = engagement(&home, arguments).run().await;
        assert_refused(
            &run,
            UNAVAILABLE,
            &["there is no database", "engagement migrate apply"],
        );
    }
    let run = engagement(&home, &["migrate", "apply"]).run().await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let applied = run.stdout.lines().count();
    assert!(
        applied >= 4 && run.stdout.lines().all(|line| line.contains("applied 2")),
        "{run:?}"
    );

    let run = engagement(&home, &["migrate", "apply"]).run().await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stderr.contains("up to date"), "{run:?}");
    let run = engagement(&home, &["migrate", "status"]).run().await;
    assert_eq!(
        (run.code, run.stdout.lines().count()),
        (Some(0), applied),
        "{run:?}"
    );
    let run = engagement(&home, &["check"]).run().await;
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(0), "configuration: ok\ndatabase: ok\n"),
        "{run:?}"
    );
}

#[tokio::test]
async fn tools_work_beside_a_running_server() {
    let home = home();
    let server = Server::builder_over(&home).start().await;
    let client = server.client();
    let conversation = client.conversation("undisturbed").await;
    for arguments in [
        ["check"].as_slice(),
        &["migrate", "status"],
        &["migrate", "apply"],
        &["config", "show"],
    ] {
        let run = engagement(&home, arguments).run().await;
        assert_eq!(run.code, Some(0), "{run:?}");
        client.message(&conversation, "assistant", "still here").await;
    }
    assert_eq!(client.texts(&conversation).await.len(), 4);
}

#[tokio::test]
async fn check_live_asks_the_running_service() {
    let home = home();
    let server = Server::builder_over(&home).start().await;
    let address = server.address().to_string();
    let run = engagement(&home, &["health", "--listen", &address]).run().await;
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(0), "service: ready\n"),
        "{run:?}"
    );
    server.kill();
    let run = engagement(&home, &["health", "--listen", &address]).run().await;
    assert_refused(&run, UNAVAILABLE, &["does not answer", &address]);
}

#[tokio::test]
async fn check_finds_damage() {
    let home = home();
    let server = Server::builder_over(&home).start().await;
    let conversation = server.client().conversation("to be damaged").await;
    server
        .client()
        .message(&conversation, "assistant", "an orphan to be")
        .await;
    server.kill();
    let db = rusqlite::Connection::open(home.path().join("engagement.db")).expect("the database");
    db.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM conversations")
        .expect("damage");
    let run = engagement(&home, &["check"]).run().await;
    assert_refused(
        &run,
        UNAVAILABLE,
        &["the database is damaged", "restore a backup"],
    );
}

#[tokio::test]
async fn the_document_of_the_api_is_printed_as_it_is_committed() {
    let run = engagement(&home(), &["openapi"]).run().await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout == include_str!("../../../openapi.json"), "it differs");
}
