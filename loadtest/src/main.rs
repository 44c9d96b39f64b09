//! Measures the engagement server from outside, against a bare reference in the same run on the same machine.

mod bare_postgres;
mod client;
mod commit;
mod histogram;
mod http;
mod load;
mod open_loop;
mod process;
mod reference;
mod report;
mod scenario;
mod stream;
mod upstream;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use report::{Report, time};
use rustix::process::{Resource, getrlimit, setrlimit};
use scenario::reads::Read;
use scenario::{Settings, Side};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the engagement server from outside, against a bare reference in the same run.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    what: What,
}

#[derive(Args)]
struct Flags {
    /// The release binary under test.
    #[arg(long, global = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/engagement"))]
    server: PathBuf,
    /// Where databases go while they are measured; on a real disk, not in memory.
    #[arg(long, global = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/data"))]
    dir: PathBuf,
    /// A file for the server's console output, which is thrown away otherwise.
    #[arg(long, global = true)]
    stderr: Option<PathBuf>,
    /// How often each side of a comparison is measured.
    #[arg(long, global = true, default_value_t = 5)]
    rounds: u32,
    /// How long one side of one round takes, in seconds.
    #[arg(long, global = true, default_value_t = 4.0)]
    seconds: f64,
    /// Requests of a lone client, a side and round.
    #[arg(long, global = true, default_value_t = 1000)]
    lone: u64,
    /// Messages of the big conversation.
    #[arg(long, global = true, default_value_t = 1_000_000)]
    messages: u64,
    /// How long the big conversation may take to fill, in seconds.
    #[arg(long, global = true, default_value_t = 900)]
    fill_limit_s: u64,
    /// A smoke run of a few seconds, whose figures mean nothing.
    #[arg(long, global = true)]
    quick: bool,
    /// A `PostgreSQL` server, as a role that may create databases.
    #[arg(long, global = true, env = "ENGAGEMENT_TEST_POSTGRES_URL", value_name = "URL")]
    postgres: Option<String>,
    /// A file that gets the Markdown too.
    #[arg(long, global = true)]
    output: Option<PathBuf>,
}

