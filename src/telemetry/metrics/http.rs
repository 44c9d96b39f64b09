//! What is counted of requests, connections and streams.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, Result};

use super::{
    Each, Metric, Open, cases,
    cells::{SHORT, counter, counters, gauge, histograms},
};

/// What stands for a request without a route.
const NO_ROUTE: &str = "(none)";

/// Below what the same routes are served again.
const PREFIX: &str = "/api/v1";

/// The methods that are told apart.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT", "OTHER",
];

/// The statuses that are given.
const STATUSES: [u16; 26] = [
    200, 201, 202, 204, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 414, 415,
    422, 429, 431, 500, 503,
];

cases! {
    /// Why a request was refused that was right by itself.
    Refused {
        /// As many requests are worked on as may be.
        InFlight: "requests",
        /// As many writes are under way as may be.
        Writes: "writes",
        /// There is no room for its body.
        Bodies: "bodies",
        /// There is no room for its answer.
        Answers: "answers",
        /// There are as many streams as there may be.
        Streams: "streams",
        /// Too many replies are unfinished.
        Backlog: "replies",
        /// An address reads too often.
        Reads: "reads",
        /// It was told too often that it may not.
        Unauthorized: "unauthorized",
        /// It asked too often for what is not there.
        NotFound: "not-found",
        /// A key asks too often.
        KeyRequests: "key-requests",
        /// It creates too many messages.
        KeyMessages: "key-messages",
        /// It has too many replies unfinished.
        KeyReplies: "key-replies",
        /// Its replies have cost too much.
        KeyTokens: "key-tokens",
        /// A conversation, or an address, has too many streams.
        StreamsOfOne: "streams",
    }
}

impl Refused {
    /// Whether it was a limit that the client met: 429.
    const fn is_limit(self) -> bool {
        !matches!(
            self,
            Self::InFlight | Self::Writes | Self::Bodies | Self::Answers | Self::Streams | Self::Backlog
        )
    }
}

cases! {
    /// Why a connection was closed on its client.
    Dropped {
        /// There are as many as there may be.
        TooMany: "too_many",
        /// The head of a request did not come.
        SlowHead: "slow_head",
        /// The client took nothing of its answer.
        Stalled: "stalled",
    }
}

cases! {
    /// Why a stream ended.
    StreamEnd {
        /// What was watched is over.
        Over: "over",
        /// The service stops.
        Stopping: "stopping",
        /// The key that opened it opens nothing any more.
        Key: "key",
        /// Its client left, or took nothing.
        Client: "client",
    }
}

/// What is counted of requests, connections and streams; nothing, unless it was made by [`HttpMetrics::of`].
#[derive(Debug, Clone, Default)]
pub struct HttpMetrics(Option<Arc<Cells>>);

#[derive(Debug)]
struct Cells {
    requests: IntCounterVec,
    durations: HistogramVec,
    /// By length and name.
    routes: Vec<Route>,
    unrouted: Route,
    in_flight: IntGauge,
    connections: IntGauge,
    dropped: Each<IntCounter>,
    refused: Each<IntCounter>,
    replays: IntCounter,
    streams: IntGauge,
    ended: Each<IntCounter>,
}

/// One route, by method.
#[derive(Debug)]
struct Route {
    template: &'static str,
    methods: [Method; METHODS.len()],
}

/// Its cells are made when they are first needed, as all there could be would be thousands of series.
#[derive(Debug)]
struct Method {
    name: &'static str,
    /// By status, and for any other.
    answers: [OnceLock<IntCounter>; STATUSES.len() + 1],
    took: OnceLock<Histogram>,
}

