//! The service within the test's own process, whose replies come from a script: for what no real model does on command.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use engagement::{
    access::Keyring,
    app::database,
    config::{Config, ReplySettings, Settings},
    http::{self, Http, Listener},
    provider::scripted::{Scripted, Step},
    reply, service,
    shutdown::Shutdown,
    store::Store,
    telemetry::{Telemetry, metrics::Metrics},
};

use super::service::Database;
use crate::support::{Client, DEFAULT_KEY, EventStream, SOON, eventually, postgres::TestDatabase};

/// A service that can be looked into.
pub(super) struct Inside {
    pub(super) client: Client,
    pub(super) provider: Arc<Scripted>,
    pub(super) store: Arc<dyn Store>,
    pub(super) shutdown: Shutdown,
    pub(super) address: SocketAddr,
    _home: tempfile::TempDir,
    /// Goes after the store that uses it.
    _data: Option<TestDatabase>,
}

impl Database {
    /// A service whose provider takes these steps.
    pub(super) async fn inside(self, steps: impl IntoIterator<Item = Step>) -> Inside {
        self.inside_with(steps, "").await
    }

    /// The same with these settings, as lines of the file.
    pub(super) async fn inside_with(self, steps: impl IntoIterator<Item = Step>, settings: &str) -> Inside {
        let home = tempfile::tempdir().expect("a temporary directory");
        let data = match self {
            Self::Sqlite => None,
            Self::Postgres(cluster) => Some(cluster.database().await),
        };
        let url = match &data {
            Some(data) => data.url().to_owned(),
            None => format!("sqlite://{}", home.path().join("engagement.db").display()),
        };
        let lines = format!("listen = \"127.0.0.1:0\"\ndatabase_url = \"{url}\"\n{settings}");
        let settings: Settings = toml::from_str(&lines).expect("settings");
        let config = Config::new(&settings).expect("a configuration");
        let provider = Arc::new(Scripted::new(steps));
        let store = database::open(&config, &Metrics::off())
            .await
            .expect("a database")
            .store;
        let shutdown = Shutdown::default();
        let address = start(&config, &provider, &store, &shutdown).await;
        Inside {
            client: Client::new(&format!("http://{address}"), Some(DEFAULT_KEY)),
            provider,
            store,
            shutdown,
            address,
            _home: home,
            _data: data,
        }
    }
}

async fn start(
    config: &Config,
    provider: &Arc<Scripted>,
    store: &Arc<dyn Store>,
    shutdown: &Shutdown,
) -> SocketAddr {
    let parts = reply::Parts::over(Arc::clone(store), provider.far_away());
    reply::start(parts.clone(), ReplySettings::default(), shutdown);
    let (clock, ids) = (parts.clock.clone(), parts.ids.clone());
    let keyring = Keyring::open(Arc::clone(store) as _, &config.access, clock, ids).await;
    let keyring = keyring.expect("a keyring");
    keyring.keep(shutdown);
    let http = Http::new(config.http.clone(), shutdown.clone(), Telemetry::default());
    http.let_in(keyring);
    http.open(service::Service::new(parts, config.service.clone()));
    let listener = Listener::bind(config.http.listen).expect("an address");
    let address = listener.address();
    let router = http::router(&http);
    shutdown.spawn(async move {
        http::serve(listener, router, &http).await.expect("a server");
    });
    address
}

impl Inside {
    pub(super) async fn watch(&self, path: &str) -> EventStream {
        EventStream::open(self.address, path, &[]).await
    }

    /// Waits until the provider was called so often.
    pub(super) async fn until_called(&self, times: usize) {
        eventually("the provider is called", SOON, async || {
            (self.provider.calls() >= times).then_some(())
        })
        .await;
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.shutdown.force();
    }
}

impl Deref for Inside {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}
