use clap::Subcommand;

use super::{CommandError, print};
use crate::config::{Config, Given, Source};

#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum Show {
    /// List every setting with its value and where it came from
    Show,
}

pub(super) fn run(given: &Given) -> Result<(), CommandError> {
    let settings = given
        .list()
        .map(|(name, value, source)| (name.to_owned(), value, source));
    let all: Vec<_> = settings.chain(given.providers()).collect();
    let widest = all.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
    for (name, value, source) in all {
        let source = match source {
            Source::Default => "default",
            Source::File => "file",
            Source::Environment => "environment",
            Source::Flag => "flag",
        };
        print(format_args!("{name:<widest$} {source:<12} {value}"))?;
    }
    // Shown even when it would be refused; whoever looks wants to know both.
    Config::new(&given.settings)
        .map(|_| ())
        .map_err(CommandError::from)
}