impl HttpMetrics {
    /// Counts requests to these routes, which are templates without a prefix and without a slash at their end.
    pub(super) fn of(registry: &Registry, routes: &[&'static str]) -> Result<Self> {
        let mut routes: Vec<_> = routes.iter().map(|template| Route::new(template)).collect();
        routes.sort_by_key(|route| order(route.template));
        let dropped = counters(registry, Metric::HttpDropped)?;
        let limits = counters(registry, Metric::LimitExceeded)?;
        let overload = counters(registry, Metric::HttpOverload)?;
        let ended = counters(registry, Metric::StreamsEnded)?;
        Ok(Self(Some(Arc::new(Cells {
            requests: counters(registry, Metric::HttpRequests)?,
            durations: histograms(registry, Metric::HttpDuration, SHORT)?,
            routes,
            unrouted: Route::new(NO_ROUTE),
            in_flight: gauge(registry, Metric::HttpInFlight)?,
            connections: gauge(registry, Metric::HttpConnections)?,
            dropped: Dropped::each(|why| dropped.with_label_values(&[why.name()])),
            refused: Refused::each(|why| {
                let refused = if why.is_limit() { &limits } else { &overload };
                refused.with_label_values(&[why.name()])
            }),
            replays: counter(registry, Metric::Replays)?,
            streams: gauge(registry, Metric::Streams)?,
            ended: StreamEnd::each(|why| ended.with_label_values(&[why.name()])),
        }))))
    }

    /// Whether anything is counted.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// A request is under way, until what this gives is dropped.
    pub fn enter(&self) -> Open {
        Open::begin(self.0.as_ref().map(|cells| &cells.in_flight))
    }

    /// A request was answered; `template` is that of its route, however it was written.
    pub fn answered(&self, method: &str, template: Option<&str>, status: u16, took: Duration) {
        let Some(cells) = &self.0 else { return };
        let route = template.map_or(&cells.unrouted, |template| cells.route(template));
        let mut methods = route.methods.iter();
        if let Some(method) = methods
            .find(|known| known.name == method)
            .or(route.methods.last())
        {
            method.answered(cells, route.template, status, took);
        }
    }

    /// A request was refused.
    pub fn refused(&self, why: Refused) {
        if let Some(count) = self.0.as_ref().and_then(|cells| cells.refused.at(why as usize)) {
            count.inc();
        }
    }

    /// A request was answered as it was before.
    pub fn replayed(&self) {
        if let Some(cells) = &self.0 {
            cells.replays.inc();
        }
    }

    /// A connection is open, until what this gives is dropped.
    pub fn connected(&self) -> Open {
        Open::begin(self.0.as_ref().map(|cells| &cells.connections))
    }

    /// A connection is closed.
    pub fn dropped(&self, why: Dropped) {
        if let Some(count) = self.0.as_ref().and_then(|cells| cells.dropped.at(why as usize)) {
            count.inc();
        }
    }

    /// A stream is open, until what this gives is dropped.
    pub fn streaming(&self) -> Open {
        Open::begin(self.0.as_ref().map(|cells| &cells.streams))
    }

    /// A stream ended.
    pub fn stream_ended(&self, why: StreamEnd) {
        if let Some(count) = self.0.as_ref().and_then(|cells| cells.ended.at(why as usize)) {
            count.inc();
        }
    }
}

impl Cells {
    /// Found without hashing: there are few of them, and lengths tell most of them apart.
    fn route(&self, template: &str) -> &Route {
        let bare = bare(template);
        let found = self
            .routes
            .binary_search_by_key(&order(bare), |route| order(route.template));
        found
            .ok()
            .and_then(|at| self.routes.get(at))
            .unwrap_or(&self.unrouted)
    }
}

/// A template without what makes no other route of it.
fn bare(template: &str) -> &str {
    let bare = template.strip_prefix(PREFIX).unwrap_or(template);
    bare.strip_suffix('/').unwrap_or(bare)
}

const fn order(template: &str) -> (usize, &str) {
    (template.len(), template)
}

impl Route {
    fn new(template: &'static str) -> Self {
        Self {
            template,
            methods: METHODS.map(|name| Method {
                name,
                answers: [const { OnceLock::new() }; _],
                took: OnceLock::new(),
            }),
        }
    }
}

impl Method {
    fn answered(&self, cells: &Cells, route: &str, status: u16, took: Duration) {
        let known = STATUSES.iter().position(|known| *known == status);
        if let Some(answers) = self.answers.get(known.unwrap_or(STATUSES.len())) {
            let first = || {
                let status = known.map_or_else(|| "other".to_owned(), |_| status.to_string());
                cells.requests.with_label_values(&[self.name, route, &status])
            };
            answers.get_or_init(first).inc();
        }
        let first = || cells.durations.with_label_values(&[self.name, route]);
        self.took.get_or_init(first).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Page;

    fn of(routes: &[&'static str]) -> (HttpMetrics, Registry) {
        let registry = Registry::new();
        (HttpMetrics::of(&registry, routes).unwrap(), registry)
    }

    fn told(registry: &Registry) -> String {
        Page::of(registry).into_text().unwrap()
    }

    #[test]
    fn a_route_is_one_however_it_is_written() {
        let (metrics, registry) = of(&["/conversations/{conversation_id}", "/conversations", "/livez"]);
        for template in [
            "/conversations/{conversation_id}",
            "/conversations/{conversation_id}/",
            "/api/v1/conversations/{conversation_id}",
            "/api/v1/conversations/{conversation_id}/",
        ] {
            metrics.answered("GET", Some(template), 200, Duration::from_millis(1));
        }
        let text = told(&registry);
        let line = r#"engagement_http_requests_total{method="GET",route="/conversations/{conversation_id}",status="200"} 4"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn what_nobody_knows_makes_no_series_of_its_own() {
        let (metrics, registry) = of(&["/livez"]);
        for (method, template, status) in [
            ("BREW", Some("/livez"), 200),
            ("LINK", Some("/livez"), 299),
            ("GET", None, 404),
            ("GET", Some("/who/{knows}"), 404),
        ] {
            metrics.answered(method, template, status, Duration::ZERO);
        }
        let text = told(&registry);
        for line in [
            r#"{method="OTHER",route="/livez",status="200"} 1"#,
            r#"{method="OTHER",route="/livez",status="other"} 1"#,
            r#"{method="GET",route="(none)",status="404"} 2"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("BREW") && !text.contains("knows"));
    }

    #[test]
    fn what_is_under_way_ends_with_its_guard() {
        let (metrics, registry) = of(&[]);
        let (request, stream) = (metrics.enter(), metrics.streaming());
        let text = told(&registry);
        assert!(text.contains("engagement_http_requests_in_flight 1\n"), "{text}");
        assert!(text.contains("engagement_streams 1\n"), "{text}");
        drop((request, stream));
        let text = told(&registry);
        assert!(text.contains("engagement_http_requests_in_flight 0\n"), "{text}");
        assert!(text.contains("engagement_streams 0\n"), "{text}");
    }
}
