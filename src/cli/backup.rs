use std::path::PathBuf;

use clap::Args;

use super::{CommandError, IO_FAILED, UNAVAILABLE, print, progress::Bar};
use crate::{
    app::backup::{self, Failure},
    clock::Stopwatch,
    config::{self, Settings},
    store::sqlite::{BackupError, BackupProgress, FileError, Saved},
};

/// How much a server comes before its backup.
const NICE: i32 = 19;

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Where to write it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put it in the place of an earlier one
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(command: &Backup, settings: &Settings) -> Result<(), CommandError> {
    let database = config::database(settings)?;
    // Where this is not allowed, it competes with the server as an equal.
    let _ = rustix::process::nice(NICE);
    let watch = Stopwatch::start();
    let mut bar = Bar::new("backup");
    let saved = backup::back_up(&database, &command.file, command.replace, &mut |progress| {
        show(&mut bar, progress);
    });
    bar.end();
    print(format_args!(
        "{}: {}, {:.1} s, verified",
        command.file.display(),
        told(&saved?),
        watch.elapsed().as_secs_f64()
    ))
}

/// Moves the bar.
pub(super) fn show(bar: &mut Bar, progress: BackupProgress) {
    match progress {
        BackupProgress::Copying(done, of) => bar.show("copying", done, of),
        BackupProgress::Verifying => bar.work("verifying"),
    }
}

/// What a file holds.
pub(super) fn told(saved: &Saved) -> String {
    format!(
        "{} conversations, {} messages, {} bytes",
        saved.conversations, saved.messages, saved.bytes
    )
}

/// How a command exits that does not write a file.
pub(super) fn file_code(cause: &FileError) -> u8 {
    match cause {
        FileError::Same(_) => 2,
        FileError::Io(..) => IO_FAILED,
        FileError::Exists(_) | FileError::InUse(_) | FileError::Underway(_) => UNAVAILABLE,
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let code = match &failure {
            Failure::Postgres(_) => 2,
            Failure::Sqlite(BackupError::File(cause)) => file_code(cause),
            Failure::Sqlite(BackupError::Copying(_)) => IO_FAILED,
            Failure::Sqlite(_) => UNAVAILABLE,
        };
        Self {
            message: failure.to_string(),
            hint: failure.hint().to_owned(),
            code,
        }
    }
}
