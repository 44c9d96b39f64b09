//! What proxies in front say of those who asked them. Only proxies that the operator named are believed, and only in the
//! headers that they set: whatever else says so was sent by the client itself.
//!
//! A proxy adds to the end of what it was sent, so everything is read from the end, and no further than to the first address
//! that is no proxy's. What stands before that is the client's own tale.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};

use super::host::host_name;
use crate::{
    config::{HttpSettings, ProxyHeaders},
    http::accept::Connection,
};

pub(in crate::http) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is to be believed of a request that came by a trusted proxy.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said<'a> {
    /// Who asked the first of our proxies.
    client: Option<IpAddr>,
    /// For which host.
    host: Option<&'a str>,
    /// Whether by TLS.
    https: bool,
}

/// Finds out who asks. From here on, what the head says of the host and the scheme outside is to be believed.
pub(super) fn heed(settings: &HttpSettings, request: &mut Request) {
    if settings.trusted_proxies.is_empty() {
        // Then nobody looks at those headers.
        return;
    }
    let peer = request.extensions().get::<Connection>().map(Connection::address);
    let said = peer.and_then(|peer| said(settings, peer, request.headers()));
    let names_client = said.is_some() && request.headers().contains_key(naming(settings.proxy_headers));
    let Said { client, host, https } = said.unwrap_or_default();
    let host = host.and_then(|host| HeaderValue::from_str(host).ok());
    let scheme = https.then_some(HeaderValue::from_static("https"));
    for (name, believed) in [(X_FORWARDED_HOST, host), (X_FORWARDED_PROTO, scheme)] {
        match believed {
            Some(believed) => request.headers_mut().insert(name, believed),
            None => request.headers_mut().remove(name),
        };
    }
    if let Some(connection) = request
        .extensions_mut()
        .get_mut::<Connection>()
        .filter(|_| names_client)
    {
        connection.comes_from(client);
    }
}

/// Where a proxy names its clients.
const fn naming(proxy_headers: ProxyHeaders) -> HeaderName {
    match proxy_headers {
        ProxyHeaders::XForwarded => X_FORWARDED_FOR,
        ProxyHeaders::Forwarded => header::FORWARDED,
    }
}

/// The host that the client asked for, which is not always the one that its proxy asks for.
pub(in crate::http) fn host<'a>(settings: &HttpSettings, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let believed = match settings.trusted_proxies.as_slice() {
        [] => None,
        _ => headers.get(X_FORWARDED_HOST),
    };
    believed.or_else(|| headers.get(header::HOST))
}

/// How the client asked.
pub(in crate::http) fn scheme(settings: &HttpSettings, headers: &HeaderMap) -> &'static str {
    if !settings.trusted_proxies.is_empty() && headers.contains_key(X_FORWARDED_PROTO) {
        "https"
    } else {
        "http"
    }
}

/// What is said of a request from this peer; `None` if the peer is not one to believe.
fn said<'a>(settings: &HttpSettings, peer: IpAddr, headers: &'a HeaderMap) -> Option<Said<'a>> {
    let is_ours = |address: IpAddr| {
        settings
            .trusted_proxies
            .iter()
            .any(|network| network.contains(&address))
    };
    if !is_ours(peer.to_canonical()) {
        return None;
    }
    Some(match settings.proxy_headers {
        ProxyHeaders::XForwarded => x_forwarded(headers, is_ours),
        ProxyHeaders::Forwarded => forwarded(headers, is_ours),
    })
}

fn x_forwarded(headers: &HeaderMap, is_ours: impl Fn(IpAddr) -> bool) -> Said<'_> {
    let mut client = None;
    for given in last_first(headers, &X_FORWARDED_FOR) {
        client = given.and_then(address);
        if !client.is_some_and(&is_ours) {
            break;
        }
    }
    let last = |name| last_first(headers, name).next().flatten();
    Said {
        client,
        host: last(&X_FORWARDED_HOST).filter(|host| host_name(host).is_some()),
        https: last(&X_FORWARDED_PROTO).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
    }
}

fn forwarded(headers: &HeaderMap, is_ours: impl Fn(IpAddr) -> bool) -> Said<'_> {
    let mut said = Said::default();
    for element in last_first(headers, &header::FORWARDED) {
        let Some(element) = element.and_then(element_of) else {
            return Said::default();
        };
        said = element;
        if !said.client.is_some_and(&is_ours) {
            break;
        }
    }
    said
}

/// `for=192.0.2.1;proto=https;host="chat.example:8443"`, in any order. `None` if it is not of this form.
fn element_of(element: &str) -> Option<Said<'_>> {
    let mut said = Said::default();
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = match value.strip_prefix('"') {
            // Neither addresses nor hosts have anything to escape.
            Some(quoted) => quoted
                .strip_suffix('"')
                .filter(|value| !value.contains(['"', '\\']))?,
            None => value,
        };
        if name.eq_ignore_ascii_case("for") {
            said.client = address(value);
        } else if name.eq_ignore_ascii_case("host") {
            said.host = Some(value).filter(|host| host_name(host).is_some());
        } else if name.eq_ignore_ascii_case("proto") {
            said.https = value.eq_ignore_ascii_case("https");
        }
    }
    Some(said)
}

/// The members of a list that may come in several lines, the last first; `None` for one that is no text.
///
/// Each is read by itself, and quotes are followed from the end as well: what a client sent, odd bytes or a quote left
/// open, reaches no further than what the client sent.
fn last_first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line| {
        let mut quoted = false;
        let members = line.as_bytes().rsplit(move |byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        members.map(|member| std::str::from_utf8(member).ok().map(str::trim))
    })
}

