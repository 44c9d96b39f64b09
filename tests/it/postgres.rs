//! The servers that tests of PostgreSQL stand on do what they say, and leave nothing behind.

mod clean_up;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::support::postgres::{
    Address, Durability, TestDatabase, find_programs, newest_first, private, shared,
};
use crate::support::proxy::{Cut, Proxy, Upstream};
use crate::support::{SOON, eventually, skip};

async fn names_of_databases(client: &Client) -> Vec<String> {
    let rows = client
        .query("SELECT datname FROM pg_database", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn remember(client: &Client, text: &str) {
    let create = "CREATE TABLE IF NOT EXISTS remembered (text text)";
    client.batch_execute(create).await.unwrap();
    client
        .execute("INSERT INTO remembered VALUES ($1)", &[&text])
        .await
        .unwrap();
}

async fn remembered(database: &TestDatabase) -> Vec<String> {
    let client = database.client().await;
    let rows = client
        .query("SELECT text FROM remembered ORDER BY text", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn databases_are_separate_and_gone_afterwards() {
    let Some(cluster) = shared().await else { return };
    let (one, two) = (cluster.database().await, cluster.database().await);
    assert_ne!(one.name(), two.name());
    remember(&one.client().await, "one").await;
    remember(&two.client().await, "two").await;
    assert_eq!(remembered(&one).await, ["one"]);
    assert_eq!(remembered(&two).await, ["two"]);

    let server = cluster.client().await;
    let still_connected = one.client().await;
    let name = one.name().to_owned();
    assert!(names_of_databases(&server).await.contains(&name));
    drop(one);
    assert!(!names_of_databases(&server).await.contains(&name));
    still_connected.batch_execute("SELECT 1").await.unwrap_err();
    assert_eq!(remembered(&two).await, ["two"]);
}

#[test]
fn a_database_can_be_dropped_outside_of_a_runtime_and_while_panicking() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let Some(database) = runtime().block_on(async { Some(shared().await?.database().await) }) else {
        return;
    };
    let name = database.name().to_owned();
    let panicked = std::thread::spawn(move || {
        let _dropped = database;
        panic!("a test that fails, as it should here");
    });
    panicked.join().unwrap_err();
    runtime().block_on(async {
        let server = shared().await.unwrap().client().await;
        assert!(!names_of_databases(&server).await.contains(&name));
    });
}

#[tokio::test]
async fn a_database_is_reached_over_tcp_and_through_a_proxy() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let database = cluster.database().await;
    let by_socket = Proxy::start(Upstream::Unix(cluster.socket())).await;
    let by_tcp = Proxy::start(Upstream::Tcp(cluster.tcp())).await;
    assert!(cluster.socket().starts_with(cluster.socket_dir()));
    assert_eq!(cluster.tcp().port(), cluster.port());
    for url in [
        database.url().to_owned(),
        database.tcp_url(),
        database.url_through(by_socket.address()),
        database.url_through(by_tcp.address()),
    ] {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let row = client
            .query_one("SELECT current_database()::text", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, String>(0), database.name(), "{url}");
    }
    assert_eq!((by_socket.connections(), by_tcp.connections()), (1, 1));

    // What the proxy is for: the commit happens, and the client cannot know.
    let (client, connection) = tokio_postgres::connect(&database.url_through(by_socket.address()), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    remember(&client, "before").await;
    by_socket.cut_when(b"COMMIT", Cut::AfterSending);
    let transaction = "BEGIN; INSERT INTO remembered VALUES ('unknown to the client'); COMMIT";
    client.batch_execute(transaction).await.unwrap_err();
    eventually("the server commits", SOON, async || {
        (remembered(&database).await == ["before", "unknown to the client"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_to_one_database_can_be_terminated() {
    let Some(cluster) = shared().await else { return };
    let (database, other) = (cluster.database().await, cluster.database().await);
    let (one, two, unharmed) = (
        database.client().await,
        database.client().await,
        other.client().await,
    );
    assert_eq!(database.terminate_backends().await, 2);
    one.batch_execute("SELECT 1").await.unwrap_err();
    two.batch_execute("SELECT 1").await.unwrap_err();
    unharmed.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn committed_data_outlives_restarts_kills_and_crashes() {
    let Some(cluster) = private(Durability::Durable).await else {
        return;
    };
    let database = cluster.database().await;

    remember(&database.client().await, "1 stopped").await;
    cluster.stop().await;
    assert!(cluster.pid().is_none());
    cluster.start_again().await;

    let client = database.client().await;
    remember(&client, "2 restarted").await;
    cluster.restart().await;
    client.batch_execute("SELECT 1").await.unwrap_err();

    // One backend is busy when its postmaster is killed, so that the first attempts to start fail.
    let busy = database.client().await;
    let busy = tokio::spawn(async move {
        busy.batch_execute("SELECT count(*) FROM generate_series(1, 3e6)")
            .await
    });
    let client = database.client().await;
    remember(&client, "3 postmaster killed").await;
    client
        .batch_execute("BEGIN; INSERT INTO remembered VALUES ('not committed')")
        .await
        .unwrap();
    cluster.kill_postmaster().await;
    cluster.start_again().await;
    let _ = busy.await.unwrap();

    let client = database.client().await;
    remember(&client, "4 backends killed").await;
    client
        .batch_execute("BEGIN; INSERT INTO remembered VALUES ('not committed')")
        .await
        .unwrap();
    cluster.kill_backends().await;
    cluster.ready().await;
    client.batch_execute("SELECT 1").await.unwrap_err();

    remember(&database.client().await, "5 killed while frozen").await;
    cluster.pause();
    cluster.kill_postmaster().await;
    cluster.start_again().await;

    remember(&database.client().await, "6 stopped while frozen").await;
    cluster.pause();
    cluster.restart().await;

    let all = remembered(&database).await;
    let firsts: Vec<_> = all.iter().map(|text| &text[..2]).collect();
    assert_eq!(firsts, ["1 ", "2 ", "3 ", "4 ", "5 ", "6 "], "{all:?}");
    let fsync = database
        .client()
        .await
        .query_one("SHOW fsync", &[])
        .await
        .unwrap();
    assert_eq!(fsync.get::<_, String>(0), "on");
}

#[tokio::test]
async fn a_frozen_server_is_silent_and_goes_on_later() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let database = cluster.database().await;
    let client = database.client().await;
    cluster.pause();
    let (asked, connecting) = (client.batch_execute("SELECT 1"), cluster.client());
    let (mut asked, mut connecting) = (Box::pin(asked), Box::pin(connecting));
    let a_moment = Duration::from_millis(200);
    timeout(a_moment, &mut asked).await.unwrap_err();
    assert!(timeout(a_moment, &mut connecting).await.is_err());
    cluster.resume();
    timeout(SOON, asked).await.unwrap().unwrap();
    timeout(SOON, connecting).await.unwrap();
}

#[test]
fn programs_are_found_newest_first_and_only_if_both_are_there() {
    let root = tempfile::tempdir().unwrap();
    let versions = ["pgsql-9.6", "pgsql-15", "pgsql-17", "other-18"];
    for version in versions {
        let bin = root.path().join(version).join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("postgres"), "").unwrap();
        if version != "pgsql-17" {
            fs::write(bin.join("initdb"), "").unwrap();
        }
    }
    let bin = |version: &str| root.path().join(version).join("bin");
    let found = newest_first(root.path(), "pgsql-");
    assert_eq!(found, [bin("pgsql-17"), bin("pgsql-15"), bin("pgsql-9.6")]);
    assert_eq!(find_programs(found), Some(bin("pgsql-15")));
    assert_eq!(find_programs([bin("pgsql-17")]), None);
}

/// Not a test: what [`a_skip_is_heard_and_fails_where_tests_insist`] runs.
#[test]
#[ignore = "tests nothing: another test runs it"]
fn a_test_that_lacks_something() {
    skip("this needs a miracle");
}

#[test]
fn a_skip_is_heard_and_fails_where_tests_insist() {
    for (insists, passes, says) in [
        ("0", true, "SKIPPED: this needs a miracle"),
        ("1", false, "a miracle"),
    ] {
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "postgres::a_test_that_lacks_something", "--ignored"])
            .env("ENGAGEMENT_TESTS_INSIST", insists)
            .output()
            .unwrap();
        let said = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
        assert_eq!(run.status.success(), passes, "{said}");
        assert!(said.contains(says), "{said}");
        assert!(said.contains("running 1 test"), "{said}");
    }
}

#[test]
fn urls_follow_from_that_of_the_server() {
    let proxy = "127.0.0.1:9".parse().unwrap();
    for (server, database, through) in [
        (
            "postgres://me:se%40cret@db.example:5433/main?sslmode=disable&port=1",
            "postgres://me:se%40cret@db.example:5433/x?sslmode=disable&port=1",
            "postgres://me:se%40cret@127.0.0.1:9/x?sslmode=disable",
        ),
        ("postgresql://db", "postgres://db/x", "postgres://127.0.0.1:9/x"),
        (
            "postgres:///main?host=/tmp&port=2&user=me",
            "postgres:///x?host=/tmp&port=2&user=me",
            "postgres://127.0.0.1:9/x?user=me",
        ),
    ] {
        let server = Address::parse(server);
        assert_eq!(server.database("x"), database);
        assert_eq!(server.database_through("x", proxy), through);
    }
    let odd = Address::of_socket(Path::new("/tmp/a b&c"), 1);
    assert_eq!(
        odd.url(),
        "postgres:///postgres?host=/tmp/a%20b%26c&port=1&user=postgres"
    );
}
