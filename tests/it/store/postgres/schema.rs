//! Both databases have one schema, whichever version they come from.

use std::collections::BTreeSet;

use engagement::{
    model::{
        Conversation, ConversationId, Happening, MessageFilter, MessageId, MessagePage, Needle, PageNumber,
        RoleFilter,
    },
    store::{
        ConversationStore, PageAnswer, ReplyStore,
        postgres::{self, OpenError, Options, PostgresStore},
    },
};
use rusqlite::Connection;
use tokio_postgres::Client;

use super::Node;
use crate::{
    store::{Database, at, texts},
    support::{self, postgres::TestDatabase},
};

const MIGRATIONS: [(&str, &str); 9] = [
    (
        "0001_conversations_and_messages",
        include_str!("../../../../migrations/postgres/0001_conversations_and_messages.sql"),
    ),
    (
        "0002_role_and_title",
        include_str!("../../../../migrations/postgres/0002_role_and_title.sql"),
    ),
    (
        "0003_order_counts_and_search",
        include_str!("../../../../migrations/postgres/0003_order_counts_and_search.sql"),
    ),
    (
        "0004_replies",
        include_str!("../../../../migrations/postgres/0004_replies.sql"),
    ),
    (
        "0005_purges",
        include_str!("../../../../migrations/postgres/0005_purges.sql"),
    ),
    (
        "0006_copies",
        include_str!("../../../../migrations/postgres/0006_copies.sql"),
    ),
    (
        "0007_events",
        include_str!("../../../../migrations/postgres/0007_events.sql"),
    ),
    (
        "0008_keys",
        include_str!("../../../../migrations/postgres/0008_keys.sql"),
    ),
    (
        "0009_traces",
        include_str!("../../../../migrations/postgres/0009_traces.sql"),
    ),
];

const OLD: [u8; 16] = [1; 16];

/// Differences that are meant: the line, where it is, and why.
const KNOWN: [(&str, &str, &str); 5] = [
    ("idempotency.number number or null", "SQLite", NUMBERED),
    ("idempotency key number", "SQLite", NUMBERED),
    ("idempotency unique id", "SQLite", NUMBERED),
    ("idempotency key id", "PostgreSQL", NUMBERED),
    (
        "idempotency idempotency_created_at index created_at",
        "PostgreSQL",
        NUMBERED,
    ),
];

const NUMBERED: &str =
    "SQLite keeps requests in the order of their dates, and so finds the old ones without an index";

/// Every column, key and index, one a line, in words that fit both databases.
fn shape_of_sqlite(db: &Connection) -> BTreeSet<String> {
    let columns =
        "SELECT m.name || '.' || c.name || CASE c.type WHEN 'INTEGER' THEN ' number' WHEN 'TEXT' THEN ' text'
                          WHEN 'BLOB' THEN ' id' ELSE ' ' || c.type END || iif(c.\"notnull\", '', ' or null')
                          || coalesce(' default ' || c.dflt_value, '')
                   FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'";
    let keys = "SELECT m.name || ' key ' || (SELECT group_concat(name) FROM (SELECT name FROM pragma_table_info(m.name)
                       WHERE pk > 0 ORDER BY pk)) FROM sqlite_master AS m WHERE m.type = 'table'";
    // Constraints that are unique have no name of their own there.
    let indexes = "SELECT m.name || iif(i.origin = 'u', '', ' ' || i.name) || iif(i.\"unique\", ' unique ', ' index ')
                          || (SELECT group_concat(name) FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno))
                          || iif(i.partial, ' partial', '')
                   FROM sqlite_master AS m, pragma_index_list(m.name) AS i WHERE m.type = 'table' AND i.origin <> 'pk'";
    [columns, keys, indexes]
        .iter()
        .flat_map(|sql| {
            let mut statement = db.prepare(sql).unwrap();
            let lines = statement.query_map((), |row| row.get::<_, String>(0)).unwrap();
            lines.map(Result::unwrap).collect::<Vec<_>>()
        })
        .collect()
}

async fn shape_of_postgres(db: &Client) -> BTreeSet<String> {
    let columns = "SELECT table_name || '.' || column_name || CASE data_type WHEN 'bigint' THEN ' number'
                          WHEN 'text' THEN ' text' WHEN 'uuid' THEN ' id' ELSE ' ' || data_type END
                          || CASE is_nullable WHEN 'YES' THEN ' or null' ELSE '' END
                          || coalesce(' default ' || replace(column_default, '::text', ''), '')
                   FROM information_schema.columns WHERE table_schema = 'public'";
    let keys_and_indexes = "SELECT t.relname
                   || CASE WHEN i.indisprimary OR con.oid IS NOT NULL THEN '' ELSE ' ' || x.relname END
                   || CASE WHEN i.indisprimary THEN ' key ' WHEN i.indisunique THEN ' unique ' ELSE ' index ' END
                   || (SELECT string_agg(a.attname, ',' ORDER BY place.at)
                       FROM unnest(i.indkey) WITH ORDINALITY AS place (number, at)
                            JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = place.number)
                   || CASE WHEN i.indpred IS NULL THEN '' ELSE ' partial' END
            FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid
                 LEFT JOIN pg_constraint AS con ON con.conindid = x.oid AND con.contype = 'u'
            WHERE t.relnamespace = 'public'::regnamespace";
    let mut shape = BTreeSet::new();
    for sql in [columns, keys_and_indexes] {
        shape.extend(
            db.query(sql, &[])
                .await
                .unwrap()
                .iter()
                .map(|row| row.get::<_, String>(0)),
        );
    }
    shape
}

