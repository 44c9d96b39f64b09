use std::{
    fs::File,
    io::{self, BufReader, Read, stdin},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::{Args, Subcommand};

use super::{CommandError, print, progress::Bar};
use crate::{
    app::transfer::{self, Failure, Plan, Progress, Source, Tally},
    clock::Stopwatch,
    config::{self, Settings},
    model::{KeyId, Owner},
    transfer::{Fit, Refused, Unreadable},
};

/// Problems that are shown one by one.
const SHOWN: u64 = 20;

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// What `engagement export` wrote: a conversation a line
    Jsonl(From),
    /// The database of the Django service: its file `db.sqlite3`
    Django(Foreign),
    /// ChatGPT's export: its file `conversations.json`
    Chatgpt(Foreign),
}

#[derive(Debug, Args)]
pub(super) struct From {
    /// What to read; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(super) struct Foreign {
    /// What to read
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Cut texts that are longer than a message may be; otherwise their conversation is left out
    #[arg(long)]
    cut: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// Read everything and say what would be done, without doing it
    #[arg(long)]
    dry_run: bool,
    /// Whose the conversations become: a key's id
    #[arg(long, value_name = "KEY_ID", value_parser = owner)]
    owner: Option<Owner>,
}

pub(super) fn run(command: &Import, settings: &Settings) -> Result<(), CommandError> {
    let database = config::database(settings)?;
    let (file, cuts, how) = match command {
        Import::Jsonl(from) => (&from.file, false, &from.how),
        Import::Django(foreign) | Import::Chatgpt(foreign) => (&foreign.file, foreign.cut, &foreign.how),
    };
    let mut bar = Bar::new("import");
    let (source, meter) = source(command, file)?;
    let plan = Plan {
        is_dry: how.dry_run,
        owner: how.owner,
        fit: Fit { cuts },
    };
    let watch = Stopwatch::start();
    let mut shown = 0;
    let imported = super::on_threads(transfer::import(
        &database,
        source,
        plan,
        &mut |progress| match progress {
            Progress::Done(tally) => meter.show(&mut bar, tally),
            Progress::Refused(refused) => {
                shown += 1;
                if shown <= SHOWN {
                    bar.say(&told(command, refused));
                }
            }
        },
    ))?;
    bar.end();
    let tally = imported?;
    if shown > SHOWN {
        eprintln!("... and {} more", shown - SHOWN);
    }
    sum_up(&tally, how.dry_run, watch)
}

/// What to read, and how to tell how much of it is done.
fn source(command: &Import, file: &Path) -> Result<(Source, Meter), CommandError> {
    if let Import::Django(_) = command {
        let (source, messages) = Source::django(file)?;
        return Ok((source, Meter::Messages(messages)));
    }
    let read = Arc::new(AtomicU64::new(0));
    let (input, meter): (Box<dyn Read + Send>, Meter) = if file == Path::new("-") {
        (Box::new(stdin()), Meter::Unknown)
    } else {
        let opened = open(file).map_err(|cause| Failure::Input(Unreadable::Io(cause)));
        let (opened, length) = opened?;
        (Box::new(opened), Meter::Bytes(Arc::clone(&read), length))
    };
    let input = BufReader::with_capacity(1 << 16, Counted { input, read });
    let source = match command {
        Import::Chatgpt(_) => Source::Chatgpt(Box::new(input)),
        Import::Jsonl(_) | Import::Django(_) => Source::Jsonl(Box::new(input)),
    };
    Ok((source, meter))
}

/// A file that has something to read, and how much.
fn open(file: &Path) -> io::Result<(File, u64)> {
    let opened = File::open(file)?;
    let metadata = opened.metadata()?;
    // Only the first read would say so.
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok((opened, metadata.len()))
}

fn told(command: &Import, refused: &Refused) -> String {
    let what = match command {
        Import::Jsonl(_) => "line",
        Import::Django(_) | Import::Chatgpt(_) => "conversation",
    };
    match refused.place {
        0 => format!("refused: {}", refused.problem),
        place => format!("refused: {what} {place}: {}", refused.problem),
    }
}

fn sum_up(tally: &Tally, is_dry: bool, watch: Stopwatch) -> Result<(), CommandError> {
    let seconds = watch.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "it is told in whole messages")]
    let rate = tally.messages as f64 / seconds.max(0.001);
    let verb = if is_dry { "would import" } else { "imported" };
    print(format_args!(
        "{verb} {} conversations, {} messages; there already: {}; refused: {}; messages left out: {}; {seconds:.1} s, {rate:.0} messages/s",
        tally.conversations, tally.messages, tally.there, tally.refused, tally.skipped
    ))?;
    if tally.refused > 0 {
        return Err(CommandError {
            message: format!("{} conversations were refused", tally.refused),
            hint: "correct them and run this again: what was imported is left as it is".to_owned(),
            code: 1,
        });
    }
    Ok(())
}

/// How to tell how far it is.
enum Meter {
    Bytes(Arc<AtomicU64>, u64),
    Messages(u64),
    Unknown,
}

impl Meter {
    fn show(&self, bar: &mut Bar, tally: &Tally) {
        match self {
            Self::Bytes(read, length) => bar.show("importing", read.load(Ordering::Relaxed), *length),
            Self::Messages(messages) => bar.show("importing", tally.messages, *messages),
            Self::Unknown => bar.work(format!("{} messages", tally.messages)),
        }
    }
}

/// Counts what is read.
struct Counted {
    input: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

fn owner(text: &str) -> Result<Owner, String> {
    KeyId::parse(text).map(Owner::of).ok_or_else(|| {
        format!(
            "an id is {} letters and digits, the part of a key behind eng_live_",
            KeyId::LENGTH
        )
    })
}
