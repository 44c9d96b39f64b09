//! Listening: for the API, and for those who only want to know how the process is.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::sync::oneshot;

use super::{Duty, Failure, raise_file_limit};
use crate::{
    config::{Config, ConfigError},
    http::{self, Http, Listener, Router},
    shutdown::Shutdown,
    telemetry::Telemetry,
};

const OTHER_LISTEN: &str =
    "stop what uses it, or give another address: --listen 127.0.0.1:0 picks a free port";
const OTHER_METRICS_LISTEN: &str =
    "stop what uses it, or give another address: --metrics-listen 127.0.0.1:0 picks a free port";

/// HTTP that is being served; until it gets a service it says that it is starting.
pub(super) struct Listening {
    pub(super) http: Arc<Http>,
    /// Where the API, or a worker's health, is; `None` for a worker that listens nowhere.
    pub(super) address: Option<SocketAddr>,
    /// How serving ended, of each listener.
    served: Vec<oneshot::Receiver<io::Result<()>>>,
}

impl Listening {
    pub(super) fn begin(
        config: &Config,
        duty: Duty,
        telemetry: &Telemetry,
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let mut settings = config.http.clone();
        let api = match duty {
            Duty::Replies { listens: false } => None,
            _ => Some(bind(settings.listen, OTHER_LISTEN)?),
        };
        // Port 0 is another one each time.
        if api.is_some() && settings.listen.port() != 0 && settings.metrics_listen == Some(settings.listen) {
            return Err(Failure::Refused(ConfigError::new(
                "metrics_listen",
                format!("{} is where the API listens", settings.listen),
                "give metrics an address of their own, or leave it out: they are beside the API then",
            )));
        }
        let watched = settings
            .metrics_listen
            .map(|address| bind(address, OTHER_METRICS_LISTEN))
            .transpose()?;
        let address = api.as_ref().map(Listener::address);
        settings.listen = address.unwrap_or(settings.listen);
        settings.max_connections = settings.max_connections.min(raise_file_limit());
        let http = Http::new(settings, shutdown.clone(), telemetry.clone());
        let mut served = Vec::new();
        if let Some(listener) = api {
            let router = match duty {
                Duty::Replies { .. } => http::health_router(&http),
                Duty::Everything | Duty::Requests => http::router(&http),
            };
            served.push(serve(listener, router, &http, shutdown));
        }
        if let Some(listener) = watched {
            tracing::info!(address = %listener.address(), "listening for metrics");
            let (listener, router) = (listener.for_watchers(), http::watchers_router(&http));
            served.push(serve(listener, router, &http, shutdown));
        }
        Ok(Self {
            http,
            address,
            served,
        })
    }

    /// Answers when a listener has ended that should not, with the reason.
    pub(super) async fn ended(&mut self) -> io::Error {
        if self.served.is_empty() {
            return std::future::pending().await;
        }
        let (served, _, _) = futures_util::future::select_all(&mut self.served).await;
        let cause = served.map_err(io::Error::other).and_then(|served| served).err();
        cause.unwrap_or_else(|| io::Error::other("the listener ended"))
    }
}

fn bind(address: SocketAddr, instead: &'static str) -> Result<Listener, Failure> {
    Listener::bind(address).map_err(|cause| Failure::Listen {
        address,
        instead,
        cause,
    })
}

fn serve(
    listener: Listener,
    router: Router,
    http: &Arc<Http>,
    shutdown: &Shutdown,
) -> oneshot::Receiver<io::Result<()>> {
    let (report, served) = oneshot::channel();
    let http = Arc::clone(http);
    shutdown.spawn(async move {
        let served = http::serve(listener, router, &http).await;
        // Nobody listens when it is the others who stop.
        let _ = report.send(served);
    });
    served
}
