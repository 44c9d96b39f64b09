//! HTTP: the only room that knows axum, status codes and JSON on the wire.
//!
//! A request passes `layer::around`, then its route: `api` for the service's contract, `ops` for
//! health. Handlers parse, call the service, and shape the answer; they hold no business rule.

mod accept;
mod api;
mod layer;
mod ops;
mod problem;
mod streams;

use std::sync::{Arc, OnceLock};

use axum::{Router, middleware};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

pub use accept::{Listener, serve};
pub use api::{Access, RouteInfo, table};

use self::{layer::keys::Keys, problem::Problem, streams::Streams};
use crate::{config::HttpSettings, ids::RequestIds, service::Service, shutdown::Shutdown};

/// What every request can reach.
pub struct Http {
    settings: HttpSettings,
    keys: Keys,
    service: OnceLock<Service>,
    in_flight: Semaphore,
    streams: Streams,
    request_ids: RequestIds,
    shutdown: Shutdown,
}

impl Http {
    /// The state of a server whose service is still being made ready.
    pub fn new(settings: HttpSettings, key: &SecretString, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self {
            keys: Keys::new(key.expose_secret()),
            service: OnceLock::new(),
            in_flight: Semaphore::new(settings.max_in_flight),
            streams: Streams::new(&settings),
            request_ids: RequestIds::new(),
            settings,
            shutdown,
        })
    }

    /// From now on requests are answered by this service. A second one changes nothing.
    pub fn open(&self, service: Service) {
        let _ = self.service.set(service);
    }

    fn service(&self) -> Result<&Service, Problem> {
        self.service
            .get()
            .ok_or_else(|| Problem::unavailable("The service is starting."))
    }
}

/// Every route, behind every layer.
pub fn router(http: &Arc<Http>) -> Router {
    layered(api::router(http).merge(ops::router(http)), http)
}

/// Only the routes that tell how the process is.
pub fn health_router(http: &Arc<Http>) -> Router {
    layered(ops::router(http), http)
}

/// Puts around routes what every request passes (`layer::around`) and, where the operator named
/// origins, what browsers need.
pub fn layered(routes: Router, http: &Arc<Http>) -> Router {
    let mut routes = routes.fallback(async || Problem::not_found());
    if !http.settings.cors_origins.is_empty() {
        routes = routes.layer(middleware::from_fn_with_state(
            Arc::clone(http),
            layer::cors::cors,
        ));
    }
    routes.layer(middleware::from_fn_with_state(Arc::clone(http), layer::around))
}