/// An address as proxies write it: alone, in brackets, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let alone = bare.unwrap_or(text).parse::<IpAddr>();
    let address = alone.or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::config::{Config, Settings};

    /// What a proxy at 10.0.0.1 says, where 10.0.0.0/8 and `2001:db8::1` are ours.
    fn heard<T: AsRef<[u8]>>(
        which: ProxyHeaders,
        lines: &[(&'static str, T)],
    ) -> (Option<String>, Option<String>, bool) {
        let settings = Settings {
            trusted_proxies: Some("10.0.0.0/8, 2001:db8::1".into()),
            proxy_headers: Some(which),
            ..Settings::default()
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        }
        let settings = Config::new(&settings).unwrap().http;
        let said = said(&settings, "::ffff:10.0.0.1".parse().unwrap(), &headers).unwrap();
        let client = said.client.map(|address| address.to_string());
        (client, said.host.map(str::to_owned), said.https)
    }

    fn client<T: AsRef<[u8]>>(which: ProxyHeaders, lines: &[(&'static str, T)]) -> Option<String> {
        heard(which, lines).0
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxys() {
        for (line, expected) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("198.51.100.1, 203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.7, 10.1.2.3,2001:db8::1", Some("203.0.113.7")),
            ("10.9.9.9, 10.1.2.3", Some("10.9.9.9")),
            ("203.0.113.7:4711", Some("203.0.113.7")),
            ("[2001:db8::7]:4711", Some("2001:db8::7")),
            ("[2001:db8::7]", Some("2001:db8::7")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("::ffff:203.0.113.7", Some("203.0.113.7")),
            ("forged, 203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.7, forged", None),
            ("203.0.113.7, ", None),
            ("0x7f000001", None),
            ("", None),
        ] {
            let given = client(ProxyHeaders::XForwarded, &[("x-forwarded-for", line)]);
            assert_eq!(given.as_deref(), expected, "{line}");
        }
        let lines = [
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "203.0.113.7, 10.1.1.1"),
        ];
        assert_eq!(
            client(ProxyHeaders::XForwarded, &lines).as_deref(),
            Some("203.0.113.7")
        );
    }

    #[test]
    fn forwarded_is_read_from_its_end_whatever_a_client_put_before_it() {
        for (line, expected) in [
            (
                "for=203.0.113.7;proto=https;host=chat.example",
                Some("203.0.113.7"),
            ),
            ("For=\"[2001:db8::7]:4711\"; proto=http", Some("2001:db8::7")),
            (
                "for=198.51.100.1, for=203.0.113.7, for=10.1.1.1;by=10.0.0.1",
                Some("203.0.113.7"),
            ),
            ("for=\"forged, for=203.0.113.7", Some("203.0.113.7")),
            (
                "for=\"forged\\\", for=203.0.113.7;host=\"a,b\", for=203.0.113.8",
                Some("203.0.113.8"),
            ),
            ("for=203.0.113.7, for=unknown", None),
            ("for=203.0.113.7, for=_hidden", None),
            ("for=203.0.113.7, nonsense", None),
            ("for=\"203.0.113.7", None),
            ("for=\"203.0.113.7\\\"\"", None),
            ("", None),
        ] {
            let given = client(ProxyHeaders::Forwarded, &[("forwarded", line)]);
            assert_eq!(given.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_spoil_no_more_than_their_own_member() {
        for (line, expected) in [
            (b"\xff, 203.0.113.7".as_slice(), Some("203.0.113.7")),
            (b"\xff\", 203.0.113.7", Some("203.0.113.7")),
            (b"198.51.100.1\xc3, 203.0.113.7, 10.1.1.1", Some("203.0.113.7")),
            (b"203.0.113.7, \xff", None),
            (b"203.0.113.7\xff", None),
        ] {
            let given = client(ProxyHeaders::XForwarded, &[("x-forwarded-for", line)]);
            assert_eq!(given.as_deref(), expected, "{}", line.escape_ascii());
        }
        for (line, expected) in [
            (b"for=\xff, for=203.0.113.7".as_slice(), Some("203.0.113.7")),
            (b"for=\"\xff, for=203.0.113.7;host=\"a,b\"", Some("203.0.113.7")),
            (b"for=203.0.113.7, for=\xff", None),
        ] {
            let given = client(ProxyHeaders::Forwarded, &[("forwarded", line)]);
            assert_eq!(given.as_deref(), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn host_and_scheme_come_with_the_client() {
        let line =
            "for=203.0.113.7;proto=https;host=\"chat.example:8443\", for=10.1.1.1;proto=http;host=inner";
        let (_, host, https) = heard(ProxyHeaders::Forwarded, &[("forwarded", line)]);
        assert_eq!((host.as_deref(), https), (Some("chat.example:8443"), true));
        let lines = [
            ("x-forwarded-host", "forged.example, chat.example"),
            ("x-forwarded-proto", "HTTPS"),
        ];
        let (_, host, https) = heard(ProxyHeaders::XForwarded, &lines);
        assert_eq!((host.as_deref(), https), (Some("chat.example"), true));
        let lines = [("x-forwarded-host", "no host"), ("x-forwarded-proto", "ftp")];
        assert_eq!(heard(ProxyHeaders::XForwarded, &lines), (None, None, false));
    }

    #[test]
    fn only_one_family_of_headers_counts() {
        let both = [
            ("x-forwarded-for", "203.0.113.7"),
            ("forwarded", "for=203.0.113.8"),
        ];
        assert_eq!(
            client(ProxyHeaders::XForwarded, &both).as_deref(),
            Some("203.0.113.7")
        );
        assert_eq!(
            client(ProxyHeaders::Forwarded, &both).as_deref(),
            Some("203.0.113.8")
        );
    }
}
