//! What only SQLite has: a file that can be old, foreign, damaged or in use.

use std::{
    fs,
    path::{Path, PathBuf},
};

use engagement::{
    model::{
        ConversationId, MessageFilter, MessageId, MessagePage, MessageQuery, Needle, PageNumber, PageSize,
        Role, RoleFilter,
    },
    store::{
        ConversationStore, PageAnswer, ReplyStore,
        sqlite::{self, OpenError, Options, SqliteStore},
    },
};
use rusqlite::Connection;

use super::{Database, at, texts};
use crate::support::{SOON, eventually};

const APPLICATION_ID: i32 = 0x456e_676d;

const MIGRATIONS: [(&str, &str); 6] = [
    (
        "0001_conversations_and_messages",
        include_str!("../../../migrations/sqlite/0001_conversations_and_messages.sql"),
    ),
    (
        "0002_role_and_title",
        include_str!("../../../migrations/sqlite/0002_role_and_title.sql"),
    ),
    (
        "0003_order_counts_and_search",
        include_str!("../../../migrations/sqlite/0003_order_counts_and_search.sql"),
    ),
    (
        "0004_replies",
        include_str!("../../../migrations/sqlite/0004_replies.sql"),
    ),
    (
        "0005_purges",
        include_str!("../../../migrations/sqlite/0005_purges.sql"),
    ),
    (
        "0006_copies",
        include_str!("../../../migrations/sqlite/0006_copies.sql"),
    ),
];

/// A database as the program of that migration left it, filled by that program.
fn database_of(version: usize) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.db");
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    db.execute_batch(
        "CREATE TABLE schema_migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL,
                                         applied_at INTEGER NOT NULL, needs INTEGER NOT NULL) STRICT",
    )
    .unwrap();
    for (number, (name, sql)) in (1_u32..).zip(MIGRATIONS).take(version) {
        db.execute_batch(sql).unwrap();
        let history =
            "INSERT INTO schema_migrations (version, name, applied_at, needs) VALUES (?1, ?2, 0, ?1)";
        db.execute(history, (number, name)).unwrap();
    }
    let conversation = [1_u8; 16];
    db.execute(
        "INSERT INTO conversations (id, description, created_at, updated_at) VALUES (?, 'old', 1000, 3000)",
        [conversation],
    )
    .unwrap();
    // The second and third have one date: only the order of their rows tells which came first.
    for (id, text, created) in [
        (4_u8, "STRASSE first", 1_000),
        (3, "second", 2_000),
        (2, "Third", 2_000),
    ] {
        let insert = match version {
            1 | 2 => {
                "INSERT INTO messages (id, conversation_id, text, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)"
            }
            _ => {
                "INSERT INTO messages (id, conversation_id, text, created_at, updated_at, role, folded, seq)
                 VALUES (?1, ?2, ?3, ?4, ?4, 'user', lower(?3),
                         (SELECT count(*) + 1 FROM messages WHERE conversation_id = ?2))"
            }
        };
        db.execute(insert, ([id; 16], conversation, text, created))
            .unwrap();
    }
    if version >= 2 {
        db.execute("UPDATE conversations SET title = 'A title'", ())
            .unwrap();
        db.execute("UPDATE messages SET role = 'assistant' WHERE text = 'second'", ())
            .unwrap();
    }
    if version >= 3 {
        db.execute(
            "UPDATE conversations SET last_seq = 3, user_count = 2, assistant_count = 1",
            (),
        )
        .unwrap();
    }
    (directory, path)
}

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(&Options::new(path))
}

async fn list(store: &SqliteStore, filter: MessageFilter) -> MessagePage {
    let query = MessageQuery {
        conversation: ConversationId::from([1; 16]),
        filter,
        number: PageNumber::Last,
        size: PageSize::default(),
    };
    match store.messages(query).await.unwrap() {
        PageAnswer::Page(page) => page,
        other => panic!("no page: {other:?}"),
    }
}

#[tokio::test]
async fn every_earlier_schema_is_upgraded_in_place_with_nothing_lost() {
    for version in 1..=MIGRATIONS.len() {
        let (_directory, path) = database_of(version);

        let store = open(&path).unwrap();

        let conversation = store
            .conversation(ConversationId::from([1; 16]))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(conversation.description.as_str(), "old", "version {version}");
        assert_eq!(
            conversation.title.map(|title| title.as_str().to_owned()),
            (version >= 2).then(|| "A title".into())
        );
        assert_eq!(
            (conversation.created.as_micros(), conversation.updated.as_micros()),
            (1_000, 3_000)
        );
        let all = list(&store, MessageFilter::default()).await;
        assert_eq!(
            texts(&all.messages),
            ["STRASSE first", "second", "Third"],
            "version {version}"
        );
        assert_eq!(all.messages[0].id, MessageId::from([4; 16]));
        let assistants = all
            .messages
            .iter()
            .filter(|message| message.role.as_str() == "assistant")
            .count();
        assert_eq!(
            assistants,
            usize::from(version >= 2),
            "before there were roles, everybody was a user"
        );
        let found = list(
            &store,
            MessageFilter {
                role: RoleFilter::Any,
                needle: Needle::new("straße"),
            },
        )
        .await;
        assert_eq!(texts(&found.messages), ["STRASSE first"], "version {version}");
        assert_eq!(
            store.until_due(Vec::new(), at(0)).await.unwrap(),
            None,
            "old messages are not replied to"
        );
        drop(store);
        assert_eq!(
            sqlite::check_integrity(&path).unwrap(),
            Vec::<String>::new(),
            "version {version}"
        );
        assert!(
            sqlite::status(&path)
                .unwrap()
                .iter()
                .all(|state| state.applied.is_some())
        );
    }
}

