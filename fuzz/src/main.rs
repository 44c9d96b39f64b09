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

use engine::{Engine, Failure, Limits};
use target::Target;

const USAGE: &str = "usage: cargo run -- all | TARGET [FILE…]     (targets: see src/target/mod.rs)

ENGAGEMENT_FUZZ_SEED=N       chance begins here; printed by every run
ENGAGEMENT_FUZZ_SECONDS=N    how long each target runs; 10 without
ENGAGEMENT_FUZZ_TRIALS=N     and how many inputs it tries at most
ENGAGEMENT_FUZZ_KEEP=DIR     where inputs go that took a new way through the code";

/// Memory that a run may take: nothing that comes in makes the service keep more than a bounded part of it.
const MOST_MEMORY: u64 = 512 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((all, [])) if all == "all" => run_all(),
        Some((name, files)) if name != "all" => run_one(name, files),
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

/// Runs every target in a process of its own, as many at once as there are processors; whether nothing was found.
fn run_all() -> Result<bool> {
    let (begun, seed) = (Instant::now(), seed()?);
    let at_once = thread::available_parallelism()?.get();
    let mut good = true;
    for group in target::ALL.chunks(at_once) {
        let mut running = Vec::new();
        for target in group {
            let mut command = Command::new(env::current_exe()?);
            command
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

/// Runs one target, or only tries these files on it.
fn run_one(name: &str, files: &[String]) -> Result<bool> {
    let Some(target) = target::ALL.iter().find(|target| target.name == name) else {
        bail!("there is no target {name}\n{USAGE}");
    };
    engine::watch::begin();
    let (begun, seed) = (Instant::now(), seed()?);
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
    let outcome = if files.is_empty() {
        let limits = Limits {
            time: Duration::from_secs(number("ENGAGEMENT_FUZZ_SECONDS", 10)?),
            trials: number("ENGAGEMENT_FUZZ_TRIALS", u64::MAX)?,
        };
        engine.run(&seeds(target)?, seed, limits).map(Some)
    } else {
        let inputs = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
        engine.replay(&inputs).map(|()| None)
    };
    let _ = fs::remove_file(current);
    match outcome {
        Ok(None) => println!("{name}: {} inputs, nothing wrong", files.len()),
        Ok(Some(summary)) => {
            println!(
                "{name}: ok, seed {seed}, {} trials in {} s, {} of {} edges, {} new inputs",
                summary.trials,
                begun.elapsed().as_secs(),
                summary.edges,
                coverage::Map::possible(),
                summary.found.len()
            );
            if let Some(folder) = env::var_os("ENGAGEMENT_FUZZ_KEEP") {
                keep(&Path::new(&folder).join(name), &summary.found)?;
            }
        }
        Err(failure) => {
            report(target, seed, &failure)?;
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

fn report(target: &Target, seed: u64, failure: &Failure) -> Result<()> {
    let file = failures().join(format!("{}-{:016x}", target.name, fingerprint(&failure.input)));
    fs::write(&file, &failure.input)?;
    println!("{}: FAILED, seed {seed}: {}", target.name, failure.reason);
    println!("  input: {}", failure.input.escape_ascii());
    println!("  again: cargo run -- {} {}", target.name, file.display());
    println!(
        "  the whole run: ENGAGEMENT_FUZZ_SEED={seed} cargo run -- {}",
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

/// Where chance begins: as the environment says, else somewhere else with each run.
fn seed() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    number("ENGAGEMENT_FUZZ_SEED", u64::from(now.subsec_nanos()))
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
