//! Which files a database has, and how a file is written that others find whole or not at all.

use std::{
    fmt,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// What SQLite puts beside a database.
pub(super) const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What servers lock, beside a database.
pub(super) const LOCK: &str = ".lock";

/// A backup on its way to the database's name.
pub(super) const RESTORING: &str = ".restoring";

/// What only its owner reads and writes.
const PRIVATE: u32 = 0o600;

/// Why a file is not written.
#[derive(Debug)]
pub enum FileError {
    /// There is something under that name.
    Exists(PathBuf),
    /// There is something under that name, and it is being used.
    InUse(PathBuf),
    /// It is the database, or a part of it.
    Same(PathBuf),
    /// Somebody else is writing it.
    Underway(PathBuf),
    /// It cannot be written.
    Io(PathBuf, io::Error),
}

impl FileError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Exists(_) => "give --replace to put the new one in its place, or another name",
            Self::InUse(_) => "stop what uses it, or give another name",
            Self::Same(_) => "give a file that has nothing to do with the database",
            Self::Underway(_) => "wait for the other one, or give another name",
            Self::Io(..) => "see that this user may write there, and that there is room",
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => write!(f, "{} exists already", path.display()),
            Self::InUse(path) => write!(f, "somebody is using {}", path.display()),
            Self::Same(path) => write!(f, "{} is the database itself, or a part of it", path.display()),
            Self::Underway(path) => write!(f, "somebody else is writing {}", path.display()),
            Self::Io(path, cause) => write!(f, "cannot write {}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for FileError {}

/// A file that is being written, and gets its name once it is whole. Until then it is removed with its owner.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    file: File,
    becomes: PathBuf,
    replaces: bool,
    is_named: bool,
}

impl Part {
    /// Begins what becomes this file, unless that would harm this database, or another one that is being used.
    pub fn of(file: &Path, database: Option<&Path>, replaces: bool) -> Result<Self, FileError> {
        let absolute = |path: &Path| resolve(path).map_err(|cause| FileError::Io(path.to_owned(), cause));
        let file = absolute(file)?;
        let path = beside(&file, ".part");
        if let Some(database) = database {
            let database = absolute(database)?;
            if belongs_to(&database, &file) || belongs_to(&database, &path) {
                return Err(FileError::Same(file));
            }
        }
        if BESIDE.iter().any(|ending| beside(&file, ending).exists()) {
            return Err(FileError::InUse(file));
        }
        refuse_existing(&file, replaces)?;
        Self::create(path, file, replaces)
    }

    /// Begins what takes the place of a database that nobody uses.
    pub(super) fn of_database(database: &Path) -> Result<Self, FileError> {
        Self::create(beside(database, RESTORING), database.to_owned(), true)
    }

    /// Begins a new one, in the place of what a run that was killed has left.
    fn create(path: PathBuf, becomes: PathBuf, replaces: bool) -> Result<Self, FileError> {
        let failed = |cause| FileError::Io(path.clone(), cause);
        let file = private()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(FileError::Underway(path)),
            Err(fs::TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        // The other one may have become whole, and been given its name, just before its lock was free.
        let is_it = path
            .metadata()
            .is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()));
        if !is_it {
            return Err(FileError::Underway(path));
        }
        // What was left may be open to others.
        file.set_permissions(Permissions::from_mode(PRIVATE))
            .map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        for ending in BESIDE {
            let _ = fs::remove_file(beside(&path, ending));
        }
        Ok(Self {
            path,
            file,
            becomes,
            replaces,
            is_named: false,
        })
    }

    /// What to write into.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is until it is whole.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it on the disk, and gives it its name.
    pub fn become_file(mut self) -> Result<(), FileError> {
        self.file.sync_all().map_err(|cause| self.failed(cause))?;
        refuse_existing(&self.becomes, self.replaces)?;
        let renamed = fs::rename(&self.path, &self.becomes);
        renamed.map_err(|cause| FileError::Io(self.becomes.clone(), cause))?;
        self.is_named = true;
        sync_directory(&self.becomes)
    }

    /// Gives it to the owner of what it replaces, if this user may.
    pub(super) fn hand_over(&self) {
        if let Ok(there) = self.becomes.metadata() {
            let _ = std::os::unix::fs::chown(&self.path, Some(there.uid()), Some(there.gid()));
        }
    }

    /// Why it cannot be written.
    pub(super) fn failed(&self, cause: io::Error) -> FileError {
        FileError::Io(self.path.clone(), cause)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_named {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn refuse_existing(file: &Path, replaces: bool) -> Result<(), FileError> {
    if !replaces && file.exists() {
        return Err(FileError::Exists(file.to_owned()));
    }
    Ok(())
}

/// Whether a file is this database or a part of it. Both are absolute, with links followed.
pub(super) fn belongs_to(database: &Path, file: &Path) -> bool {
    let others = BESIDE.into_iter().chain([LOCK, RESTORING]);
    file == database || others.into_iter().any(|ending| file == beside(database, ending))
}

/// The name of something beside a file.
pub(super) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Makes what happened to names in a file's directory durable.
pub(super) fn sync_directory(file: &Path) -> Result<(), FileError> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|cause| FileError::Io(directory.to_owned(), cause))
}

/// The absolute path, with links followed, of a file that there may be or not: one file has one name and one lock.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    Ok(directory.canonicalize()?.join(name))
}

/// A file that only its owner can read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(PRIVATE);
    options
}
