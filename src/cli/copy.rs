use std::{
    io::{IsTerminal, Write as _, stderr},
    time::Duration,
};

use clap::Args;

use super::{CommandError, IO_FAILED, REFUSED, UNAVAILABLE, print};
use crate::{
    app::copy::{self, Failure, Progress, Side, Step},
    clock::Stopwatch,
    config::{self, DatabaseUrl, Settings},
    store,
};

/// How often somebody who watches is told, and how often a file is.
const WATCHED: Duration = Duration::from_millis(200);
const UNWATCHED: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Copy {
    /// The database to copy; nothing is written into it, and nobody may use it meanwhile
    #[arg(long, value_name = "URL")]
    from: DatabaseUrl,
    /// The database to fill: a new one, or one that holds an unfinished copy
    #[arg(long, value_name = "URL")]
    to: DatabaseUrl,
}

pub(super) fn run(command: &Copy, settings: &Settings) -> Result<(), CommandError> {
    let from = config::database_at("--from", &command.from, settings)?;
    let to = config::database_at("--to", &command.to, settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(crate::app::Failure::Other)?;
    let mut meter = Meter::new();
    let copied = runtime.block_on(copy::run(&from, &to, &mut |progress| meter.show(progress)));
    meter.end();
    for (table, print_of_it) in copied? {
        print(format_args!(
            "{:<13} {:>12}  {print_of_it}",
            table.name(),
            print_of_it.rows
        ))?;
    }
    eprintln!("the target holds all that the source holds");
    Ok(())
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let code = match &failure {
            Failure::Open(_, cause) if cause.is_misconfigured() => REFUSED,
            Failure::Failed(Side::Target, store::Error::Full | store::Error::Broken(_)) => IO_FAILED,
            Failure::SameDatabase(_) => 2,
            Failure::Open(..)
            | Failure::NotEmpty(_)
            | Failure::CopyOfAnother { .. }
            | Failure::Failed(..) => UNAVAILABLE,
            Failure::Differs { .. } => 1,
        };
        // Whoever opens a database knows its URL by the name of a setting; here, each side has a flag.
        let flag = match &failure {
            Failure::Open(Side::Source, _) => "--from",
            _ => "--to",
        };
        Self {
            message: failure.to_string().replace("database_url", flag),
            hint: failure.hint().replace("--database-url", flag),
            code,
        }
    }
}

/// Tells on stderr how far it is.
struct Meter {
    is_watched: bool,
    told: Option<Stopwatch>,
    begun: Stopwatch,
}

impl Meter {
    fn new() -> Self {
        Self {
            is_watched: stderr().is_terminal(),
            told: None,
            begun: Stopwatch::start(),
        }
    }

    fn show(&mut self, progress: Progress) {
        let pause = if self.is_watched { WATCHED } else { UNWATCHED };
        if self.told.unwrap_or(self.begun).elapsed() < pause {
            return;
        }
        self.told = Some(Stopwatch::start());
        let step = match progress.step {
            Step::Copying => "copying",
            Step::Verifying => "verifying",
        };
        let line = format!(
            "{step} {}: {} of {} rows",
            progress.table.name(),
            progress.done,
            progress.rows
        );
        // Nobody may be there to read it.
        let _ = if self.is_watched {
            write!(stderr(), "\r{line}\x1b[K")
        } else {
            writeln!(stderr(), "{line}")
        };
    }

    fn end(&self) {
        if self.is_watched && self.told.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
