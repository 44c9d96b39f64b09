//! Tries whatever chance makes of known inputs on all that reads what others write: requests, and what providers answer.
//! [`engine`] does the trying, [`target`] says on what and what must hold. README.md says how to run it.

mod coverage;
mod engine;
mod mutate;
mod peer;
mod target;
mod wire;

use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash as _, Hasher as _},
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};

use engine::{Engine, Failure, Limits, Summary};
use target::Target;

const USAGE: &str = "usage: cargo run -- check [TARGET]           the same inputs each time
       cargo run -- all | TARGET [FILE…]     a search, or these inputs (targets: see src/target/mod.rs)

ENGAGEMENT_FUZZ_SEED=N       chance begins here; printed by every run; 1 for a check
ENGAGEMENT_FUZZ_SECONDS=N    how long each target searches; 10 without
ENGAGEMENT_FUZZ_TRIALS=N     and how many inputs it tries at most
ENGAGEMENT_FUZZ_KEEP=DIR     where inputs go that took a new way through the code";

/// A check is done after so many inputs, which takes some ten seconds. Only a machine that does not get there is told so.
const CHECKED_WITHIN: Duration = Duration::from_mins(10);

/// Memory that a run may take: nothing that comes in makes the service keep more than a bounded part of it.
const MOST_MEMORY: u64 = 512 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((all, [])) if all == "all" => run_all(&[]),
        Some((check, [])) if check == "check" => run_all(&["check"]),
        Some((check, [name])) if check == "check" => run_one(name, &Way::Check),
        Some((name, [])) => run_one(name, &Way::Search),
        Some((name, files)) if !["all", "check"].contains(&name.as_str()) => run_one(name, &Way::Only(files)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(70)
        }
    }
}

/// Which inputs are tried.
enum Way<'a> {
    /// The seeds, and what a fixed seed of chance makes of them: the same each time.
    Check,
    /// The seeds, and whatever chance leads to.
    Search,
    /// What is in these files.
    Only(&'a [String]),
}

/// Runs every target in a process of its own, as many at once as there are processors; whether nothing was found.
fn run_all(way: &[&str]) -> Result<bool> {
    let begun = Instant::now();
    let seed = seed(&if way.is_empty() { Way::Search } else { Way::Check })?;
    let at_once = thread::available_parallelism()?.get();
    let mut good = true;
    for group in target::ALL.chunks(at_once) {
        let mut running = Vec::new();
        for target in group {
            let mut command = Command::new(env::current_exe()?);
            command
                .args(way)
                .arg(target.name)
                .env("ENGAGEMENT_FUZZ_SEED", seed.to_string());
            running.push((target, command.spawn()?));
        }
        for (target, mut process) in running {
            let status = process.wait()?;
            good &= status.success();
            if status.code().is_none() {
                println!(
                    "{}: DIED ({status}) of {}",
                    target.name,
                    current(target).display()
                );
            }
        }
    }
    println!(
        "all targets: {}, {} s",
        if good { "ok" } else { "FAILED" },
        begun.elapsed().as_secs()
    );
    Ok(good)
}

