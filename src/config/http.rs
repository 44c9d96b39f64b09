use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;

use super::{ConfigError, LimitSettings, MOST_AT_ONCE, Settings, limits, seconds, value::List, within};

/// Who may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    /// Whoever knows the id.
    #[default]
    Public,
    /// Whoever has a key.
    Key,
}

/// In which headers proxies say who asked them, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeaders {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded`, of RFC 7239.
    Forwarded,
}

/// Who is told the metrics where the API is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Nobody: there are none, or they have a listener of their own.
    Nobody,
    /// Whoever asks from this machine, and others with a key.
    Near,
    /// Whoever has a key that may read them.
    Key,
}

/// How HTTP is served.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to listen for metrics and probes alone.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether anything is counted.
    pub metrics: bool,
    /// Who is told at `listen`.
    pub metrics_access: MetricsAccess,
    /// Base of links, without a slash at its end.
    pub public_url: Option<String>,
    /// Who may read.
    pub reads: Reads,
    /// Host names to answer to, in lower case and without port; any when empty.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may call.
    pub cors_origins: Vec<String>,
    /// Proxies whose word on clients counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Where they say it.
    pub proxy_headers: ProxyHeaders,
    /// Whether browsers are told to come back by TLS only.
    pub hsts: bool,
    /// Who may do how much.
    pub limits: LimitSettings,
    /// Open connections.
    pub max_connections: usize,
    /// Requests worked on at once.
    pub max_in_flight: usize,
    /// Bytes of bodies that are held at once.
    pub max_bodies: usize,
    /// Bytes of long answers held at once.
    pub max_answers: usize,
    /// Streams of events, of any conversation.
    pub max_streams: usize,
    /// Streams of events of one conversation.
    pub max_streams_per_conversation: usize,
    /// Streams of events to one address; as many as there are connections when it is 0.
    pub max_streams_per_address: usize,
    /// For a request's head.
    pub header_timeout: Duration,
    /// For the next request on the same connection to begin.
    pub idle_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// For the work, from the end of the body.
    pub handler_timeout: Duration,
    /// For what is under way when the service stops.
    pub drain_timeout: Duration,
}

pub(super) fn section(settings: &Settings) -> Result<HttpSettings, ConfigError> {
    let at_once = 1..=MOST_AT_ONCE;
    let public_url = settings.public_url.as_deref().map(public_url).transpose()?;
    let by_tls = public_url
        .as_deref()
        .is_some_and(|url| url.starts_with("https://"));
    let bodies_mib = within("max_bodies_mib", settings.max_bodies_mib, 64, &(1..=1024 * 1024))?;
    // The longest answer must fit.
    let answers_mib = within(
        "max_answers_mib",
        settings.max_answers_mib,
        256,
        &(64..=1024 * 1024),
    )?;
    let listen = settings
        .listen
        .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)));
    let metrics = settings.metrics.unwrap_or(true);
    Ok(HttpSettings {
        listen,
        metrics_listen: settings.metrics_listen.filter(|_| metrics),
        metrics,
        metrics_access: if !metrics || settings.metrics_listen.is_some() {
            MetricsAccess::Nobody
        } else if listen.ip().is_loopback() && !settings.production.unwrap_or_default() {
            MetricsAccess::Near
        } else {
            MetricsAccess::Key
        },
        // Production has no business on the open network without TLS in front of it.
        hsts: by_tls || settings.production.unwrap_or_default(),
        public_url,
        reads: settings.reads.unwrap_or_default(),
        allowed_hosts: list(settings.allowed_hosts.as_ref())
            .map(|host| host_name(host))
            .collect::<Result<_, _>>()?,
        cors_origins: list(settings.cors_origins.as_ref())
            .map(|origin| cors_origin(origin))
            .collect::<Result<_, _>>()?,
        trusted_proxies: list(settings.trusted_proxies.as_ref())
            .map(|proxy| network(proxy))
            .collect::<Result<_, _>>()?,
        proxy_headers: settings.proxy_headers.unwrap_or_default(),
        limits: limits::section(settings),
        max_connections: within("max_connections", settings.max_connections, 8_192, &at_once)?,
        max_in_flight: within("max_in_flight", settings.max_in_flight, 1_024, &at_once)?,
        max_bodies: bodies_mib.saturating_mul(1024 * 1024),
        max_answers: answers_mib.saturating_mul(1024 * 1024),
        max_streams: within("max_streams", settings.max_streams, 4_096, &at_once)?,
        max_streams_per_conversation: within(
            "max_streams_per_conversation",
            settings.max_streams_per_conversation,
            1_024,
            &at_once,
        )?,
        max_streams_per_address: within(
            "max_streams_per_address",
            settings.max_streams_per_address,
            0,
            &(0..=MOST_AT_ONCE),
        )?,
        header_timeout: seconds("header_timeout_s", settings.header_timeout_s, 10)?,
        idle_timeout: seconds("idle_timeout_s", settings.idle_timeout_s, 75)?,
        body_timeout: seconds("body_timeout_s", settings.body_timeout_s, 30)?,
        handler_timeout: seconds("handler_timeout_s", settings.handler_timeout_s, 15)?,
        drain_timeout: seconds("drain_timeout_s", settings.drain_timeout_s, 8)?,
    })
}

fn list(given: Option<&List>) -> impl Iterator<Item = &String> {
    given.into_iter().flat_map(|list| &list.0)
}

/// An address, or a network with the number of its bits.
fn network(text: &str) -> Result<IpNet, ConfigError> {
    let address = |text: &str| {
        text.parse::<IpAddr>()
            .map(|address| IpNet::from(address.to_canonical()))
    };
    text.parse().or_else(|_| address(text)).map_err(|_| {
        let hint = "for instance: --trusted-proxies 127.0.0.1,10.0.0.0/8";
        ConfigError::new(
            "trusted_proxies",
            format!("`{text}` is no address and no network"),
            hint,
        )
    })
}

/// An absolute http(s) URL without query, its final slash removed.
fn public_url(url: &str) -> Result<String, ConfigError> {
    let after_scheme = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .unwrap_or_default();
    let printable = url.bytes().all(|byte| byte.is_ascii_graphic());
    if after_scheme.is_empty()
        || after_scheme.starts_with('/')
        || after_scheme.contains(['?', '#'])
        || !printable
    {
        let hint = "for instance: --public-url https://chat.example.com";
        return Err(ConfigError::new(
            "public_url",
            "must be an absolute http or https URL",
            hint,
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// A name as it is compared with those that requests ask for: without a port, which they may have.
fn host_name(text: &str) -> Result<String, ConfigError> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_address = || {
        let inside = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inside.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
    };
    if name.split('.').all(is_label) || is_address() {
        return Ok(name);
    }
    Err(ConfigError::new(
        "allowed_hosts",
        format!("`{text}` is no host name"),
        "without scheme, port, path and wildcards, for instance: --allowed-hosts chat.example.com,127.0.0.1,[::1]",
    ))
}

/// An origin as browsers send it: scheme, host and port, nothing else.
fn cors_origin(origin: &str) -> Result<String, ConfigError> {
    let host = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))
        .unwrap_or_default();
    let printable = origin.bytes().all(|byte| byte.is_ascii_graphic());
    if host.is_empty() || host.contains(['/', '*', '?', '#']) || !printable {
        let hint = "for instance: --cors-origins https://app.example.com";
        return Err(ConfigError::new(
            "cors_origins",
            format!("`{origin}` is no origin"),
            hint,
        ));
    }
    Ok(origin.to_owned())
}
