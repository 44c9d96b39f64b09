//! A cluster does not outlive its owner, however that ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};

use crate::support::postgres::{Durability, Watchdog, private};
use crate::support::{SOON, eventually};

#[tokio::test]
async fn a_cluster_that_is_dropped_is_gone() {
    for freeze in [false, true] {
        let Some(cluster) = private(Durability::Fast).await else {
            return;
        };
        let (folder, pid) = (cluster.folder().to_owned(), cluster.pid().unwrap());
        if freeze {
            cluster.pause();
        }
        drop(cluster);
        assert!(!folder.exists());
        test_kill_process(pid).unwrap_err();
    }
}

/// Not a test: what [`nothing_is_left_when_the_owner_ends`] runs in a process that it can kill.
#[tokio::test]
#[ignore = "waits for its end: another test runs it"]
async fn an_owner_of_a_cluster() {
    let cluster = private(Durability::Fast).await.expect("a cluster to own");
    let pid = cluster.pid().unwrap().as_raw_nonzero();
    if std::env::var_os("ENGAGEMENT_TEST_FREEZE").is_some() {
        cluster.pause();
    }
    println!("\nowns {pid} {}", cluster.folder().display());
    // Until who asked for it has seen enough.
    let _ = std::io::stdin().read(&mut [0]);
}

struct Owner {
    process: Child,
    postmaster: Pid,
    folder: PathBuf,
}

impl Owner {
    fn start(freeze: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "postgres::clean_up::an_owner_of_a_cluster",
                "--ignored",
                "--nocapture",
            ])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if freeze {
            command.env("ENGAGEMENT_TEST_FREEZE", "1");
        }
        let mut process = command.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let owns = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("owns ").map(str::to_owned))
            .expect("an owner of a cluster");
        let (pid, folder) = owns.split_once(' ').unwrap();
        Self {
            process,
            postmaster: Pid::from_raw(pid.parse().unwrap()).unwrap(),
            folder: folder.into(),
        }
    }
}

#[tokio::test]
async fn nothing_is_left_when_the_owner_ends() {
    if private(Durability::Fast).await.is_none() {
        return;
    }
    for (end, freeze) in [(Signal::KILL, false), (Signal::KILL, true), (Signal::INT, false)] {
        let mut owner = Owner::start(freeze);
        assert!(owner.folder.join("data/postmaster.pid").exists());
        // A ctrl-c at the terminal goes to the group.
        kill_process_group(Pid::from_child(&owner.process), end).unwrap();
        // This closes its stdin too, for an owner that was born deaf to SIGINT.
        owner.process.wait().unwrap();
        eventually("the cluster is gone", 3 * SOON, async || {
            (!owner.folder.exists() && !runs(owner.postmaster)).then_some(())
        })
        .await;
    }
}

/// Whether there is such a process and it has not ended: nobody may be there to wait for an orphan.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    test_kill_process(pid).is_ok() && !stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn the_watchdog_ends_who_works_in_the_folder_and_nobody_else() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap().keep(), tempfile::tempdir().unwrap());
    for (file, is_ours) in [
        (elsewhere.path().join("file"), false),
        (folder.join("file"), true),
    ] {
        fs::create_dir_all(folder.join("data")).unwrap();
        fs::write(&file, "").unwrap();
        let mut process = Command::new("tail").arg("-f").arg(file).spawn().unwrap();
        let pid = process.id();
        fs::write(folder.join("data/postmaster.pid"), format!("{pid}\n")).unwrap();

        drop(Watchdog::over(&folder));
        assert!(!folder.exists());
        if is_ours {
            let ended = async || process.try_wait().unwrap();
            let status = eventually("who works in the folder ends", SOON, ended).await;
            // SIGQUIT, or SIGKILL later: what a shell runs in the background is born deaf to the first.
            assert!(status.signal().is_some(), "{status}");
        } else {
            assert_eq!(process.try_wait().unwrap(), None, "somebody else was ended");
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}