#[tokio::test]
async fn both_databases_have_one_schema() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let (sqlite, postgres) = (Database::sqlite(), cluster.database().await);
    let migrated = postgres::migrate(&Options::new(postgres.url())).await.unwrap();
    let file = Connection::open(sqlite.path()).unwrap();
    let there = shape_of_sqlite(&file);
    let here = shape_of_postgres(&postgres.client().await).await;

    let names: Vec<_> = migrated.iter().map(|state| state.name.as_str()).collect();
    let mut history = file
        .prepare("SELECT name FROM schema_migrations ORDER BY version")
        .unwrap();
    let history: Vec<String> = history
        .query_map((), |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(names, history);
    let differences: BTreeSet<_> = there
        .difference(&here)
        .map(|line| (line.as_str(), "SQLite"))
        .chain(here.difference(&there).map(|line| (line.as_str(), "PostgreSQL")))
        .collect();
    let known: BTreeSet<_> = KNOWN.iter().map(|(line, place, _)| (*line, *place)).collect();
    assert_eq!(differences, known);
    assert!(here.len() > 40, "columns, keys and indexes are seen: {here:?}");
}

#[tokio::test]
async fn control_a_column_that_only_one_database_has_is_seen() {
    let Some(database) = migrated().await else { return };
    let client = database.client().await;
    let before = shape_of_postgres(&client).await;
    for change in [
        "ALTER TABLE messages ADD COLUMN mood text",
        "ALTER TABLE messages ALTER COLUMN role DROP NOT NULL",
        "ALTER TABLE replies ALTER COLUMN attempts TYPE int",
        "ALTER TABLE replies ALTER COLUMN status DROP DEFAULT",
        "DROP INDEX replies_due",
        "CREATE INDEX another ON messages (role)",
    ] {
        client.batch_execute("BEGIN").await.unwrap();
        client.batch_execute(change).await.unwrap();
        assert_ne!(shape_of_postgres(&client).await, before, "{change}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

async fn migrated() -> Option<TestDatabase> {
    let database = support::postgres::shared().await?.database().await;
    postgres::migrate(&Options::new(database.url())).await.unwrap();
    Some(database)
}

/// Makes a database as the program of that migration left it, filled by that program.
async fn make_old(database: &TestDatabase, version: usize) {
    let db = database.client().await;
    db.batch_execute(
        "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, name text NOT NULL,
                                         applied_at bigint NOT NULL, needs bigint NOT NULL)",
    )
    .await
    .unwrap();
    for (number, (name, sql)) in (1_i64..).zip(MIGRATIONS).take(version) {
        db.batch_execute(sql).await.unwrap();
        let history =
            "INSERT INTO schema_migrations (version, name, applied_at, needs) VALUES ($1, $2, 0, $1)";
        db.execute(history, &[&number, &name]).await.unwrap();
    }
    let conversation = uuid::Uuid::from_bytes(OLD);
    db.execute(
        "INSERT INTO conversations (id, description, created_at, updated_at) VALUES ($1, 'old', 1000, 3000)",
        &[&conversation],
    )
    .await
    .unwrap();
    // The second and third have one date. Rows have no number here, so their ids decide.
    for (id, text, created) in [
        (4_u8, "STRASSE first", 1_000_i64),
        (2, "second", 2_000),
        (3, "Third", 2_000),
    ] {
        let insert = match version {
            1 | 2 => {
                "INSERT INTO messages (id, conversation_id, text, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)"
            }
            _ => {
                "INSERT INTO messages (id, conversation_id, text, created_at, updated_at, role, folded, seq)
                 VALUES ($1, $2, $3, $4, $4, 'user', lower($3),
                         (SELECT count(*) + 1 FROM messages WHERE conversation_id = $2))"
            }
        };
        db.execute(
            insert,
            &[&uuid::Uuid::from_bytes([id; 16]), &conversation, &text, &created],
        )
        .await
        .unwrap();
    }
    if version >= 2 {
        db.batch_execute(
            "UPDATE conversations SET title = 'A title';
             UPDATE messages SET role = 'assistant' WHERE text = 'second'",
        )
        .await
        .unwrap();
    }
    if version >= 3 {
        db.batch_execute("UPDATE conversations SET last_seq = 3, user_count = 2, assistant_count = 1")
            .await
            .unwrap();
    }
}

async fn list(node: &Node, filter: MessageFilter) -> MessagePage {
    match node
        .page(ConversationId::from(OLD), filter, PageNumber::Last)
        .await
    {
        Ok(PageAnswer::Page(page)) => page,
        other => panic!("no page: {other:?}"),
    }
}

#[tokio::test]
async fn every_earlier_schema_is_upgraded_with_nothing_lost() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    for version in 1..=MIGRATIONS.len() {
        let database = cluster.database().await;
        make_old(&database, version).await;

        let node = Node::open(database.url()).await;

        let Conversation {
            title,
            description,
            created,
            updated,
            ..
        } = node
            .store
            .conversation(ConversationId::from(OLD))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(description.as_str(), "old", "version {version}");
        assert_eq!(
            title.map(|title| title.as_str().to_owned()),
            (version >= 2).then(|| "A title".into())
        );
        assert_eq!((created.as_micros(), updated.as_micros()), (1_000, 3_000));
        let all = list(&node, MessageFilter::default()).await;
        assert_eq!(
            texts(&all.messages),
            ["STRASSE first", "second", "Third"],
            "version {version}"
        );
        assert_eq!((all.count, all.messages[0].id), (3, MessageId::from([4; 16])));
        let roles: Vec<_> = all.messages.iter().map(|message| message.role.as_str()).collect();
        let second = if version >= 2 { "assistant" } else { "user" };
        assert_eq!(
            roles,
            ["user", second, "user"],
            "before there were roles, everybody was a user"
        );
        let filter = MessageFilter {
            role: RoleFilter::Any,
            needle: Needle::new("straße"),
        };
        assert_eq!(
            texts(&list(&node, filter).await.messages),
            ["STRASSE first"],
            "version {version}"
        );
        let due = node.store.until_due(Vec::new(), at(0)).await.unwrap();
        assert_eq!(due, None, "old messages are not replied to");
        let events = node.events(ConversationId::from(OLD), 0).await;
        let said = events.iter().filter_map(|event| match &event.what {
            Happening::MessageCreated { message, .. } => Some(message.text.as_str()),
            _ => None,
        });
        assert_eq!(
            said.collect::<Vec<_>>(),
            ["STRASSE first", "second", "Third"],
            "what was said can be watched, version {version}"
        );

        let client = database.client().await;
        let sql = "SELECT array_agg(seq ORDER BY messages.created_at, messages.id) = '{1,2,3}' AND min(last_seq) = 3
                          AND min(user_count) = 2 + ($1::bigint < 2)::int AND min(assistant_count) = ($1 >= 2)::int
                   FROM messages JOIN conversations ON conversations.id = conversation_id";
        let version_number = i64::try_from(version).unwrap();
        let row = client.query_one(sql, &[&version_number]).await.unwrap();
        assert!(row.get::<_, bool>(0), "sequence and counts of version {version}");
        let problems = postgres::check_integrity(&Options::new(database.url()))
            .await
            .unwrap();
        assert_eq!(problems, Vec::<String>::new(), "version {version}");
        let status = postgres::status(&Options::new(database.url())).await.unwrap();
        assert!(status.iter().all(|state| state.applied.is_some()));
        assert_eq!(status.len(), MIGRATIONS.len());
    }
}

#[tokio::test]
async fn a_migration_that_fails_changes_nothing_and_can_be_tried_again() {
    let Some(cluster) = support::postgres::shared().await else {
        return;
    };
    let database = cluster.database().await;
    make_old(&database, 3).await;
    let client = database.client().await;
    client
        .batch_execute("CREATE TABLE replies (in_the_way int)")
        .await
        .unwrap();
    let options = Options::new(database.url());

    let failed = PostgresStore::open(&options).await.err();

    assert!(
        matches!(failed, Some(OpenError::Migration { version: 4, .. })),
        "{failed:?}"
    );
    let shape = shape_of_postgres(&client).await;
    assert!(
        !shape.iter().any(|line| line.starts_with("messages.reply_to")),
        "it is undone: {shape:?}"
    );
    client.batch_execute("DROP TABLE replies").await.unwrap();
    postgres::migrate(&options).await.unwrap();
}

#[tokio::test]
async fn a_schema_that_needs_a_newer_program_is_refused() {
    let Some(database) = migrated().await else { return };
    let (client, options) = (database.client().await, Options::new(database.url()));
    let insert =
        "INSERT INTO schema_migrations (version, name, applied_at, needs) VALUES ($1, 'later', 0, $2)";

    client.execute(insert, &[&98_i64, &4_i64]).await.unwrap();
    PostgresStore::open(&options)
        .await
        .expect("a newer schema that this program can work with");
    client.execute(insert, &[&99_i64, &99_i64]).await.unwrap();

    let error = PostgresStore::open(&options).await.err().unwrap();
    assert!(matches!(error, OpenError::TooNew { needs: 99 }), "{error}");
    assert!(error.hint().contains("newer version"));
}
