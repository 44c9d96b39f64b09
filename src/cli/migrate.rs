use clap::Subcommand;

use super::{CommandError, print};
use crate::{
    config::{Database, Settings, parse_database},
    store::sqlite::{self, MigrationState},
};

#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum Migrate {
    /// List the migrations, and which were applied
    Status,
    /// Create the database if it is missing, and apply what is not applied yet
    Apply,
}

pub(super) fn run(command: Migrate, settings: &Settings) -> Result<(), CommandError> {
    let Database::Sqlite(path) = match &settings.database_url {
        Some(url) => parse_database(url)?,
        None => Database::default(),
    };
    match command {
        Migrate::Status => sqlite::status(&path)?
            .iter()
            .try_for_each(|state| print(line(state))),
        Migrate::Apply => {
            let applied = sqlite::migrate(&path)?;
            applied.iter().try_for_each(|state| print(line(state)))?;
            if applied.is_empty() {
                eprintln!("nothing to do: the schema is up to date");
            }
            Ok(())
        }
    }
}

fn line(state: &MigrationState) -> String {
    match state.applied {
        Some(at) => format!("{}  applied {at}", state.name),
        None => format!("{}  pending", state.name),
    }
}
