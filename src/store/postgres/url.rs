//! Reading a database URL: what PostgreSQL's own clients understand, as far as it makes sense here.

use std::{path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Config, Host, SslMode, TargetSessionAttrs};

/// Where servers are found when the URL names none: the folder that distributions agree on.
const USUAL_SOCKETS: &str = "/var/run/postgresql";

/// A server that does not answer is noticed within this time, also on a connection that is idle.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Which servers are believed to be the one that was meant
/// (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verify {
    /// Any that speaks TLS: `prefer`, `require`.
    Nothing,
    /// Those with a certificate of an authority that is trusted: `verify-ca`.
    Authority,
    /// ... and the right name in it: `verify-full`.
    Everything,
}

/// A database server and how to speak to it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) verify: Verify,
    /// The authorities to trust; the system's when there is no file.
    pub(super) roots: Option<PathBuf>,
}

impl Target {
    /// Reads a URL. The complaint names the part that is wrong, and never the password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let Some((_, rest)) = url.split_once("://") else {
            return Err("must begin with postgres://".to_owned());
        };
        // Up to the first @ it is user and password, which may hold anything else.
        let place = rest.split_once('@').map_or(rest, |(_, place)| place);
        let base = url.strip_suffix(place).unwrap_or_default();
        let (place, query) = place.split_once('?').unwrap_or((place, ""));
        if place.contains('@') {
            return Err("an @ in user, password or database must be written as %40".to_owned());
        }
        let base = format!("{base}{place}");
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "sslmode" => mode = Some(value),
                "sslrootcert" => roots = Some(value),
                _ => rest.push(pair),
            }
        }
        let plain = if rest.is_empty() {
            base
        } else {
            format!("{base}?{}", rest.join("&"))
        };
        let mut config: Config = plain.parse().map_err(|error: tokio_postgres::Error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })?;
        let (ssl_mode, verify) = match mode.as_deref() {
            Some("disable") => (SslMode::Disable, Verify::Nothing),
            None | Some("prefer") => (SslMode::Prefer, Verify::Nothing),
            // As PostgreSQL's own clients do: whoever names an authority wants it asked.
            Some("require") if roots.is_some() => (SslMode::Require, Verify::Authority),
            Some("require") => (SslMode::Require, Verify::Nothing),
            Some("verify-ca") => (SslMode::Require, Verify::Authority),
            Some("verify-full") => (SslMode::Require, Verify::Everything),
            Some(_) => {
                return Err("sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned());
            }
        };
        config.ssl_mode(ssl_mode);
        settle(&mut config);
        let roots = roots.filter(|roots| roots != "system").map(PathBuf::from);
        Ok(Self {
            config,
            verify,
            roots,
        })
    }

    /// The servers and the database, for people: no user, no password.
    pub(super) fn shown(&self) -> String {
        let ports = self.config.get_ports();
        let port = |at: usize| ports.get(at).or_else(|| ports.first()).copied().unwrap_or(5432);
        let hosts = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(at, host)| match host {
                Host::Tcp(name) => format!("{name}:{}", port(at)),
                Host::Unix(folder) => format!("{} (port {})", folder.display(), port(at)),
            });
        let hosts: Vec<_> = hosts.collect();
        let database = match self.config.get_dbname().or(self.config.get_user()) {
            Some(name) => format!("database {name}"),
            None => "this user's own database".to_owned(),
        };
        format!("{database} at {}", hosts.join(", "))
    }

    /// For a server that only ever answers questions.
    pub(super) fn reading_only(mut self) -> Self {
        self.config.target_session_attrs(TargetSessionAttrs::Any);
        self
    }
}

/// Fills in what the URL leaves open.
fn settle(config: &mut Config) {
    if config.get_hosts().is_empty() {
        config.host_path(USUAL_SOCKETS);
    }
    if config.get_application_name().is_none() {
        config.application_name("engagement");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    config.keepalives_idle(KEEPALIVE_IDLE);
    config.keepalives_interval(KEEPALIVE_INTERVAL);
    config.keepalives_retries(3);
    // After a failover the name may still lead to the server that is no longer the primary.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Target {
        Target::parse(&format!("postgres://u:p@db.example:5433/chat{query}")).unwrap()
    }

    #[test]
    fn sslmode_means_what_it_means_to_other_clients() {
        for (query, mode, verify) in [
            ("", SslMode::Prefer, Verify::Nothing),
            ("?sslmode=disable", SslMode::Disable, Verify::Nothing),
            ("?sslmode=require", SslMode::Require, Verify::Nothing),
            (
                "?sslmode=require&sslrootcert=ca.pem",
                SslMode::Require,
                Verify::Authority,
            ),
            ("?sslmode=verify-ca", SslMode::Require, Verify::Authority),
            (
                "?connect_timeout=1&sslmode=verify-full",
                SslMode::Require,
                Verify::Everything,
            ),
        ] {
            let target = parse(query);
            assert_eq!(
                (target.config.get_ssl_mode(), target.verify),
                (mode, verify),
                "{query}"
            );
        }
    }

    #[test]
    fn the_authorities_are_a_file_or_the_systems() {
        assert_eq!(
            parse("?sslrootcert=%2Fetc%2Fca%20root.pem").roots,
            Some("/etc/ca root.pem".into())
        );
        assert_eq!(parse("?sslrootcert=system").roots, None);
    }

    #[test]
    fn complaints_and_names_keep_the_password_to_themselves() {
        for url in [
            "postgres://u:secret@h:port/d",
            "postgres://u:secret@h/d?nonsense=1",
            "postgres://u:secret@h/d?sslmode=allow",
            "postgres:u:secret@h/d",
            "postgres://u:se@secret@h/d",
            "postgres://u:secret@h@secret/d",
        ] {
            let complaint = Target::parse(url).err().unwrap();
            assert!(!complaint.contains("secret"), "{complaint}");
        }
        assert_eq!(parse("").shown(), "database chat at db.example:5433");
    }

    #[test]
    fn a_password_may_hold_whatever_ends_no_password() {
        let target =
            Target::parse("postgres://u:p?q/r&s=%40%3A@h/d?sslmode=require&application_name=a@b").unwrap();
        assert_eq!(target.config.get_password(), Some("p?q/r&s=@:".as_bytes()));
        assert_eq!(target.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(target.config.get_application_name(), Some("a@b"));
    }

    #[test]
    fn a_url_without_a_host_means_the_servers_socket() {
        let target = Target::parse("postgres://").unwrap();
        assert_eq!(
            target.shown(),
            "this user's own database at /var/run/postgresql (port 5432)"
        );
        let target = Target::parse("postgres:///chat?user=me").unwrap();
        assert_eq!(target.config.get_hosts(), [Host::Unix(USUAL_SOCKETS.into())]);
        let target = Target::parse("postgres:///chat?user=me&host=/tmp/x").unwrap();
        assert_eq!(target.config.get_hosts(), [Host::Unix("/tmp/x".into())]);
    }
}
