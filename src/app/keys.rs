//! The keys of a database that a service may be using, for the command line beside it.

use std::sync::Arc;

use super::database::{OpenError, postgres_options};
use crate::{
    config::Database,
    store::{
        KeyStore,
        postgres::{self, PostgresKeys},
        sqlite::SqliteKeys,
    },
};

/// Opens the keys; creates the database if that is for us to do, and brings its schema up to date.
pub async fn open(database: &Database) -> Result<Arc<dyn KeyStore>, OpenError> {
    match database {
        Database::Sqlite(path) => Ok(Arc::new(SqliteKeys::open(path)?)),
        Database::Postgres(settings) => {
            let options = postgres_options(settings);
            postgres::validate(&options)?;
            Ok(Arc::new(PostgresKeys::open(&options).await?))
        }
    }
}
