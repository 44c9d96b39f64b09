//! What keeps the program from a PostgreSQL database, row by row: the code, the sentence and the hint of each.

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;

use super::{assert_refused, engagement, home};
use crate::support::{
    Run,
    postgres::{self, Durability},
};

const UNAVAILABLE: i32 = 69;
const REFUSED: i32 = 78;

/// No part of it may ever be seen.
const SECRET: &str = "canary";

/// Every command that opens the database.
const COMMANDS: [&[&str]; 5] = [
    &["serve"],
    &["worker"],
    &["check"],
    &["migrate", "status"],
    &["migrate", "apply"],
];

/// Runs a command and shows that it tells no secret, on the console or in the log.
async fn run(home: &Arc<TempDir>, arguments: &[&str], settings: &[(&str, &str)]) -> Run {
    let builder = settings
        .iter()
        .fold(engagement(home, arguments), |builder, (name, value)| {
            builder.env(name, value)
        });
    let run = builder.env("LOG_LEVEL", "trace").run().await;
    let log = fs::read_to_string(home.path().join("logs/engagement.log")).unwrap_or_default();
    let told = format!("{}{}{log}", run.stdout, run.stderr);
    assert!(!told.contains(SECRET), "{arguments:?}: {told}");
    run
}

#[tokio::test]
async fn a_url_that_makes_no_sense_is_refused_before_anybody_is_asked() {
    let example = "--database-url 'postgres://user:password@host";
    for (url, says) in [
        (
            "postgres://me:canary@h:port/chat",
            ["invalid value for option `port`", example],
        ),
        (
            "postgres://me:canary@h/chat?sslmod=require",
            ["unknown option `sslmod`", example],
        ),
        (
            "postgres://me:canary@h/chat?sslmode=allow",
            [
                "sslmode must be disable, prefer, require, verify-ca or verify-full",
                example,
            ],
        ),
        (
            "postgres://me:canary@h/chat?sslmode=verify-full&sslrootcert=nowhere.pem",
            ["sslrootcert: cannot read nowhere.pem", example],
        ),
        (
            "postgres://me:pass@canary@h/chat",
            ["must be written as %40", example],
        ),
        (
            "postgres:me:canary@h/chat",
            ["must begin with postgres://", example],
        ),
    ] {
        for command in COMMANDS {
            let home = home();
            let run = run(&home, command, &[("DATABASE_URL", url)]).await;
            let setting = ["database_url: "];
            assert_refused(&run, REFUSED, &[&setting[..], &says].concat());
            assert!(!run.stdout.contains("configuration: ok"), "{run:?}");
        }
    }
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    type Given = &'static [(&'static str, &'static str)];
    const HERE: (&str, &str) = ("DATABASE_URL", "postgres://me:canary@127.0.0.1:1/chat");
    let rows: [(Given, &[&str]); 9] = [
        (
            &[("DATABASE_URL", "mysql://me:canary@h/chat")],
            &[
                "must begin with sqlite: or postgres:",
                "--database-url postgres://",
            ],
        ),
        (
            &[("DATABASE_URL", "host=h password=canary")],
            &[
                "must begin with sqlite: or postgres:",
                "--database-url postgres://",
            ],
        ),
        (
            &[("DATABASE_URL_FILE", "nowhere")],
            &["cannot read nowhere", "a file that this user can read"],
        ),
        (
            &[HERE, ("DATABASE_URL_FILE", "url")],
            &[
                "given twice",
                "leave out one of database_url and database_url_file",
            ],
        ),
        (
            &[("DATABASE_REPLICA_URL", "postgres://me:canary@h/chat")],
            &["only a PostgreSQL database has replicas", "leave it out"],
        ),
        (
            &[HERE, ("DATABASE_REPLICA_URL", "sqlite:replica.db")],
            &[
                "database_replica_url: must begin with postgres://",
                "--database-replica-url",
            ],
        ),
        (
            &[
                HERE,
                (
                    "DATABASE_REPLICA_URL",
                    "postgres://me:canary@h/chat?sslmode=maybe",
                ),
            ],
            &["database_replica_url: sslmode must be", "--database-replica-url"],
        ),
        (
            &[HERE, ("DATABASE_READERS", "0")],
            &["database_readers: must be from 1 to 1000"],
        ),
        (
            &[HERE, ("DATABASE_WRITERS", "0")],
            &["database_writers: must be from 1 to 1000"],
        ),
    ];
    for (settings, says) in rows {
        for command in COMMANDS {
            let run = run(&home(), command, settings).await;
            assert_refused(&run, REFUSED, says);
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named() {
    let start_it = "start the server, or correct host and port in --database-url";
    for (url, says) in [
        (
            "postgres://me:canary@127.0.0.1:1/chat",
            [
                "cannot reach database chat at 127.0.0.1:1: Connection refused",
                start_it,
            ],
        ),
        (
            // Longer than a name may be, so that nobody is asked for it.
            &format!("postgres://me:canary@{}/chat", "x".repeat(64)),
            ["xx:5432: failed to lookup address information", start_it],
        ),
        (
            "postgres://me:canary@/chat?host=/nowhere&port=6543",
            [
                "cannot reach database chat at /nowhere (port 6543): No such file",
                start_it,
            ],
        ),
    ] {
        for command in [
            ["check"].as_slice(),
            &["migrate", "status"],
            &["migrate", "apply"],
        ] {
            let run = run(&home(), command, &[("DATABASE_URL", url)]).await;
            assert_refused(&run, UNAVAILABLE, &says);
        }
    }
    // A service waits a moment, as after a reboot of both, and says so once.
    let url = "postgres://me:canary@127.0.0.1:1/chat";
    let run = run(&home(), &["serve"], &[("DATABASE_URL", url)]).await;
    assert_refused(
        &run,
        UNAVAILABLE,
        &["cannot reach database chat at 127.0.0.1:1", start_it],
    );
    assert_eq!(
        run.stderr.matches("waiting for the database").count(),
        1,
        "{run:?}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_says_why() {
    let Some(server) = postgres::private(Durability::Fast).await else {
        return;
    };
    server.ask_for_a_password("stranger").await;
    let admin = server.client().await;
    for statement in [
        "CREATE ROLE stranger LOGIN PASSWORD 'the right one'",
        "CREATE ROLE guest LOGIN",
        "CREATE DATABASE chat",
        "REVOKE ALL ON DATABASE chat FROM PUBLIC",
        "GRANT CONNECT ON DATABASE chat TO stranger, guest",
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0",
    ] {
        admin.batch_execute(statement).await.expect(statement);
    }
    let at = server.tcp();
    let correct = "correct user, password and database in --database-url";
    let own = "ALTER DATABASE name OWNER TO user";
    let utf8 = "createdb --encoding UTF8";
    for (user, place, says) in [
        (
            "stranger:canary",
            "chat",
            ["password authentication failed", correct],
        ),
        ("stranger", "chat", ["password missing", correct]),
        (
            "nobody:canary",
            "chat",
            [r#"role "nobody" does not exist"#, correct],
        ),
        (
            "postgres:canary",
            "nowhere",
            [r#"database "nowhere" does not exist"#, correct],
        ),
        (
            "stranger:the%20right%20one",
            "chat?sslmode=require",
            [
                "TLS: server does not support TLS",
                "change sslmode in --database-url",
            ],
        ),
        (
            "stranger:the%20right%20one",
            "chat?sslmode=verify-full",
            [
                "TLS: server does not support TLS",
                "change sslmode in --database-url",
            ],
        ),
        (
            "postgres:canary",
            "ascii",
            ["keeps texts as SQL_ASCII, not as UTF8", utf8],
        ),
        (
            "guest:canary",
            "chat",
            ["permission denied for schema public", own],
        ),
    ] {
        let url = format!("postgres://{user}@{at}/{place}");
        for command in COMMANDS {
            // What is looked at only needs no more than it needs.
            let is_allowed = match says[1] {
                hint if hint == own => matches!(command[0], "check") || command == ["migrate", "status"],
                hint if hint == utf8 => command == ["migrate", "status"],
                _ => false,
            };
            let run = run(&home(), command, &[("DATABASE_URL", &url)]).await;
            if is_allowed {
                assert_eq!(run.code, Some(0), "{run:?}");
            } else {
                assert_refused(&run, UNAVAILABLE, &says);
            }
            assert!(
                !run.stderr.contains("waiting"),
                "no time will make it right: {run:?}"
            );
        }
    }
    // The control: with everything right, it works.
    let url = format!("postgres://stranger:the%20right%20one@{at}/chat");
    admin
        .batch_execute("ALTER DATABASE chat OWNER TO stranger")
        .await
        .expect("another owner");
    let run = run(&home(), &["migrate", "apply"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[tokio::test]
async fn production_refuses_a_server_that_may_lose_commits() {
    let Some(server) = postgres::private(Durability::Fast).await else {
        return;
    };
    let url = server.url_of("postgres");
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("PRODUCTION", "1"),
        ("API_KEY", "0123456789abcdef01234567"),
    ];
    for command in [["serve"].as_slice(), &["worker"]] {
        let run = run(&home(), command, &settings).await;
        assert_refused(&run, REFUSED, &["its setting fsync is off", "postgresql.conf"]);
    }
}
