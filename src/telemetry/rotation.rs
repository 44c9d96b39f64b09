//! A log file that never outgrows its limit: when full it is set aside, and the oldest is dropped.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Writes into `engagement.log`; older lines are in `engagement.log.1`, `.2` and so on.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    kept: u32,
}

impl RotatingFile {
    /// Opens the file, and makes its directory when it is missing.
    pub(super) fn open(path: &Path, limit: u64, kept: u32) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            limit,
            kept,
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let aside = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.kept).rev() {
            // The next older one may not exist yet.
            let _ = fs::rename(aside(number), aside(number + 1));
        }
        if self.kept > 0 {
            fs::rename(&self.path, aside(1))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size + line.len() as u64 > self.limit {
            self.rotate()?;
        }
        let written = self.file.write(line)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_set_aside_and_the_oldest_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/engagement.log");
        let mut log = RotatingFile::open(&path, 10, 2).unwrap();
        for line in ["first\n", "second\n", "third\n", "fourth\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(directory.path().join("logs").join(name)).ok();
        assert_eq!(read("engagement.log").as_deref(), Some("fourth\n"));
        assert_eq!(read("engagement.log.1").as_deref(), Some("third\n"));
        assert_eq!(read("engagement.log.2").as_deref(), Some("second\n"));
        assert_eq!(read("engagement.log.3"), None);
    }

    #[test]
    fn a_file_that_is_there_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("engagement.log");
        RotatingFile::open(&path, 100, 2)
            .unwrap()
            .write_all(b"before\n")
            .unwrap();
        RotatingFile::open(&path, 100, 2)
            .unwrap()
            .write_all(b"after\n")
            .unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "before\nafter\n");
    }
}
