//! `engagement copy`: everything from one database in another, and nothing else in either.

mod refusals;
mod round_trip;
mod serving;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{OpenFlags, types::ValueRef};
use tempfile::TempDir;

use crate::support::postgres::{self, TestDatabase};
use crate::support::{Builder, Run, Server};

pub(crate) const UNAVAILABLE: i32 = 69;

/// A database on either engine, seen from beside.
pub(crate) enum Place {
    File(PathBuf),
    Server(TestDatabase),
}

/// Every row of every table, each as its columns without those that a database has for itself, in no order of the
/// database's.
pub(crate) type Dump = BTreeMap<&'static str, Vec<BTreeMap<String, String>>>;

pub(crate) const TABLES: [&str; 11] = [
    "conversations",
    "conversation_options",
    "messages",
    "replies",
    "reply_attempts",
    "events",
    "purges",
    "api_keys",
    "key_audit",
    "key_usage",
    "idempotency",
];

pub(crate) fn home() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a temporary directory"))
}

/// The program with these arguments, in this directory.
pub(crate) fn engagement(home: &Arc<TempDir>, arguments: &[&str]) -> Builder {
    arguments
        .iter()
        .fold(Server::builder_over(home), |builder, argument| {
            builder.arg(argument)
        })
}

pub(crate) fn copying(home: &Arc<TempDir>, from: &Place, to: &Place) -> Builder {
    engagement(home, &["copy", "--from", &from.url(), "--to", &to.url()])
}

pub(crate) async fn copy(home: &Arc<TempDir>, from: &Place, to: &Place) -> Run {
    copying(home, from, to).run().await
}

/// A copy that has to succeed. Gives what it says on stdout.
pub(crate) async fn copied(home: &Arc<TempDir>, from: &Place, to: &Place) -> String {
    let run = copy(home, from, to).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    run.stdout
}

/// Asserts that a command was refused with this code, saying all of this, with a hint and nothing on stdout.
#[track_caller]
pub(crate) fn assert_refused(run: &Run, code: i32, says: &[&str]) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{run:?}");
    for part in says.iter().chain(&["error: ", "hint: "]) {
        assert!(run.stderr.contains(part), "no {part:?} in {run:?}");
    }
    assert!(!run.stderr.contains("panicked"), "{run:?}");
}

impl Place {
    pub(crate) fn file(home: &Arc<TempDir>, name: &str) -> Self {
        Self::File(home.path().join(name))
    }

    /// `None` where there is no server.
    pub(crate) async fn server() -> Option<Self> {
        Some(Self::Server(postgres::shared().await?.database().await))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::File(path) => format!("sqlite:{}", path.display()),
            Self::Server(database) => database.url().to_owned(),
        }
    }

    /// Changes it behind the program's back.
    pub(crate) async fn execute(&self, sql: &str) {
        match self {
            Self::File(path) => {
                let db = rusqlite::Connection::open(path).expect("the database");
                db.busy_timeout(crate::support::SOON).expect("patience");
                db.execute_batch(sql).expect("statements");
            }
            Self::Server(database) => database
                .client()
                .await
                .batch_execute(sql)
                .await
                .expect("statements"),
        }
    }

    /// How many messages there are; none where there is no table yet.
    pub(crate) async fn messages(&self) -> i64 {
        const COUNT: &str = "SELECT count(*) FROM messages";
        match self {
            Self::File(path) => rusqlite::Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
                .and_then(|db| db.query_row(COUNT, (), |row| row.get(0)))
                .unwrap_or(0),
            Self::Server(database) => {
                let row = database.client().await.query_one(COUNT, &[]).await;
                row.map_or(0, |row| row.get(0))
            }
        }
    }

    pub(crate) async fn dump(&self) -> Dump {
        let mut dump = Dump::new();
        for table in TABLES {
            let mut rows = match self {
                Self::File(path) => rows_of_file(path, table),
                Self::Server(database) => rows_of_server(database, table).await,
            };
            if table == "idempotency" {
                for row in &mut rows {
                    row.remove("number");
                }
            }
            rows.sort();
            dump.insert(table, rows);
        }
        dump
    }
}

fn rows_of_file(path: &PathBuf, table: &str) -> Vec<BTreeMap<String, String>> {
    let db = rusqlite::Connection::open(path).expect("the database");
    let mut select = db.prepare(&format!("SELECT * FROM {table}")).expect("a table");
    let names: Vec<String> = select.column_names().map(str::to_owned).collect();
    let mut found = select.query(()).expect("rows");
    let mut rows = Vec::new();
    while let Some(row) = found.next().expect("a row") {
        let value = |at| match row.get_ref(at).expect("a value") {
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
            ValueRef::Blob(bytes) => bytes.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("a string takes it");
                text
            }),
            ValueRef::Real(_) => panic!("no column holds such a number"),
        };
        rows.push(
            names
                .iter()
                .enumerate()
                .map(|(at, name)| (name.clone(), value(at)))
                .collect(),
        );
    }
    rows
}

