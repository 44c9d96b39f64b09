//! What is installed, and as whom it can run.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// What is looked for, in the words of who has to install it.
pub(super) const PROGRAMS: &str =
    "PostgreSQL's `initdb` and `postgres` (on Debian: apt-get install postgresql)";

/// `/.s.PGSQL.65535` included, a socket's path has at most 103 bytes (on macOS; 107 on Linux).
const LONGEST_FOLDER: usize = 103 - 15;
const FOLDER: &str = "engagement-pg-";

/// The programs of a PostgreSQL server.
#[derive(Clone)]
pub(super) struct Install {
    programs: PathBuf,
    /// Whom to run them as, since they refuse to run as root.
    account: Option<Account>,
}

#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Install {
    pub(super) fn find() -> Option<Self> {
        let linked = find_programs(usual_folders())?;
        // Where the server really is, which is where the programs are that come with it.
        let server = linked.join("postgres").canonicalize().ok()?;
        let programs = server.parent()?.to_owned();
        let is_root = rustix::process::geteuid().is_root();
        let account = is_root.then(|| Account::unprivileged().expect("an account `postgres` or `nobody`"));
        Some(Self { programs, account })
    }

    /// A new folder that the programs can use. Nobody removes it.
    pub(super) fn new_folder(&self) -> PathBuf {
        let folder = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()]
            .iter()
            .filter(|place| place.as_os_str().len() + "/".len() + FOLDER.len() + 6 <= LONGEST_FOLDER)
            .filter(|place| self.account.is_none() || place.ancestors().all(everybody_may_enter))
            .find_map(|place| tempfile::Builder::new().prefix(FOLDER).tempdir_in(place).ok())
            .map(TempDir::keep)
            .expect("a temporary folder that an unprivileged user can reach");
        self.hand_over(&folder, 0o700);
        folder
    }

    /// Gives a folder or a file to whom the programs run as, and to nobody else.
    pub(super) fn hand_over(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
        if let Some(Account { uid, gid }) = self.account {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).expect("something for another user");
        }
    }

    /// A program over `data` in this folder, out of reach of a ctrl-c at the terminal, with what it says in the log.
    pub(super) fn command(&self, program: &str, folder: &Path) -> Command {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"));
        let log = log.expect("a log of the server");
        let mut command = Command::new(self.programs.join(program));
        command
            .arg("-D")
            .arg(folder.join("data"))
            // The tests' own folder may be closed to the account.
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log twice"))
            .stderr(log);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PG") || name.starts_with("LC_") || name == "LANG" {
                command.env_remove(&*name);
            }
        }
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Account {
    fn unprivileged() -> Option<Self> {
        let accounts = fs::read_to_string("/etc/passwd").ok()?;
        let find = |name: &str| {
            let mut fields = accounts
                .lines()
                .map(|line| line.split(':'))
                .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        };
        find("postgres").or_else(|| find("nobody"))
    }
}

/// The first of these folders that holds a server.
pub(crate) fn find_programs(folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.into_iter().find(|folder| {
        ["initdb", "postgres"]
            .iter()
            .all(|program| folder.join(program).is_file())
    })
}

/// Where packages put the programs.
fn usual_folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(newest_first("/usr/lib/postgresql".as_ref(), ""));
    folders.extend(newest_first("/usr".as_ref(), "pgsql-"));
    folders.extend(newest_first("/opt/homebrew/opt".as_ref(), "postgresql"));
    if let Ok(asked) = Command::new("pg_config")
        .arg("--bindir")
        .stderr(Stdio::null())
        .output()
    {
        folders.push(String::from_utf8_lossy(&asked.stdout).trim_end().into());
    }
    folders
}

/// `bin` of every version in this folder.
pub(crate) fn newest_first(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@');
            let major = version.split('.').next()?.parse().unwrap_or(0);
            Some((major, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, bin)| bin).collect()
}

fn everybody_may_enter(folder: &Path) -> bool {
    folder
        .metadata()
        .is_ok_and(|it| it.permissions().mode() & 0o001 != 0)
}

/// A port that is free and stays so over a restart: no system gives one from this range to who asks for any, and here none is
/// given twice, as a server takes it only seconds later.
pub(super) fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let port = std::iter::repeat_with(|| 10_000 + u16::try_from(random() % 20_000).expect("a small number"))
        .take(100)
        .find(|port| !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port");
    given.push(port);
    port
}

/// Chance, without a crate for it.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
