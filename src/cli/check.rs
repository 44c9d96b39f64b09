use super::{CommandError, UNAVAILABLE, checklist, print};
use crate::{
    app::{self, database},
    clock::Clock,
    config::{Config, Settings},
    model::ApiKey,
    provider,
    telemetry::metrics::Metrics,
};

pub(super) fn run(settings: &Settings) -> Result<(), CommandError> {
    let config = &Config::new(settings)?;
    database::validate(&config.database)?;
    provider::build(&config.providers, &Metrics::off())?;
    print("configuration: ok")?;
    let pending = database::status(&config.database)?
        .iter()
        .filter(|state| state.applied.is_none())
        .count();
    let problems = database::check_integrity(&config.database)?;
    if let Some(first) = problems.first() {
        return Err(CommandError {
            message: format!(
                "the database is damaged, {} problems; the first: {first}",
                problems.len()
            ),
            hint: "restore a backup".to_owned(),
            code: UNAVAILABLE,
        });
    }
    database::refuse_unfinished(&config.database)?;
    match pending {
        0 => print("database: ok"),
        _ => print(format_args!(
            "database: ok, {pending} migrations pending (applied when the server starts)"
        )),
    }?;
    if !config.access.production {
        return Ok(());
    }
    // Looking must not change the schema.
    let keys = if pending == 0 { Some(keys(config)?) } else { None };
    checklist::run(settings, config, keys.as_deref(), Clock::system().now())
}

fn keys(config: &Config) -> Result<Vec<ApiKey>, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(app::Failure::Other)?;
    runtime.block_on(async {
        let keys = app::keys::open(&config.database).await?.keys().await;
        keys.map_err(|cause| CommandError {
            message: format!("the keys cannot be read: {cause}"),
            hint: "run this again".to_owned(),
            code: UNAVAILABLE,
        })
    })
}