async fn rows_of_server(database: &TestDatabase, table: &str) -> Vec<BTreeMap<String, String>> {
    let client = database.client().await;
    let columns = "SELECT column_name::text, data_type::text FROM information_schema.columns
                   WHERE table_name = $1 AND table_schema = 'public'";
    let columns = client.query(columns, &[&table]).await.expect("the columns");
    let columns: Vec<(String, String)> = columns.iter().map(|row| (row.get(0), row.get(1))).collect();
    let shown = columns.iter().map(|(name, kind)| match kind.as_str() {
        "uuid" => format!("coalesce(replace({name}::text, '-', ''), 'NULL')"),
        "text" => format!("coalesce('''' || {name} || '''', 'NULL')"),
        _ => format!("coalesce({name}::text, 'NULL')"),
    });
    let select = format!("SELECT {} FROM {table}", shown.collect::<Vec<_>>().join(", "));
    let found = client.query(&select, &[]).await.expect("rows");
    found
        .iter()
        .map(|row| {
            let names = columns.iter().enumerate();
            names.map(|(at, (name, _))| (name.clone(), row.get(at))).collect()
        })
        .collect()
}

/// A file with everything in it that a database can hold, in so many messages and some.
pub(crate) async fn source(home: &Arc<TempDir>, messages: usize) -> Place {
    let place = Place::file(home, "source.db");
    let migrated = engagement(home, &["migrate", "apply", "--database-url", &place.url()]);
    assert_eq!(migrated.run().await.code, Some(0));
    place.execute(&everything(messages)).await;
    place
}

