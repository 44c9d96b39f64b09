//! Who the request thinks it is talking to, and how long it takes to say so.

use axum::{
    extract::Request,
    http::{
        Version, header,
        uri::{Authority, Scheme},
    },
};

use super::proxies;
use crate::http::{Http, accept::Connection, problem::Problem};

/// The longest path and query together, in bytes.
pub(in crate::http) const LONGEST_TARGET: usize = 8 * 1024;

/// Judges a request by its target and its host.
pub(super) fn judge(http: &Http, request: &Request) -> Result<(), Problem> {
    let (uri, headers) = (request.uri(), request.headers());
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if target > LONGEST_TARGET {
        return Err(Problem::uri_too_long());
    }
    // RFC 9112 lets a target name the service. hyper takes any scheme there, even an empty one.
    if uri
        .scheme()
        .is_some_and(|scheme| ![Scheme::HTTP, Scheme::HTTPS].contains(scheme))
    {
        return Err(Problem::bad_request(
            "The request target is neither a path nor an http URL.",
        ));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().map_err(|_| invalid())?),
        // HTTP/1.0 knew no hosts, and some health checks still speak it.
        (None, None) if request.version() == Version::HTTP_10 => None,
        _ => return Err(Problem::bad_request("Exactly one Host header is required.")),
    };
    let authority = uri.authority().map(Authority::as_str);
    let mut name = host.or(authority).map(host_or_invalid).transpose()?;
    if let (Some(host), Some(authority)) = (host, authority)
        && !authority.eq_ignore_ascii_case(host)
    {
        return Err(Problem::bad_request(
            "The Host header differs from the request target.",
        ));
    }
    let allowed = &http.settings.allowed_hosts;
    let connection = request.extensions().get::<Connection>();
    // Names are for the API; whoever watches asks for an address, or for a name inside.
    if allowed.is_empty() || connection.is_some_and(Connection::watches) {
        return Ok(());
    }
    // What a proxy calls us is its own affair; what counts is what it was asked for.
    if let Some(outside) = proxies::host(&http.settings, headers) {
        name = Some(
            outside
                .to_str()
                .map_err(|_| invalid())
                .and_then(host_or_invalid)?,
        );
    }
    match name {
        Some(name) if !allowed.contains(&name.trim_end_matches('.').to_ascii_lowercase()) => Err(invalid()),
        // Who names no host is sent nowhere by it: links begin with the address then.
        Some(_) | None => Ok(()),
    }
}

fn invalid() -> Problem {
    Problem::bad_request("Invalid Host header.")
}

fn host_or_invalid(host: &str) -> Result<&str, Problem> {
    host_name(host).ok_or_else(invalid)
}

/// The name without the port, if the whole is a host as Django takes it: letters, digits, dots and
/// hyphens, or an IPv6 address in brackets, and then perhaps a port.
pub(super) fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (host.get(..address.len() + 2)?, port)
        }
        None => {
            let end = host.find(':').unwrap_or(host.len());
            let (name, port) = host.split_at(end);
            let fits = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
            (!name.is_empty() && fits).then_some((name, port))?
        }
    };
    let port_fits = match port.strip_prefix(':') {
        Some(digits) => {
            !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
        }
        None => port.is_empty(),
    };
    port_fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_port() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("Chat.Example.com:8000", "Chat.Example.com"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:8000", "[::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(host_name(host), Some(name), "{host}");
        }
        for host in [
            "", "a b", "a_b", "<a>", "a:", "a:b", "a:1:2", "[::1", "[zz]", "a/b", "a@b", "é", "[::1]x", ":80",
        ] {
            assert_eq!(host_name(host), None, "{host}");
        }
    }
}
