use clap::Subcommand;

use super::{CommandError, print};
use crate::{
    app::database,
    config::{self, Settings},
    store::MigrationState,
};

#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum Migrate {
    /// List the migrations, and which were applied
    Status,
    /// Create the database if it is missing, and apply what is not applied yet
    Apply,
}

pub(super) fn run(command: Migrate, settings: &Settings) -> Result<(), CommandError> {
    let database = config::database(settings)?;
    match command {
        Migrate::Status => database::status(&database)?
            .iter()
            .try_for_each(|state| print(line(state))),
        Migrate::Apply => {
            let applied = database::migrate(&database)?;
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
