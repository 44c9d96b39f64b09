//! `migrate`, `check` and `config show` with a PostgreSQL database.

use std::fs;

use super::{assert_refused, engagement, home};
use crate::support::{Server, postgres};

const UNAVAILABLE: i32 = 69;
const REFUSED: i32 = 78;

#[tokio::test]
async fn migrations_are_listed_and_applied_on_postgres() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let (home, database) = (home(), cluster.database().await);
    let on = |arguments: &[&str]| engagement(&home, arguments).on(database.url());

    let run = on(&["migrate", "status"]).run().await;
    let all = run.stdout.lines().count();
    assert!(
        run.code == Some(0) && all >= 6 && run.stdout.lines().all(|line| line.ends_with("  pending")),
        "{run:?}"
    );
    let run = on(&["check"]).run().await;
    let pending = format!(
        "configuration: ok\ndatabase: ok, {all} migrations pending (applied when the server starts)\n"
    );
    assert_eq!((run.code, run.stdout), (Some(0), pending));

    let run = on(&["migrate", "apply"]).run().await;
    assert!(
        run.code == Some(0) && run.stdout.lines().count() == all && run.stdout.contains("applied 2"),
        "{run:?}"
    );
    let applied = run.stdout;
    let run = on(&["migrate", "apply"]).run().await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stderr.contains("up to date"), "{run:?}");
    let run = on(&["migrate", "status"]).run().await;
    assert_eq!((run.code, run.stdout), (Some(0), applied));
    let run = on(&["check"]).run().await;
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(0), "configuration: ok\ndatabase: ok\n")
    );
    assert_eq!(
        fs::read_dir(home.path()).expect("a directory").count(),
        0,
        "nothing is made here"
    );
}

#[tokio::test]
async fn tools_work_beside_a_server_on_postgres() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let server = Server::builder().on(database.url()).start().await;
    let address = server.address().to_string();
    let client = server.client();
    let conversation = client.conversation("undisturbed").await;
    for arguments in [
        ["check"].as_slice(),
        &["health", "--listen", &address],
        &["migrate", "status"],
        &["migrate", "apply"],
        &["config", "show"],
    ] {
        let run = engagement(&home(), arguments).on(database.url()).run().await;
        assert_eq!(run.code, Some(0), "{run:?}");
        client.message(&conversation, "assistant", "still here").await;
    }
    assert_eq!(client.texts(&conversation).await.len(), 5);
    server.kill();
    let check = ["health", "--listen", &address];
    let run = engagement(&home(), &check).on(database.url()).run().await;
    assert_refused(&run, UNAVAILABLE, &["does not answer", &address]);
}

#[tokio::test]
async fn check_finds_strays_on_postgres() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let server = Server::builder().on(database.url()).start().await;
    let client = server.client();
    let conversation = client.conversation("to be damaged").await;
    client
        .message(&conversation, "assistant", "an orphan to be")
        .await;
    server.kill();
    let behind = database.client().await;
    let damage = behind.batch_execute("DELETE FROM conversations").await;
    damage.expect("damage");
    let run = engagement(&home(), &["check"]).on(database.url()).run().await;
    assert_refused(
        &run,
        UNAVAILABLE,
        &["the database is damaged", "restore a backup"],
    );
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_on_postgres_too() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    Server::builder().on(database.url()).start().await;
    let behind = database.client().await;
    let newer = async |number: i64, needs: i64| {
        let add =
            "INSERT INTO schema_migrations (version, name, applied_at, needs) VALUES ($1, 'newer', 0, $2)";
        behind.execute(add, &[&number, &needs]).await.expect("a row");
    };
    newer(998, 1).await;
    Server::builder().on(database.url()).start().await;

    newer(999, 999).await;

    for arguments in [vec![], vec!["worker"], vec!["migrate", "apply"]] {
        let run = engagement(&home(), &arguments).on(database.url()).run().await;
        assert_refused(
            &run,
            UNAVAILABLE,
            &["needs a newer program", "999", "start the newer version"],
        );
    }
}

#[tokio::test]
async fn the_url_can_be_in_a_file() {
    let Some(cluster) = postgres::shared().await else {
        return;
    };
    let (home, database) = (home(), cluster.database().await);
    let file = home.path().join("url");
    fs::write(&file, format!("{}\n", database.url())).expect("a file");
    let server = Server::builder_over(&home)
        .env("DATABASE_URL_FILE", "url")
        .start()
        .await;
    server.client().conversation("found by a file").await;
    let behind = database.client().await;
    let stored = behind.query_one("SELECT count(*) FROM conversations", &[]).await;
    assert_eq!(stored.expect("a count").get::<_, i64>(0), 1);
    assert!(!home.path().join("engagement.db").exists());
}

#[tokio::test]
async fn settings_are_shown_without_passwords() {
    let run = engagement(&home(), &["config", "show"])
        .on("postgres://me:canary@db.example:5433/chat?sslmode=require")
        .env(
            "DATABASE_REPLICA_URL",
            "postgres://db.example/chat?user=me&password=canary",
        )
        .run()
        .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    for shown in [
        "postgres://me:***@db.example:5433/chat?sslmode=require",
        "postgres://db.example/chat?user=me&password=***",
    ] {
        assert!(run.stdout.contains(shown), "no {shown} in {run:?}");
    }
    let both = run.stdout + &run.stderr;
    assert!(!both.contains("canary"), "{both}");

    // Also where the settings are refused.
    let run = engagement(&home(), &["config", "show"])
        .env("DATABASE_REPLICA_URL", "postgres://me:canary@db/chat")
        .run()
        .await;
    assert_refused(&run, REFUSED, &["only a PostgreSQL database has replicas"]);
    assert!(run.stdout.contains("postgres://me:***@db/chat"), "{run:?}");
    assert!(!run.stderr.contains("canary"), "{run:?}");
}
