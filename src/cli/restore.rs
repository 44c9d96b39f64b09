use std::path::PathBuf;

use clap::Args;

use super::{
    CommandError,
    backup::{show, told},
    print,
    progress::Bar,
};
use crate::{
    app::backup,
    clock::Stopwatch,
    config::{self, Settings},
};

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// What `engagement backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put it in the place of a database, which is kept beside it
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(command: &Restore, settings: &Settings) -> Result<(), CommandError> {
    let database = config::database(settings)?;
    let watch = Stopwatch::start();
    let mut bar = Bar::new("restore");
    let restored = backup::restore(&database, &command.file, command.replace, &mut |progress| {
        show(&mut bar, progress);
    });
    bar.end();
    let restored = restored?;
    if let Some(kept) = restored.kept {
        eprintln!("what was there is kept as {}", kept.display());
    }
    if restored.keys > 0 {
        eprintln!(
            "its {} keys are as they were at the backup, those that were taken back since included: see `engagement keys list`",
            restored.keys
        );
    }
    print(format_args!(
        "restored {}: {}, {:.1} s, verified",
        restored.database.display(),
        told(&restored.saved),
        watch.elapsed().as_secs_f64()
    ))
}
