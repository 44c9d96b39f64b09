//! What is refused, and is left alone then.

use rustix::process::Signal;

use super::{Place, UNAVAILABLE, assert_refused, copied, copy, copying, engagement, home, source};
use crate::support::{SOON, Server, eventually};

/// What a copy of another database leaves when it is cut off.
const HALF: &str = "INSERT INTO copies (started_at, source) VALUES (1, 'sqlite:/srv/another.db')";

/// Where the target of a test is.
#[derive(Clone, Copy)]
enum On {
    AFile,
    AServer,
}

/// A source and a fresh target in a new directory; `None` where there is no server.
async fn pair(on: On) -> Option<(std::sync::Arc<tempfile::TempDir>, Place, Place)> {
    let home = home();
    let target = match on {
        On::AFile => Place::file(&home, "target.db"),
        On::AServer => Place::server().await?,
    };
    let source = source(&home, 10).await;
    Some((home, source, target))
}

async fn a_source_that_cannot_be_copied_is_refused(on: On) {
    for (change, says) in [
        (
            HALF,
            ["the source: the database is not whole", "engagement copy --from"],
        ),
        (
            "DELETE FROM schema_migrations WHERE version = 9",
            ["migrations pending: 1", "run `engagement migrate apply` on it"],
        ),
        (
            "INSERT INTO schema_migrations VALUES (10, '0010_of_a_newer_program', 1, 5)",
            ["made by a newer program", "newer version"],
        ),
    ] {
        let Some((home, file, source)) = pair(on).await else {
            return;
        };
        copied(&home, &file, &source).await;
        source.execute(change).await;
        let before = source.dump().await;

        let run = copy(&home, &source, &Place::file(&home, "other.db")).await;

        assert_refused(&run, UNAVAILABLE, &says);
        assert!(source.dump().await == before);
        assert!(!home.path().join("other.db").exists());
    }
}

async fn a_target_with_something_else_in_it_is_refused(on: On) {
    for (change, says) in [
        (
            "UPDATE copies SET source = 'sqlite:/srv/another.db'",
            ["the target is not empty", "new"],
        ),
        ("DELETE FROM copies", ["the target is not empty", "new"]),
        (
            "UPDATE copies SET source = 'sqlite:/srv/another.db', finished_at = NULL",
            [
                "unfinished copy of another database: sqlite:/srv/another.db",
                "another target",
            ],
        ),
    ] {
        let Some((home, source, target)) = pair(on).await else {
            return;
        };
        copied(&home, &source, &target).await;
        target.execute(change).await;
        let before = target.dump().await;

        assert_refused(&copy(&home, &source, &target).await, UNAVAILABLE, &says);

        assert!(target.dump().await == before);
    }
}

async fn nothing_starts_on_an_unfinished_copy(on: On) {
    let Some((home, _, target)) = pair(on).await else {
        return;
    };
    let url = target.url();
    let migrate = engagement(&home, &["migrate", "apply", "--database-url", &url]);
    assert_eq!(migrate.run().await.code, Some(0));
    target.execute(HALF).await;
    let mut commands = vec![vec!["serve"], vec!["check"]];
    if let On::AServer = on {
        commands.extend([vec!["serve", "--no-replies"], vec!["worker"]]);
    }

    for mut command in commands {
        command.extend(["--database-url", &url]);
        let run = engagement(&home, &command).run().await;
        assert_eq!(run.code, Some(UNAVAILABLE), "{run:?}");
        for says in [
            "a copy of sqlite:/srv/another.db into it is unfinished",
            "hint: finish it: engagement copy",
        ] {
            assert!(run.stderr.contains(says), "{run:?}");
        }
    }
}

