//! The command line. Data goes to stdout, everything else to stderr.
//!
//! Exit codes: 0 done; 1 failed while running; 2 wrong usage; 69 the database cannot be opened, or a service
//! does not answer; 74 the database failed while writing; 78 the configuration was refused.

mod backup;
mod chat;
mod check;
mod checklist;
mod copy;
mod export;
mod health;
mod import;
mod keys;
mod migrate;
mod openapi;
mod progress;
pub mod reference;
mod restore;
mod serve;
mod show;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};

use crate::{
    app::{Duty, Failure, database::OpenError},
    config::{Config, ConfigError, Given, Settings},
};

const UNAVAILABLE: u8 = 69;
const IO_FAILED: u8 = 74;
const REFUSED: u8 = 78;

/// The backend that AI chat products are built on.
#[derive(Debug, Parser)]
#[command(name = "engagement", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Settings file [default: engagement.toml, if there is one]
    #[arg(long, global = true, env = "ENGAGEMENT_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Service(Service),
    #[command(flatten)]
    About(About),
}

/// What takes settings.
#[derive(Debug, Subcommand)]
enum Service {
    /// Serve the API and work on replies (the default)
    Serve(serve::Serve),
    /// Work on replies beside nodes that serve; listens only if an address is given, and then for health checks
    Worker,
    /// Talk to a running service: each line is a message, and its reply is shown while it is written
    Chat(chat::Chat),
    /// Look at or change the database's schema
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Make, list and take back API keys, also while a service runs
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Move everything from one database into another; a run that was cut off goes on where it was
    Copy(copy::Copy),
    /// Write all that the database holds into one file, also while a server uses it (SQLite)
    Backup(backup::Backup),
    /// Put a backup in the place of the database (SQLite)
    Restore(restore::Restore),
    /// Write every conversation as a line of JSON, also while a server runs
    Export(export::Export),
    /// Take in conversations from elsewhere, with their ids, dates and order; what is there already is left
    #[command(subcommand)]
    Import(import::Import),
    /// Check the configuration and the database
    Check,
    /// Ask the service that runs at the configured address whether it is ready
    Health(health::Health),
    /// Look at the configuration
    #[command(subcommand)]
    Config(show::Show),
}

/// What tells of the program itself, whatever its settings are.
#[derive(Debug, Subcommand)]
enum About {
    /// Print the OpenAPI document that describes the service over HTTP
    Openapi,
    /// Print what a shell reads to complete this command line
    Completions(reference::Completions),
    /// Print the manual page, or write one for each command
    Man(reference::Man),
}

/// Why a command failed: what to say, what to type next, how to exit.
#[derive(Debug)]
struct CommandError {
    message: String,
    hint: String,
    code: u8,
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint,
            code: REFUSED,
        }
    }
}

impl From<OpenError> for CommandError {
    fn from(error: OpenError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint().to_owned(),
            code: if error.is_misconfigured() {
                REFUSED
            } else {
                UNAVAILABLE
            },
        }
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let code = match &failure {
            Failure::Open(cause) if cause.is_misconfigured() => REFUSED,
            Failure::Open(_) => UNAVAILABLE,
            Failure::Broken(_) => IO_FAILED,
            Failure::Refused(_) => REFUSED,
            Failure::Listen { .. } | Failure::Other(_) => 1,
        };
        Self {
            message: failure.to_string(),
            hint: failure.hint().to_owned(),
            code,
        }
    }
}

/// Runs the command that these arguments ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let matches = Cli::command()
        .try_get_matches_from(&arguments)
        .unwrap_or_else(|error| named_as_given(error, &arguments).exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let command = cli
        .command
        .unwrap_or(Command::Service(Service::Serve(serve::Serve::default())));
    let ran = match command {
        Command::About(about) => tell(&about),
        Command::Service(service) => Given::gather(cli.settings, &matches, cli.config.as_deref())
            .map_err(CommandError::from)
            .and_then(|given| dispatch(service, &given)),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError { message, hint, code }) => {
            eprintln!("error: {message}\nhint: {hint}");
            ExitCode::from(code)
        }
    }
}

/// An error about a flag that nobody typed is one about its environment variable.
fn named_as_given(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let long = flag.split([' ', '=']).next().unwrap_or_default();
    let is_typed = arguments
        .iter()
        .any(|argument| argument.to_string_lossy().split('=').next() == Some(long));
    let name = long.trim_start_matches('-').replace('-', "_");
    let variable = Settings::NAMES
        .iter()
        .zip(Settings::VARIABLES)
        .find(|(known, _)| **known == name);
    if let Some((_, variable)) = variable.filter(|_| !is_typed) {
        let both = format!("{variable} ({flag})");
        error.insert(ContextKind::InvalidArg, ContextValue::String(both));
    }
    error
}

fn dispatch(command: Service, given: &Given) -> Result<(), CommandError> {
    match command {
        Service::Serve(serve) => {
            let duty = if serve.no_replies {
                Duty::Requests
            } else {
                Duty::Everything
            };
            serve::run(Config::new(&given.settings)?, duty)
        }
        Service::Worker => {
            let listens = given.settings.listen.is_some();
            serve::run(Config::new(&given.settings)?, Duty::Replies { listens })
        }
        Service::Chat(chat) => chat::run(&chat, &given.settings),
        Service::Migrate(migrate) => migrate::run(migrate, &given.settings),
        Service::Keys(keys) => keys::run(keys, &given.settings),
        Service::Copy(copy) => copy::run(&copy, &given.settings),
        Service::Backup(backup) => backup::run(&backup, &given.settings),
        Service::Restore(restore) => restore::run(&restore, &given.settings),
        Service::Export(export) => export::run(&export, &given.settings),
        Service::Import(import) => import::run(&import, &given.settings),
        Service::Check => check::run(&given.settings),
        Service::Health(health) => health::run(&health, &given.settings),
        Service::Config(show::Show::Show) => show::run(given),
    }
}

fn tell(about: &About) -> Result<(), CommandError> {
    match about {
        About::Openapi => openapi::run(),
        About::Completions(completions) => reference::completions(completions),
        About::Man(man) => reference::man(man),
    }
}

/// Runs work that needs several threads.
fn on_threads<T>(work: impl Future<Output = T>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::Other)?;
    Ok(runtime.block_on(work))
}

/// Where somebody on this machine reaches what listens there.
fn near(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// Writes a line of data.
fn print(line: impl std::fmt::Display) -> Result<(), CommandError> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}").map_err(|cause| cannot_write(&cause))
}

fn cannot_write(cause: &std::io::Error) -> CommandError {
    CommandError {
        message: format!("cannot write to stdout: {cause}"),
        hint: "give the command somewhere to write".to_owned(),
        code: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_before_and_after_the_command() {
        for arguments in [
            ["engagement", "--workers=3", "serve"],
            ["engagement", "serve", "--workers=3"],
        ] {
            let cli = Cli::try_parse_from(arguments).unwrap();
            assert_eq!(cli.settings.workers, Some(3), "{arguments:?}");
        }
        let cli = Cli::try_parse_from(["engagement", "--production", "serve"]).unwrap();
        assert_eq!(cli.settings.production, Some(true));
    }
}
