use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use clap::Args;

use super::{CommandError, UNAVAILABLE, checklist, print};
use crate::{
    app::{self, database},
    clock::Clock,
    config::{Config, Settings},
    model::ApiKey,
    provider,
};

/// How long a running service may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Ask the service that runs at the configured address whether it is ready
    #[arg(long)]
    live: bool,
}

pub(super) fn run(command: &Check, settings: &Settings) -> Result<(), CommandError> {
    let config = &Config::new(settings)?;
    if command.live {
        return live(config.http.listen);
    }
    database::validate(&config.database)?;
    provider::build(&config.providers)?;
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

fn live(listen: SocketAddr) -> Result<(), CommandError> {
    let failed = |problem: String| CommandError {
        message: format!("the service at {listen} {problem}"),
        hint: "see its log".to_owned(),
        code: UNAVAILABLE,
    };
    let answer = ask(listen).map_err(|cause| failed(format!("does not answer: {cause}")))?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        print("service: ready")
    } else {
        Err(failed(format!("is not ready: it answers {status}")))
    }
}

fn ask(listen: SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&super::near(listen), PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}
