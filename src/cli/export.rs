use std::{
    io::{BufWriter, Write, stdout},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{CommandError, IO_FAILED, UNAVAILABLE, backup::file_code, progress::Bar};
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
    let part = transfer::begin_file(database, file, replace)?;
    let (mut out, tally) = write(database, BufWriter::new(part.file()))?;
    out.flush().map_err(Failure::Write)?;
    drop(out);
    part.become_file().map_err(Failure::File)?;
    Ok(tally)
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
            Failure::File(ref cause) => file_code(cause),
            Failure::Store(store::Error::Full | store::Error::Broken(_)) | Failure::Write(_) => IO_FAILED,
            Failure::Store(_) | Failure::Source(_) => UNAVAILABLE,
            Failure::Input(_) | Failure::Read(_) | Failure::Other(_) => 1,
        };
        Self {
            message: failure.to_string(),
            hint: failure.hint().to_owned(),
            code,
        }
    }
}