async fn a_database_in_use_is_neither_copied_nor_filled(on: On) {
    let Some((home, source, target)) = pair(on).await else {
        return;
    };
    let other = Place::file(&home, "other.db");
    let server = Server::builder_over(&home)
        .env("DATABASE_URL", &target.url())
        .start()
        .await;
    let before = source.dump().await;

    for (from, to, side) in [
        (&source, &target, "the target: "),
        (&target, &other, "the source: "),
    ] {
        assert_refused(
            &copy(&home, from, to).await,
            UNAVAILABLE,
            &[side, "using", "hint: stop"],
        );
    }

    server.client().conversation("undisturbed").await;
    drop(server);
    assert!(source.dump().await == before);
    assert!(!home.path().join("other.db").exists());
    // It was the server's doing.
    copied(&home, &target, &other).await;
}

async fn nobody_else_gets_in_while_a_copy_is_made(on: On) {
    let Some((home, _, target)) = pair(on).await else {
        return;
    };
    let source = Place::file(&home, "source.db");
    source
        .execute(
            "INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text)
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
             SELECT unhex(printf('77%030x', n)), zeroblob(16), n, 'user', 1, 1, 'more' FROM n",
        )
        .await;
    let mut copy = copying(&home, &source, &target).launch();
    eventually("some is copied", SOON, async || {
        (target.messages().await > 0).then_some(())
    })
    .await;
    copy.freeze().await;

    for database in [&source, &target] {
        let serve = engagement(&home, &["--database-url", &database.url()])
            .run()
            .await;
        assert_refused(&serve, UNAVAILABLE, &["hint: "]);
    }
    let second = super::copy(&home, &source, &target).await;
    assert_refused(&second, UNAVAILABLE, &["using", "hint: stop"]);

    copy.signal(Signal::CONT);
    assert!(copy.wait_exit(3 * SOON).await.success());
    assert_eq!(target.messages().await, source.messages().await);
}

macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod into_a_file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::On::AFile).await;
            })+
        }

        mod into_a_server {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::On::AServer).await;
            })+
        }
    };
}

on_both! {
    a_source_that_cannot_be_copied_is_refused, a_target_with_something_else_in_it_is_refused,
    nothing_starts_on_an_unfinished_copy, a_database_in_use_is_neither_copied_nor_filled,
    nobody_else_gets_in_while_a_copy_is_made,
}

#[tokio::test]
async fn wrong_usage_is_refused_in_its_own_words_and_without_passwords() {
    let home = home();
    let file = source(&home, 1).await.url();
    std::os::unix::fs::symlink(home.path().join("source.db"), home.path().join("link.db")).expect("a link");
    for (from, to, code, says) in [
        (
            &*file,
            "sqlite:link.db",
            2,
            ["the source and the target are the same", "two different"],
        ),
        (
            "sqlite:none.db",
            "sqlite:new.db",
            UNAVAILABLE,
            ["the source: there is no database", "--from sqlite:PATH"],
        ),
        (
            "mysql://u:secret@h/d",
            "sqlite:new.db",
            78,
            ["from: must begin with", "--from sqlite:"],
        ),
        (&*file, "new.db", 78, ["to: must begin with", "--to sqlite:"]),
        (
            &*file,
            "postgres://u:secret@h:port/d",
            78,
            ["--to: ", "--to 'postgres:"],
        ),
        (
            "postgres://u:secret@127.0.0.1:1/d",
            "sqlite:new.db",
            UNAVAILABLE,
            ["the source: cannot reach database d at 127.0.0.1:1", "--from"],
        ),
        (
            &*file,
            "sqlite:no/such/folder.db",
            UNAVAILABLE,
            [
                "the target: cannot open the database no/such/folder.db",
                "--to sqlite:PATH",
            ],
        ),
    ] {
        let run = engagement(&home, &["copy", "--from", from, "--to", to])
            .run()
            .await;
        assert_refused(&run, code, &says);
        assert!(!run.stderr.contains("secret"), "{run:?}");
        assert!(!home.path().join("new.db").exists(), "{run:?}");
    }
    let run = engagement(&home, &["copy", "--from", &file]).run().await;
    assert_eq!(run.code, Some(2), "{run:?}");
}
