//! Where backups and exports are not written, and how their files come about.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;

use tempfile::TempDir;

use super::{ran, run};
use crate::copy::{UNAVAILABLE, assert_refused, home};
use crate::support::Server;

const WRITERS: [&str; 2] = ["backup", "export"];

fn bytes(home: &Arc<TempDir>, name: &str) -> Vec<u8> {
    fs::read(home.path().join(name)).expect("a file")
}

#[tokio::test]
async fn no_file_of_the_database_is_written_over_while_a_server_uses_it() {
    let home = home();
    let server = Server::builder_over(&home).start().await;
    let conversation = server.client().conversation("precious").await;
    symlink("engagement.db-wal", home.path().join("linked")).expect("a link");
    for name in [
        "engagement.db",
        "engagement.db-wal",
        "engagement.db-shm",
        "engagement.db-journal",
        "engagement.db.lock",
        "engagement.db.restoring",
        "./engagement.db",
        "linked",
    ] {
        for command in WRITERS {
            let refused = run(&home, &[command, name, "--replace"]).await;
            assert_refused(&refused, 2, &["is the database itself, or a part of it"]);
            // Nobody is led there by a hint, either.
            let refused = run(&home, &[command, name]).await;
            assert_refused(&refused, 2, &["is the database itself, or a part of it"]);
            assert!(!refused.stderr.contains("--replace"), "{refused:?}");
        }
    }
    assert!(!home.path().join("engagement.db-journal").exists());
    // The controls: what is beside it without belonging to it is written, and nothing of the database was lost.
    ran(&home, &["backup", "engagement.db.saved"]).await;
    ran(&home, &["export", "engagement.db.jsonl"]).await;
    server.kill();
    let server = Server::builder_over(&home).start().await;
    let path = format!("/conversations/{conversation}/messages");
    server.client().get(&path).await.expect(200);
    let second = run(&home, &["serve"]).await;
    assert_refused(&second, UNAVAILABLE, &["another server is using the database"]);
}

/// What a file is called until it is whole could be the database's name.
#[tokio::test]
async fn the_file_before_it_has_its_name_is_not_the_database_either() {
    let home = home();
    let url = "sqlite:data.part";
    ran(&home, &["migrate", "apply", "--database-url", url]).await;
    let before = bytes(&home, "data.part");
    for command in WRITERS {
        let refused = run(&home, &[command, "data", "--database-url", url]).await;
        assert_refused(&refused, 2, &["is the database itself, or a part of it"]);
        assert_eq!(bytes(&home, "data.part"), before);
    }
}

#[tokio::test]
async fn a_backup_that_a_restore_would_write_over_is_not_restored() {
    let home = home();
    ran(&home, &["migrate", "apply"]).await;
    ran(&home, &["backup", "saved"]).await;
    fs::rename(
        home.path().join("saved"),
        home.path().join("engagement.db.restoring"),
    )
    .expect("a file");
    let before = bytes(&home, "engagement.db.restoring");
    let refused = run(&home, &["restore", "engagement.db.restoring", "--replace"]).await;
    assert_refused(&refused, 2, &["is the database itself, or a part of it"]);
    assert_eq!(bytes(&home, "engagement.db.restoring"), before);
}

#[tokio::test]
async fn what_a_killed_run_left_open_to_others_becomes_private() {
    let home = home();
    ran(&home, &["migrate", "apply"]).await;
    for command in WRITERS {
        let (name, part) = (format!("{command}.out"), format!("{command}.out.part"));
        fs::write(home.path().join(&part), "left").expect("a file");
        fs::set_permissions(home.path().join(&part), Permissions::from_mode(0o644)).expect("a mode");
        ran(&home, &[command, &name]).await;
        let mode = home
            .path()
            .join(&name)
            .metadata()
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{command}");
        assert!(!home.path().join(&part).exists(), "{command}");
    }
}

#[tokio::test]
async fn two_do_not_write_the_same_file() {
    let home = home();
    ran(&home, &["migrate", "apply"]).await;
    for command in WRITERS {
        let (name, part) = (format!("{command}.out"), format!("{command}.out.part"));
        let other = File::create(home.path().join(&part)).expect("a file");
        other.lock().expect("a lock");
        fs::write(home.path().join(&part), "the other's").expect("a file");
        let refused = run(&home, &[command, &name]).await;
        assert_refused(&refused, UNAVAILABLE, &["somebody else is writing"]);
        assert_eq!(bytes(&home, &part), b"the other's", "{command}");
    }
}
