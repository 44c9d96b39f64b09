use std::sync::Arc;

use clap::Args;

use super::CommandError;
use crate::{
    app::{self, Duty, Failure},
    config::{Config, Database},
    ids::IdSource,
    provider,
    telemetry::{Telemetry, logging, traces::Traces},
};

#[derive(Debug, Default, Args)]
pub(super) struct Serve {
    /// Leave the replies to workers on the same PostgreSQL database
    #[arg(long)]
    pub(super) no_replies: bool,
}

pub(super) fn run(config: Config, duty: Duty) -> Result<(), CommandError> {
    if duty != Duty::Everything && matches!(config.database, Database::Sqlite(_)) {
        return Err(CommandError {
            message: "workers and nodes that leave them the replies need PostgreSQL: a SQLite database belongs to one process".to_owned(),
            hint: "run plain `engagement serve`, or give a server's: --database-url postgres://user@host/database".to_owned(),
            code: super::REFUSED,
        });
    }
    let logging = logging::start(&config.logs).map_err(|cause| CommandError {
        message: match &config.logs.file {
            Some(path) => format!("cannot write the log file {}: {cause}", path.display()),
            None => format!("cannot start logging: {cause}"),
        },
        hint: "give a path that this user may write, or none: --log-file off".to_owned(),
        code: super::REFUSED,
    })?;
    let metrics = app::metrics(&config)?;
    metrics.ask(Arc::new(logging.lost()));
    let providers = provider::build(&config.providers, &metrics)?;
    // Its client of HTTP must not be made on a thread that runs tasks.
    let traces = Traces::start(config.traces.as_ref(), IdSource::random().instance())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(app::worker_threads())
        .enable_all()
        .build()
        .map_err(Failure::Other)?;
    let served = runtime.block_on(app::run(config, providers, Telemetry { metrics, traces }, duty));
    // What has not ended by now was asked to, and had its time.
    runtime.shutdown_background();
    Ok(served?)
}
