use super::CommandError;
use crate::{
    app::{self, Failure},
    config::Config,
    telemetry::logging,
};

pub(super) fn run(config: Config) -> Result<(), CommandError> {
    let _logging = logging::start(&config.logs).map_err(|cause| CommandError {
        message: match &config.logs.file {
            Some(path) => format!("cannot write the log file {}: {cause}", path.display()),
            None => format!("cannot start logging: {cause}"),
        },
        hint: "give a path that this user may write, or none: --log-file off".to_owned(),
        code: super::REFUSED,
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(app::worker_threads())
        .enable_all()
        .build()
        .map_err(Failure::Other)?;
    let served = runtime.block_on(app::serve(config));
    // What has not ended by now was asked to, and had its time.
    runtime.shutdown_background();
    Ok(served?)
}