/// Runs one target; whether nothing was found.
fn run_one(name: &str, way: &Way<'_>) -> Result<bool> {
    let Some(target) = target::ALL.iter().find(|target| target.name == name) else {
        bail!("there is no target {name}\n{USAGE}");
    };
    engine::watch::begin();
    let (begun, seed) = (Instant::now(), seed(way)?);
    let current = current(target);
    fs::create_dir_all(failures())?;
    let mut file = fs::File::create(&current)?;
    let before = Box::new(move |input: &[u8]| {
        // Only a process that dies needs it; one that cannot write it goes on without.
        let _ = file
            .rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(input));
    });
    let mut engine = Engine::new(target.open()?, target.words, before);
    let mut wanted = 0;
    let outcome = match way {
        Way::Check => {
            wanted = target.checked;
            let limits = Limits {
                time: CHECKED_WITHIN,
                trials: wanted,
            };
            engine.check(&seeds(target)?, seed, limits)
        }
        Way::Search => {
            let limits = Limits {
                time: Duration::from_secs(number("ENGAGEMENT_FUZZ_SECONDS", 10)?),
                trials: number("ENGAGEMENT_FUZZ_TRIALS", u64::MAX)?,
            };
            engine.search(&seeds(target)?, seed, limits)
        }
        Way::Only(files) => {
            let inputs = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
            engine.replay(&inputs).map(|()| Summary {
                trials: files.len() as u64,
                ..Summary::default()
            })
        }
    };
    let _ = fs::remove_file(current);
    match outcome {
        Ok(summary) if summary.trials < wanted => {
            let Summary { trials, .. } = summary;
            println!("{name}: FAILED: only {trials} of {wanted} inputs were tried in {CHECKED_WITHIN:?}");
            return Ok(false);
        }
        Ok(summary) => tell(name, way, seed, &summary, begun.elapsed())?,
        Err(failure) => {
            report(target, way, seed, &failure)?;
            return Ok(false);
        }
    }
    let memory = peak_memory()?;
    if memory > MOST_MEMORY {
        println!("{name}: FAILED, seed {seed}: {} MiB of memory", memory >> 20);
        return Ok(false);
    }
    Ok(true)
}

/// Says how far it got.
fn tell(name: &str, way: &Way<'_>, seed: u64, summary: &Summary, took: Duration) -> Result<()> {
    let (trials, took) = (summary.trials, took.as_secs());
    match way {
        Way::Only(_) => println!("{name}: {trials} inputs, nothing wrong"),
        Way::Check => println!("{name}: ok, seed {seed}, {trials} inputs in {took} s"),
        Way::Search => {
            println!(
                "{name}: ok, seed {seed}, {trials} trials in {took} s, {} of {} edges, {} new inputs",
                summary.edges,
                coverage::Map::possible(),
                summary.found.len()
            );
            if let Some(folder) = env::var_os("ENGAGEMENT_FUZZ_KEEP") {
                keep(&Path::new(&folder).join(name), &summary.found)?;
            }
        }
    }
    Ok(())
}

fn report(target: &Target, way: &Way<'_>, seed: u64, failure: &Failure) -> Result<()> {
    let file = failures().join(format!("{}-{:016x}", target.name, fingerprint(&failure.input)));
    fs::write(&file, &failure.input)?;
    println!("{}: FAILED, seed {seed}: {}", target.name, failure.reason);
    println!("  input: {}", failure.input.escape_ascii());
    println!("  again: cargo run -- {} {}", target.name, file.display());
    let check = if matches!(way, Way::Check) { "check " } else { "" };
    println!(
        "  the whole run: ENGAGEMENT_FUZZ_SEED={seed} cargo run -- {check}{}",
        target.name
    );
    Ok(())
}

fn keep(folder: &Path, inputs: &[Vec<u8>]) -> Result<()> {
    fs::create_dir_all(folder)?;
    for input in inputs {
        fs::write(folder.join(format!("{:016x}", fingerprint(input))), input)?;
    }
    println!("  {} inputs kept in {}", inputs.len(), folder.display());
    Ok(())
}

fn fingerprint(input: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    hasher.finish()
}

/// The inputs that are in the repository, always in the same order.
fn seeds(target: &Target) -> Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    files.iter().map(|file| Ok(fs::read(file)?)).collect()
}

/// Where inputs go with which something is wrong.
fn failures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("failures")
}

/// The input that is being tried.
fn current(target: &Target) -> PathBuf {
    failures().join(format!("{}-current", target.name))
}

/// Where chance begins: as the environment says, else somewhere else with each search.
fn seed(way: &Way<'_>) -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let default = match way {
        Way::Check => 1,
        Way::Search | Way::Only(_) => now.subsec_nanos().into(),
    };
    number("ENGAGEMENT_FUZZ_SEED", default)
}

fn number(name: &str, default: u64) -> Result<u64> {
    match env::var(name) {
        Ok(given) => given.parse().with_context(|| format!("{name}={given}")),
        Err(_) => Ok(default),
    }
}

fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|rest| rest.split_whitespace().next())
        .context("no VmHWM")?
        .parse()?;
    Ok(kib * 1024)
}