#[derive(Subcommand, Clone)]
enum What {
    /// Every scenario, one after the other.
    All,
    /// `GET /conversations/{id}` by 32 clients.
    GetConversation,
    /// `GET …/messages`, 10 of 30, by 32 clients.
    GetMessages,
    /// User messages by 64 clients over 50 conversations, with their replies.
    PostUser,
    /// One assistant message at a time.
    PostLone,
    /// Memory, idle and under 1,000 connections; size of the binary.
    Memory,
    /// A conversation of a million messages, and a start on its database.
    Big,
    /// Import and export of a million messages, backups of them under load, and a restore.
    Backup,
    /// One node and two on `PostgreSQL`, beside a bare program on the same server; needs `--postgres`.
    Postgres,
    /// Streamed replies of a fake upstream, beside the same upstream called directly; idle subscribers, and many of one conversation.
    Stream,
    /// What keys, limits and idempotency cost: the same build with them and without; on `PostgreSQL` too with `--postgres`.
    Keys,
    /// What metrics and the log of requests cost: the same build with them and without.
    Telemetry,
    /// An open loop of more requests than the service can do, on a slow disk.
    Overload,
    /// The fake upstream alone: Chat Completions, streamed on a schedule that the message asks for.
    Upstream,
    /// The reference server alone.
    Reference {
        /// Raw responses to repeat; small ones of its own without.
        #[arg(long, default_value = "samples")]
        samples: PathBuf,
    },
    /// Runs a program that ends when the one that started this ends.
    #[command(hide = true)]
    Become {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The bare commit alone.
    BareCommit,
    /// The load generator alone: GETs to an address.
    Load {
        /// Address and port.
        addr: SocketAddr,
        /// Path.
        path: String,
        /// Keep-alive clients.
        #[arg(long, default_value_t = 32)]
        clients: usize,
    },
}

impl Flags {
    fn settings(&self) -> Result<Settings> {
        if !(0.05..=600.0).contains(&self.seconds) || self.rounds == 0 || self.messages == 0 {
            bail!("--seconds must be 0.05 to 600, --rounds and --messages at least 1");
        }
        let mut settings = Settings {
            server: self.server.clone(),
            dir: self.dir.clone(),
            stderr: self.stderr.clone(),
            rounds: self.rounds,
            time: Duration::from_secs_f64(self.seconds),
            lone: self.lone,
            messages: self.messages,
            fill_limit: Duration::from_secs(self.fill_limit_s),
            postgres: self.postgres.clone(),
        };
        if self.quick {
            settings.rounds = settings.rounds.min(2);
            settings.time = settings.time.min(Duration::from_millis(500));
            settings.lone = settings.lone.min(100);
            settings.messages = settings.messages.min(20_000);
        }
        std::fs::create_dir_all(&settings.dir)?;
        Ok(settings)
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    raise_file_limit(); // inherited by the servers
    match &cli.what {
        What::Reference { samples } => reference::serve(samples)?,
        What::Upstream => upstream::serve()?,
        What::Become { program, arguments } => process::turn_into(program, arguments)?,
        What::BareCommit => bare_commit(&cli.flags.settings()?)?,
        What::Load { addr, path, clients } => generate(&cli.flags.settings()?, *addr, path, *clients)?,
        scenario => return measure(&cli.flags, scenario),
    }
    Ok(true)
}

fn measure(flags: &Flags, what: &What) -> Result<bool> {
    let mut settings = flags.settings()?;
    settings.server = settings.server.canonicalize().with_context(|| {
        format!(
            "no server at {}; `cargo build --release` makes it",
            settings.server.display()
        )
    })?;
    let all = [
        What::GetConversation,
        What::GetMessages,
        What::PostUser,
        What::PostLone,
        What::Memory,
        What::Big,
        What::Stream,
    ];
    let chosen = match what {
        What::All => &all[..],
        one => std::slice::from_ref(one),
    };
    let mut report = Report::default();
    let mut complete = true;
    for what in chosen {
        let done = match what {
            What::GetConversation => scenario::reads::run(&settings, &mut report, Read::Conversation),
            What::GetMessages => scenario::reads::run(&settings, &mut report, Read::Messages),
            What::PostUser => scenario::post_user::run(&settings, &mut report),
            What::PostLone => scenario::post_lone::run(&settings, &mut report),
            What::Memory => scenario::memory::run(&settings, &mut report),
            What::Keys => scenario::keys::run(&settings, &mut report),
            What::Telemetry => scenario::telemetry::run(&settings, &mut report),
            What::Overload => scenario::overload::run(&settings, &mut report),
            What::Backup => scenario::backup::run(&settings, &mut report),
            What::Big => scenario::big::run(&settings, &mut report),
            What::Stream => scenario::stream::run(&settings, &mut report),
            What::Postgres => scenario::postgres::run(&settings, &mut report),
            _ => bail!("no scenario"),
        };
        if let Err(error) = done {
            complete = false;
            report.remark(format!("**not complete**: {error:#}"));
        }
    }
    let text = report.markdown();
    println!("{text}");
    if let Some(path) = &flags.output {
        std::fs::write(path, &text)?;
    }
    if !complete {
        bail!("a scenario did not complete");
    }
    Ok(report.all_met())
}

fn bare_commit(settings: &Settings) -> Result<()> {
    let scratch = settings.scratch("bare-commit")?;
    let mut commit = commit::BareCommit::new(scratch.path())?;
    for _ in 0..settings.rounds {
        let seen = commit.measure(settings.lone, settings.time)?;
        println!(
            "{} commits, median {}, p99 {}",
            seen.len(),
            time(seen.median()),
            time(seen.p99())
        );
    }
    Ok(())
}

fn generate(settings: &Settings, addr: SocketAddr, path: &str, clients: usize) -> Result<()> {
    if !addr.ip().is_loopback() {
        bail!("this generator only loads its own machine");
    }
    let requests: Arc<[Vec<u8>]> = vec![http::get(path)].into();
    let mut side = Side::default();
    for _ in 0..settings.rounds {
        let outcome = load::run(&settings.closed(addr, clients, &requests))?;
        let cpu = outcome.own_cpu.as_secs_f64() * 1e6 / (outcome.succeeded + outcome.warmed).max(1) as f64;
        println!(
            "{} requests/s, p50 {}, p99 {}, max {}, {cpu:.1} µs of generator a request, {}",
            report::number(outcome.rate()),
            time(outcome.latency.median()),
            time(outcome.latency.p99()),
            time(outcome.latency.max()),
            outcome.errors_text()
        );
        side.rates.push(outcome.rate());
    }
    println!("median {} requests/s", report::number(side.rate()));
    Ok(())
}

/// A thousand connections need more open files than some shells allow.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(16_384);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit).ok();
    }
}
