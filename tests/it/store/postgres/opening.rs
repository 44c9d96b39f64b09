//! Which servers are worked with, and what is said about the others.

use engagement::store::postgres::{OpenError, Options, PostgresStore};

use crate::support::{
    self, SOON, Server, eventually,
    postgres::{Durability, private},
};

async fn refusal(options: &Options) -> OpenError {
    PostgresStore::open(options).await.err().expect("a refusal")
}

#[tokio::test]
async fn a_database_that_keeps_texts_in_another_encoding_is_refused() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let server = cluster.client().await;
    // In the place of the test's own, so that it is dropped like that.
    for statement in [
        format!("DROP DATABASE {}", database.name()),
        format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
            database.name()
        ),
    ] {
        server.batch_execute(&statement).await.unwrap();
    }

    let error = refusal(&Options::new(database.url())).await;

    assert!(
        matches!(&error, OpenError::Encoding(encoding) if encoding == "LATIN1"),
        "{error}"
    );
    assert!(
        error.hint().contains("createdb --encoding UTF8"),
        "{}",
        error.hint()
    );
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(
        super::number(&database.client().await, tables, &[]).await,
        0,
        "nothing was made in it"
    );
}

#[tokio::test]
async fn a_server_that_may_lose_commits_is_warned_about_and_refused_where_that_matters() {
    let Some(cluster) = private(Durability::Fast).await else {
        return;
    };
    let database = cluster.database().await;
    let mut options = Options::new(database.url());
    options.insist_on_durability = true;
    let error = refusal(&options).await;
    assert!(
        matches!(&error, OpenError::NotDurable(setting) if setting == "fsync"),
        "{error}"
    );

    let server = Server::builder().env("DATABASE_URL", database.url());
    let server = server.start().await;
    let warning = "the server may lose what it acknowledged: this of its settings is off";
    for setting in ["fsync", "full_page_writes"] {
        eventually("the log warns", SOON, async || {
            let log = server.log();
            log.lines()
                .any(|line| line.contains("WARN") && line.contains(warning) && line.contains(setting))
                .then_some(())
        })
        .await;
    }

    let production = Server::builder()
        .env("DATABASE_URL", database.url())
        .env("PRODUCTION", "1")
        .env("API_KEY", "a-key-of-more-than-twenty-four-characters");
    let refused = production.run().await;
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.stderr.contains("its setting fsync is off"), "{refused:?}");
}

#[tokio::test]
async fn a_durable_server_is_not_warned_about() {
    let Some(cluster) = private(Durability::Durable).await else {
        return;
    };
    let database = cluster.database().await;
    let mut options = Options::new(database.url());
    options.insist_on_durability = true;
    PostgresStore::open(&options).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_said_without_the_password() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    let missing = database.url().replace(database.name(), "no_such_database");
    let error = refusal(&Options::new(&missing)).await;
    assert!(matches!(error, OpenError::Refused { .. }), "{error}");
    assert!(
        error.to_string().contains("\"no_such_database\" does not exist"),
        "{error}"
    );
    assert!(!error.is_passing());

    let nobody = "postgres://user:secret@127.0.0.1:1/chat";
    let error = refusal(&Options::new(nobody)).await;
    assert!(error.is_passing(), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("cannot reach database chat at 127.0.0.1:1"),
        "{error}"
    );
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
}