#[test]
fn a_migration_that_fails_changes_nothing_and_can_be_tried_again() {
    let (_directory, path) = database_of(3);
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE replies (in_the_way INTEGER)")
        .unwrap();

    assert!(matches!(
        open(&path).err(),
        Some(OpenError::Migration { version: 4, .. })
    ));

    let columns: i64 = db
        .query_row(
            "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'reply_to'",
            (),
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(columns, 0, "what the migration had begun is undone");
    db.execute_batch("DROP TABLE replies").unwrap();
    drop(db);
    open(&path).unwrap();
}

#[test]
fn a_second_server_is_refused_until_the_first_is_gone() {
    let (_directory, path) = database_of(MIGRATIONS.len());
    let first = open(&path).unwrap();

    assert!(matches!(open(&path).err(), Some(OpenError::InUse(_))));
    assert!(sqlite::status(&path).is_ok(), "tools work beside a server");

    drop(first);
    open(&path).unwrap();
}

#[test]
fn a_link_to_the_file_is_the_same_file() {
    let (directory, path) = database_of(MIGRATIONS.len());
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let _first = open(&path).unwrap();

    assert!(matches!(open(&link).err(), Some(OpenError::InUse(_))));
}

#[test]
fn a_schema_that_needs_a_newer_program_is_refused() {
    let (_directory, path) = database_of(MIGRATIONS.len());
    let db = Connection::open(&path).unwrap();
    let insert = "INSERT INTO schema_migrations (version, name, applied_at, needs) VALUES (?, 'later', 0, ?)";

    db.execute(insert, (98, 4)).unwrap();
    open(&path).expect("a newer schema that this program can work with");
    db.execute(insert, (99, 99)).unwrap();

    let error = open(&path).err().unwrap();
    assert!(matches!(error, OpenError::TooNew { needs: 99 }));
    assert!(error.hint().contains("newer version"));
}

#[test]
fn what_is_no_database_of_ours_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.db");
    fs::write(
        &text,
        "this is no database, however long it goes on about being one",
    )
    .unwrap();
    let foreign = directory.path().join("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();

    assert!(matches!(open(&text).err(), Some(OpenError::NoDatabase(_))));
    assert!(matches!(open(&foreign).err(), Some(OpenError::Foreign(_))));
    assert!(matches!(
        open(&directory.path().join("missing/new.db")).err(),
        Some(OpenError::Io(..))
    ));
    assert!(matches!(
        open(directory.path()).err(),
        Some(OpenError::Io(..) | OpenError::Sqlite(_))
    ));
    assert!(matches!(
        sqlite::status(&directory.path().join("new.db")).err(),
        Some(OpenError::Missing(_))
    ));

    assert!(
        fs::read_to_string(&text)
            .unwrap()
            .starts_with("this is no database")
    );
}

#[test]
fn a_new_database_can_be_read_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.db");
    let _store = open(&path).unwrap();

    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.file_name()
        );
    }
}

#[test]
fn damage_is_found() {
    let (_directory, path) = database_of(MIGRATIONS.len());
    drop(open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    // The second page, from its header on.
    bytes[4_096..4_296].fill(0xa5);
    fs::write(&path, bytes).unwrap();

    assert!(!matches!(sqlite::check_integrity(&path), Ok(problems) if problems.is_empty()));
}

/// How many rows of these tables are left.
fn rows(path: &Path) -> i64 {
    let db = Connection::open(path).unwrap();
    let count = "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM replies) + (SELECT count(*) FROM purges)";
    db.query_row(count, (), |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn what_a_deleted_conversation_leaves_is_removed_by_and_by() {
    let db = Database::sqlite();
    let conversation = db.conversation().await.id;
    for _ in 0..1_000 {
        db.append(conversation, Role::User, "gone", 2_000).await;
    }

    assert!(db.store.delete_conversation(conversation).await.unwrap());

    eventually("nothing is left", SOON, async || {
        (rows(&db.path()) == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_restart_goes_on_removing() {
    let (_directory, path) = database_of(MIGRATIONS.len());
    let db = Connection::open(&path).unwrap();
    db.execute(
        "INSERT INTO purges (conversation_id) SELECT id FROM conversations",
        (),
    )
    .unwrap();
    db.execute("DELETE FROM conversations", ()).unwrap();
    assert_eq!(rows(&path), 4);

    let store = open(&path).unwrap();

    eventually("nothing is left", SOON, async || (rows(&path) == 0).then_some(())).await;
    drop(store);
}
