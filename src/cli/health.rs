use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use clap::Args;

use super::{CommandError, UNAVAILABLE, near, print};
use crate::config::{Config, Settings};

/// How long a running service may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Ask only whether the process lives, not whether it can answer requests
    #[arg(long)]
    live: bool,
}

pub(super) fn run(health: &Health, settings: &Settings) -> Result<(), CommandError> {
    let listen = Config::new(settings)?.http.listen;
    let (probe, well) = if health.live {
        ("/livez", "alive")
    } else {
        ("/readyz", "ready")
    };
    let failed = |problem: String| CommandError {
        message: format!("the service at {listen} {problem}"),
        hint: "see its log".to_owned(),
        code: UNAVAILABLE,
    };
    let answer = ask(near(listen), probe).map_err(|cause| failed(format!("does not answer: {cause}")))?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        print(format_args!("service: {well}"))
    } else {
        Err(failed(format!("is not {well}: it answers {status}")))
    }
}

/// By hand: a client library would be the largest part of a check that runs every few seconds.
fn ask(address: SocketAddr, probe: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(connection, "GET {probe} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}
