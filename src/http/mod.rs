//! HTTP: the only room that knows axum, status codes and JSON on the wire.
//!
//! A request passes `layer::around`, then its route: `api` for the service's contract, `ops` for
//! health, `openapi` for the document that describes both. Handlers parse, call the service, and shape the answer; they hold no business rule.

mod accept;
mod api;
mod layer;
mod openapi;
mod ops;
mod problem;
mod room;
mod streams;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

pub use axum::Router;
use axum::middleware;
use tokio::sync::Semaphore;

pub use accept::{Listener, serve};
pub use api::{Access, KeyShape, RouteInfo, table};
pub use openapi::document;

use self::{api::UnderWay, layer::overload::Overload, problem::Problem, room::Room, streams::Streams};
use crate::{
    access::Keyring,
    clock::Seldom,
    config::HttpSettings,
    ids::RequestIds,
    limits::Limits,
    service::Service,
    shutdown::Shutdown,
    telemetry::{
        Telemetry,
        metrics::{HttpMetrics, Metrics},
        traces::Traces,
    },
};

/// What every request can reach.
pub struct Http {
    settings: HttpSettings,
    keyring: OnceLock<Keyring>,
    service: OnceLock<Service>,
    in_flight: Semaphore,
    bodies: Room,
    answers: Room,
    limits: Limits,
    /// For the line about those who ask too often.
    throttled: Seldom,
    overload: Overload,
    streams: Streams,
    under_way: UnderWay,
    request_ids: RequestIds,
    /// What is told of the process, and what is counted here of it.
    metrics: Metrics,
    counts: HttpMetrics,
    traces: Traces,
    shutdown: Shutdown,
}

impl Http {
    /// The state of a server whose service is still being made ready.
    pub fn new(settings: HttpSettings, shutdown: Shutdown, telemetry: Telemetry) -> Arc<Self> {
        let Telemetry { metrics, traces } = telemetry;
        Arc::new(Self {
            counts: metrics.http(),
            keyring: OnceLock::new(),
            service: OnceLock::new(),
            in_flight: Semaphore::new(settings.max_in_flight),
            bodies: Room::of(settings.max_bodies),
            answers: Room::of(settings.max_answers),
            limits: Limits::new(settings.limits),
            throttled: Seldom::every(Duration::from_secs(1)),
            overload: Overload::new(settings.max_in_flight),
            streams: Streams::new(&settings, metrics.http()),
            under_way: UnderWay::default(),
            request_ids: RequestIds::new(),
            metrics,
            traces,
            settings,
            shutdown,
        })
    }

    /// From now on these keys let people in. A second ring changes nothing.
    pub fn let_in(&self, keyring: Keyring) {
        let _ = self.keyring.set(keyring);
    }

    /// From now on requests are answered by this service. A second one changes nothing.
    pub fn open(&self, service: Service) {
        let _ = self.service.set(service);
    }

    fn service(&self) -> Result<&Service, Problem> {
        self.service.get().ok_or_else(starting)
    }

    fn keyring(&self) -> Result<&Keyring, Problem> {
        self.keyring.get().ok_or_else(starting)
    }
}

fn starting() -> Problem {
    Problem::unavailable("The service is starting.")
}

/// Every route, behind every layer.
pub fn router(http: &Arc<Http>) -> Router {
    let routes = api::router(http)
        .merge(ops::router(http))
        .merge(openapi::router());
    layered(routes, http)
}

/// Only the routes that tell how the process is.
pub fn health_router(http: &Arc<Http>) -> Router {
    layered(ops::workers_router(http), http)
}

/// The same, with the metrics for whoever asks.
pub fn watchers_router(http: &Arc<Http>) -> Router {
    layered(ops::watchers_router(http), http)
}

/// The templates of all routes, without prefixes: what requests are counted by.
pub fn templates() -> Vec<&'static str> {
    let mut templates: Vec<_> = table().into_iter().map(|route| route.path).collect();
    templates.extend(ops::PATHS);
    templates.extend(openapi::PATHS);
    templates.sort_unstable();
    templates.dedup();
    templates
}

/// Puts around routes what every request passes: `layer::around`.
pub fn layered(routes: Router, http: &Arc<Http>) -> Router {
    let routes = routes.fallback(async || Problem::not_found());
    routes.layer(middleware::from_fn_with_state(Arc::clone(http), layer::around))
}
