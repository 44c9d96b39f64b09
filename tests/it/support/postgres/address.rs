//! The URL of a server, and the URLs that follow from it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What may stand in a parameter of a URL as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.');

/// `postgres://user:password@host:port/database?parameters`, taken apart as far as tests need it.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    url: String,
    /// With the `@`, if there is one.
    user: String,
    host: String,
    /// As they stand in the URL: `name=value`.
    parameters: Vec<String>,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Self {
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .unwrap_or_else(|| panic!("the URL of a PostgreSQL server begins with postgres://"));
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, _database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        Self {
            url: url.to_owned(),
            user: user.to_owned(),
            host: host.to_owned(),
            parameters: parameters
                .split('&')
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// A server that listens on a socket in this folder and trusts everybody.
    pub(crate) fn of_socket(folder: &Path, port: u16) -> Self {
        let folder = folder.to_str().expect("a folder whose name is text");
        let folder = utf8_percent_encode(folder, PLAIN);
        Self::parse(&format!(
            "postgres:///postgres?host={folder}&port={port}&user=postgres"
        ))
    }

    /// As it was given.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Another database of the same server.
    pub(crate) fn database(&self, name: &str) -> String {
        url(&self.user, &self.host, name, &self.parameters)
    }

    /// The same, by way of another host and port.
    pub(crate) fn database_through(&self, name: &str, way: SocketAddr) -> String {
        let is_a_place = |parameter: &&String| {
            ["host=", "hostaddr=", "port="]
                .iter()
                .any(|place| parameter.starts_with(place))
        };
        let others: Vec<_> = self
            .parameters
            .iter()
            .filter(|it| !is_a_place(it))
            .cloned()
            .collect();
        url(&self.user, &way.to_string(), name, &others)
    }
}

fn url(user: &str, host: &str, database: &str, parameters: &[String]) -> String {
    let mut url = format!("postgres://{user}{host}/{database}");
    if !parameters.is_empty() {
        write!(url, "?{}", parameters.join("&")).expect("a string takes it");
    }
    url
}
