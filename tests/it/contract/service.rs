//! The service that a test is put to.

use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::Deref;

use super::head;
use crate::support::{
    Answer, Builder, Client, DEFAULT_KEY, EventStream, Raw, Server,
    postgres::{self, Cluster, TestDatabase},
};

/// Where the service under test keeps its data.
#[derive(Clone, Copy)]
pub(super) enum Database {
    /// In a file of its own.
    Sqlite,
    /// In a database of its own on this server.
    Postgres(&'static Cluster),
}

/// The service under test, as a client that holds its key.
pub(super) struct Service {
    pub(super) client: Client,
    /// The process, if it is ours.
    pub(super) server: Option<Server>,
    /// Goes after the process that uses it.
    data: Option<TestDatabase>,
}

/// Whether the environment names a server that runs already.
fn is_named() -> bool {
    std::env::var_os("ENGAGEMENT_TEST_URL").is_some()
}

/// Loud, but no reason to fail where tests insist: whoever names a server knows that it has the settings it has.
fn skipped(needs: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED: {test} needs {needs}, and ENGAGEMENT_TEST_URL names one that runs already");
}

impl Database {
    /// `None`, said loudly, where there is no PostgreSQL, and where a named server has been asked under the name of SQLite.
    pub(super) async fn postgres() -> Option<Self> {
        if is_named() {
            skipped("a server on PostgreSQL");
            return None;
        }
        postgres::shared().await.map(Self::Postgres)
    }

    /// The service with default settings, or the one that the environment names.
    pub(super) async fn service(self) -> Service {
        if let Ok(url) = std::env::var("ENGAGEMENT_TEST_URL") {
            let key = std::env::var("ENGAGEMENT_TEST_API_KEY").unwrap_or_else(|_| DEFAULT_KEY.to_owned());
            return Service {
                client: Client::new(url.trim_end_matches('/'), Some(&key)),
                server: None,
                data: None,
            };
        }
        self.start(Server::builder())
            .await
            .expect("no server is named that runs already")
    }

    /// A server with these settings; `None`, said loudly, when the tests are put to a server that runs already.
    pub(super) async fn service_with(self, settings: &[(&str, &str)]) -> Option<Service> {
        let builder = settings.iter().fold(Server::builder(), |builder, (name, value)| {
            builder.env(name, value)
        });
        self.start(builder).await
    }

    /// A server started so, on a database that nobody else uses; `None`, said loudly, as above.
    pub(super) async fn start(self, builder: Builder) -> Option<Service> {
        if is_named() {
            skipped("a server started its own way");
            return None;
        }
        let data = match self {
            Self::Sqlite => None,
            Self::Postgres(cluster) => Some(cluster.database().await),
        };
        Some(Service::over(builder, data).await)
    }

    /// The URL of a database that nothing can be kept in.
    pub(super) fn that_cannot_be(self) -> String {
        match self {
            Self::Sqlite => "sqlite:no/such/folder/db".to_owned(),
            Self::Postgres(cluster) => cluster.url_of("no_such_database"),
        }
    }
}

impl Service {
    async fn over(builder: Builder, data: Option<TestDatabase>) -> Self {
        let builder = match &data {
            Some(data) => builder.on(data.url()),
            None => builder,
        };
        let server = builder.start().await;
        Self {
            client: server.client(),
            server: Some(server),
            data,
        }
    }

    /// The same data after SIGKILL, with a new process over it.
    pub(super) async fn killed_and_started_again(self) -> Self {
        let server = self.server.expect("a server of our own");
        let home = server.home();
        server.kill();
        Self::over(Server::builder_over(&home), self.data).await
    }

    /// A second server over the same data, to be dropped before this one.
    pub(super) async fn another_server(&self) -> Self {
        let data = self.data().expect("a database that servers can share");
        let server = Server::builder().on(data.url()).start().await;
        Self {
            client: server.client(),
            server: Some(server),
            data: None,
        }
    }

    /// The process, in tests that asked for one of their own.
    pub(super) fn server(&self) -> &Server {
        self.server.as_ref().expect("a server of our own")
    }

    /// The database on PostgreSQL, if it is there.
    pub(super) fn data(&self) -> Option<&TestDatabase> {
        self.data.as_ref()
    }

    /// `host:port`, as the service is called.
    pub(super) fn authority(&self) -> &str {
        self.base_url().trim_start_matches("http://")
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.authority()
            .to_socket_addrs()
            .expect("an address")
            .next()
            .expect("an address")
    }

    pub(super) async fn connect(&self) -> Raw {
        Raw::connect(self.address()).await
    }

    /// Sends a head of these lines and a body on a connection of its own, and reads the answer.
    pub(super) async fn exchange(&self, lines: &[&str], body: impl AsRef<[u8]>) -> Answer {
        let mut raw = self.connect().await;
        raw.send(head(lines)).await.expect("a head to send");
        raw.send(body).await.expect("a body to send");
        raw.answer()
            .await
            .unwrap_or_else(|error| panic!("no answer to {lines:?}: {error}"))
    }

    /// GET of a path that no client library would leave as it is.
    pub(super) async fn get_raw(&self, path: &str) -> Answer {
        let host = format!("Host: {}", self.authority());
        self.exchange(&[&format!("GET {path} HTTP/1.1"), &host], "").await
    }

    /// Opens a stream, without a key.
    pub(super) async fn watch(&self, path: &str) -> EventStream {
        self.watch_with(path, &[]).await
    }

    /// ... with these header lines.
    pub(super) async fn watch_with(&self, path: &str, lines: &[&str]) -> EventStream {
        EventStream::open(self.address(), path, lines).await
    }

    /// The header line with the key.
    pub(super) fn key_line(&self) -> String {
        format!("X-API-Key: {}", self.key().expect("a key"))
    }
}

impl Deref for Service {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}
