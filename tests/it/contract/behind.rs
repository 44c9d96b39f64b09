//! What can happen to a database behind the service's back.

use rusqlite::Connection;

use super::Service;

/// A connection to the database of a service, beside those of the service.
pub(super) enum Behind {
    Sqlite(Connection),
    Postgres(tokio_postgres::Client),
}

impl Behind {
    pub(super) async fn of(service: &Service) -> Self {
        match service.data() {
            Some(data) => Self::Postgres(data.client().await),
            None => Self::Sqlite(
                Connection::open(service.server().home().path().join("engagement.db")).expect("the database"),
            ),
        }
    }

    async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(database) => database.execute_batch(sql).expect("a statement"),
            Self::Postgres(database) => database.batch_execute(sql).await.expect("a statement"),
        }
    }

    /// Drops every table, whatever their names are.
    pub(super) async fn break_everything(&self) {
        let names: Vec<String> = match self {
            Self::Sqlite(database) => database
                .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
                .expect("a statement")
                .query_map([], |row| row.get(0))
                .expect("names")
                .collect::<Result<_, _>>()
                .expect("names"),
            Self::Postgres(database) => {
                let names = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
                let rows = database.query(names, &[]).await.expect("names");
                rows.iter().map(|row| row.get(0)).collect()
            }
        };
        if let Self::Sqlite(_) = self {
            self.run("PRAGMA foreign_keys = OFF").await;
        }
        let cascade = match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => "CASCADE",
        };
        for name in names {
            self.run(&format!("DROP TABLE \"{name}\" {cascade}")).await;
        }
    }

    /// What is remembered of requests that were carried out.
    pub(super) async fn remembered_answers(&self) -> Vec<String> {
        let answers = "SELECT answer FROM idempotency ORDER BY created_at";
        match self {
            Self::Sqlite(database) => database
                .prepare(answers)
                .expect("a statement")
                .query_map([], |row| row.get(0))
                .expect("answers")
                .collect::<Result<_, _>>()
                .expect("answers"),
            Self::Postgres(database) => {
                let rows = database.query(answers, &[]).await.expect("answers");
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// What another node does when it has counted so many tokens of today.
    pub(super) async fn spend_for_the_operator(&self, tokens: u64) {
        let (zeros, day) = match self {
            Self::Sqlite(_) => ("zeroblob(16)", "unixepoch() / 86400"),
            Self::Postgres(_) => (
                "'00000000-0000-0000-0000-000000000000'",
                "floor(extract(epoch FROM now()) / 86400)::bigint",
            ),
        };
        self.run(&format!(
            "INSERT INTO key_usage VALUES ({zeros}, {day}, {tokens})"
        ))
        .await;
    }

    /// Keeps everybody from writing, but not from reading, until [`Self::let_them_write`].
    pub(super) async fn keep_them_from_writing(&self) {
        let lock = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN; LOCK TABLE conversations, messages IN EXCLUSIVE MODE",
        };
        self.run(lock).await;
    }

    pub(super) async fn let_them_write(&self) {
        self.run("ROLLBACK").await;
    }
}
