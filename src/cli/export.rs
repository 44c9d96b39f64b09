use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write, stdout},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{CommandError, IO_FAILED, UNAVAILABLE, progress::Bar};
use crate::{
    app::transfer::{self, Failure, Progress, Tally},
    clock::Stopwatch,
    config::{self, Database, Settings},
    store,
};

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Where to write it; - is stdout
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Put it in the place of an earlier one
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(command: &Export, settings: &Settings) -> Result<(), CommandError> {
    let database = config::database(settings)?;
    let watch = Stopwatch::start();
    let tally = if command.file == Path::new("-") {
        let (mut out, tally) = write(&database, BufWriter::new(stdout()))?;
        out.flush().map_err(Failure::Write)?;
        tally
    } else {
        to_file(&database, &command.file, command.replace)?
    };
    if tally.unfinished > 0 {
        eprintln!("{} replies are not final, and were left out", tally.unfinished);
    }
    eprintln!(
        "exported {} conversations, {} messages, {:.1} s",
        tally.conversations,
        tally.messages,
        watch.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The file gets its name once it is whole.
fn to_file(database: &Database, file: &Path, replace: bool) -> Result<Tally, CommandError> {
    let exists = || CommandError {
        message: format!("{} exists already", file.display()),
        hint: "give --replace to put the new one in its place, or another name".to_owned(),
        code: UNAVAILABLE,
    };
    if !replace && file.exists() {
        return Err(exists());
    }
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut options = OpenOptions::new();
    // Only its owner reads what people wrote.
    options.write(true).create(true).truncate(true).mode(0o600);
    let out = options.open(&part).map_err(Failure::Write)?;
    let written = write(database, BufWriter::new(out)).and_then(|(out, tally)| {
        let out = out
            .into_inner()
            .map_err(|cause| Failure::Write(cause.into_error()))?;
        out.sync_all().map_err(Failure::Write)?;
        if !replace && file.exists() {
            return Err(exists());
        }
        name(&part, file).map_err(Failure::Write)?;
        Ok(tally)
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

fn name(part: &Path, file: &Path) -> io::Result<()> {
    fs::rename(part, file)?;
    let directory = match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn write<W: Write + Send>(database: &Database, out: W) -> Result<(W, Tally), CommandError> {
    let mut bar = Bar::new("export");
    let exported = super::on_threads(transfer::export(database, out, &mut |progress| {
        if let Progress::Done(tally) = progress {
            bar.work(format!("{} messages", tally.messages));
        }
    }))?;
    bar.end();
    Ok(exported?)
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let code = match failure {
            Failure::Open(cause) => return cause.into(),
            Failure::Store(store::Error::Full | store::Error::Broken(_)) | Failure::Write(_) => IO_FAILED,
            Failure::Store(_) | Failure::Source(_) => UNAVAILABLE,
            Failure::Read(_) | Failure::Other(_) => 1,
        };
        Self {
            message: failure.to_string(),
            hint: failure.hint().to_owned(),
            code,
        }
    }
}