/// Statements for a fresh SQLite database.
#[expect(clippy::too_many_lines, reason = "a row or two for each table")]
fn everything(messages: usize) -> String {
    const STATES: [&str; 6] = [
        "'queued', 100, 0, 0, 0, 0, NULL, NULL, NULL, 50, NULL, NULL",
        "'queued', 9000000000000000, 3, 1, 1, 3, NULL, NULL, NULL, 50, 60, NULL",
        "'running', 100, 2, 1, 0, 2, 70, NULL, NULL, 50, 60, NULL",
        "'succeeded', 100, 1, 0, 0, 1, NULL, NULL, NULL, 50, 60, 80",
        "'failed', 100, 10, 9, 0, 10, NULL, 'worker_lost', 'Gave up: „nobody“ left', 50, NULL, 80",
        "'cancelled', 100, 0, 0, 0, 0, NULL, NULL, NULL, 50, NULL, 80",
    ];
    let mut sql = "BEGIN;".to_owned();
    let mut say = |line: String| writeln!(sql, "{line};").expect("a string takes it");
    let id = |kind: u8, number: usize| format!("X'{kind:02x}{number:030x}'");

    // Without messages; with a title; with what has to be folded; with dates before 1970 and at the end of time.
    for (number, rest) in [
        "NULL, 'nothing was said', 1, 1, 0, 0, 0",
        "'', 'an empty title', -5, 9223372036854775807, 0, 0, 0",
        "'Ein ''Titel'' \"🦀\"', 'mit Rückstrich \\ und\nZeile', 5, 6, 7, 0, 0",
    ]
    .iter()
    .enumerate()
    {
        say(format!(
            "INSERT INTO conversations (id, title, description, created_at, updated_at, last_seq, user_count,
             assistant_count) VALUES ({}, {rest})",
            id(1, number)
        ));
    }
    // Every state of a reply, twice, in a conversation from which messages were deleted.
    let broken = id(2, 0);
    for (at, state) in STATES.iter().chain(&STATES).enumerate() {
        let (user, seq) = (id(3, at), 5 * at + 1);
        say(format!(
            "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text, folded)
             VALUES ({user}, {broken}, {seq}, 'user', 50, 50, 'GRÜSSE {at}', 'grüsse {at}')"
        ));
        say(format!(
            "INSERT INTO replies (message_id, conversation_id, status, run_after, attempts, lost_leases, retries,
             lease_token, lease_until, error_code, error_message, created_at, started_at, finished_at)
             VALUES ({user}, {broken}, {state})"
        ));
        // The id of an answer sorts before that of its question; that of the last lost its question.
        let answers = if at == 11 { "NULL" } else { &user };
        say(format!(
            "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text, reply_to)
             VALUES ({}, {broken}, {}, 'assistant', 80, 80, 'an answer', {answers})",
            id(2, 100 + at),
            seq + 2
        ));
    }
    say(format!(
        "INSERT INTO conversations (id, description, created_at, updated_at, last_seq, user_count, assistant_count)
         VALUES ({broken}, 'some were deleted', 50, 80, 99, 12, 12)"
    ));
    // One that takes turns and was asked for again, what it had come to, and what happened.
    let asked = id(3, 3);
    say(format!(
        "UPDATE replies SET lane = 'far', turn = 16, options = '{{\"top_p\":0.5}}', account = '{{\"provider\":\"far\"}}', tries = 1,
                            queued_event = 7, final_event = 12, streamed = 1
         WHERE message_id = {asked}"
    ));
    say(format!(
        "INSERT INTO reply_attempts VALUES ({asked}, 1, 'succeeded', {}, 'an „earlier“ answer', NULL, NULL, '{{}}', 5, 6),
                                           ({asked}, 2, 'failed', NULL, NULL, 'overloaded', 'Too much.', NULL, NULL, 7)",
        id(3, 99)
    ));
    say(format!(
        "INSERT INTO conversation_options VALUES ({}, '{{\"model\":\"far/one\"}}')",
        id(1, 1)
    ));
    for row in [
        "7, 'queued', 50, QUESTION, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL, NULL",
        "8, 'started', 51, QUESTION, NULL, NULL, 2, NULL, NULL, NULL, 0, NULL, NULL",
        "9, 'delta', 52, QUESTION, NULL, NULL, 0, NULL, 'ein Stück \n', NULL, 0, NULL, NULL",
        "12, 'succeeded', 53, QUESTION, QUESTION, QUESTION, 2, 11, NULL, 'length', 1, NULL, NULL",
        "17, 'failed', 54, QUESTION, NULL, NULL, 0, NULL, NULL, NULL, 0, 'code', 'A sentence.'",
    ] {
        let row = row.replace("QUESTION", &asked);
        say(format!("INSERT INTO events VALUES ({broken}, {row})"));
    }
    // Pieces as long as can be, more than a batch holds; of a deleted conversation.
    say(format!(
        "INSERT INTO events (conversation_id, number, kind, at, reply_id, text)
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 30)
         SELECT {}, n, 'delta', n, {asked}, replace(hex(zeroblob(50000)), '0', '🦀') FROM n",
        id(4, 0)
    ));
    // Deleted ones: one that still has messages, one that is just empty.
    say(format!(
        "INSERT INTO purges VALUES ({}), ({})",
        id(4, 0),
        id(4, 1)
    ));
    say(format!(
        "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
         VALUES ({}, {}, 3, 'assistant', 1, 1, 'said in a deleted conversation')",
        id(4, 7),
        id(4, 0)
    ));
    // Keys, one that took another's place, what happened around them, what they spent, whose a conversation is, and what
    // was carried out, the latest of it first.
    let (key, next) = (id(0, 1), id(0, 2));
    let digest = "0f".repeat(32);
    say(format!(
        "INSERT INTO api_keys VALUES
             ({key}, {key}, 'live', 'Web „App“', '{digest}', 'read delete', 1, 2, 3, 4, 5, 6, 7, 8, 1),
             ({next}, {key}, 'test', 'next', '{digest}', '', NULL, NULL, NULL, NULL, 5, NULL, NULL, NULL, 2)"
    ));
    say(format!(
        "INSERT INTO key_audit VALUES ({}, 9, 'key.created', {key}, 'cli', NULL, 1),
                                      ({}, 8, 'login.refused', NULL, 'anonymous', '192.0.2.1', 7)",
        id(7, 1),
        id(7, 2)
    ));
    say(format!(
        "INSERT INTO key_usage VALUES ({key}, 3, 5), ({key}, 4, 6), ({}, 4, 7)",
        id(0, 0)
    ));
    say(format!(
        "UPDATE conversations SET owner_id = {key} WHERE id = {}",
        id(1, 1)
    ));
    say(
        "UPDATE replies SET trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
         WHERE message_id = (SELECT min(message_id) FROM replies)"
            .to_owned(),
    );
    for (at, created) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
        say(format!(
            "INSERT INTO idempotency (id, fingerprint, created_at, answer) VALUES ({}, {}, {created}, '{{\"status\":201}}')",
            id(8, at),
            id(9, at)
        ));
    }
    // Texts as long as can be, more than a batch holds.
    let long = id(5, 0);
    say(format!(
        "INSERT INTO conversations (id, description, created_at, updated_at, last_seq, user_count, assistant_count)
         VALUES ({long}, 'much was said', 1, 1, 30, 0, 30)"
    ));
    say(format!(
        "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 30)
         SELECT unhex(printf('05%030x', n)), {long}, n, 'assistant', n, n, replace(hex(zeroblob(50000)), '0', '🦀')
         FROM n"
    ));
    // And one in which a lot was said.
    let many = id(6, 0);
    say(format!(
        "INSERT INTO conversations (id, description, created_at, updated_at, last_seq, user_count, assistant_count)
         VALUES ({many}, 'a lot was said', 1, 1, {messages}, 0, {messages})"
    ));
    say(format!(
        "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {messages})
         SELECT unhex(printf('06%030x', n * 7919 % 1000003)), {many}, n, 'assistant', n, n, 'number ' || n FROM n"
    ));
    sql.push_str("COMMIT");
    sql
}
