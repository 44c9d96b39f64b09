//! A database of a test's own.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config};

use super::{Address, connect};
use crate::support::proxy::Upstream;

/// Dropping a test's database waits for a checkpoint of a server that many tests use, but not for one that is frozen.
const DROPPED_WITHIN: Duration = Duration::from_secs(10);

/// A fresh database. It is dropped with this value, along with whoever is connected to it.
pub(crate) struct TestDatabase {
    name: String,
    url: String,
    server: Address,
    tcp: Option<SocketAddr>,
}

impl TestDatabase {
    pub(super) fn named(name: String, server: &Address, tcp: Option<SocketAddr>) -> Self {
        Self {
            url: server.database(&name),
            server: server.clone(),
            name,
            tcp,
        }
    }

    pub(super) async fn create(&self, server: &Client) {
        // template0, because nobody can be connected to it: that would make this fail.
        server
            .batch_execute(&format!("CREATE DATABASE {} TEMPLATE template0", self.name))
            .await
            .expect("a new database");
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Over the socket, where there is one.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Over TCP.
    pub(crate) fn tcp_url(&self) -> String {
        self.tcp
            .map_or_else(|| self.url.clone(), |tcp| self.url_through(tcp))
    }

    /// Over TCP by way of a proxy.
    pub(crate) fn url_through(&self, proxy: SocketAddr) -> String {
        self.server.database_through(&self.name, proxy)
    }

    /// Where its server is, for a proxy.
    pub(crate) fn upstream(&self) -> Upstream {
        let config: Config = self.tcp_url().parse().expect("the URL of a database");
        let port = config.get_ports().first().copied().unwrap_or(5432);
        match config.get_hosts() {
            [Host::Tcp(name), ..] => {
                let mut addresses = (name.as_str(), port).to_socket_addrs().expect("an address");
                Upstream::Tcp(addresses.next().expect("an address"))
            }
            [Host::Unix(folder), ..] => Upstream::Unix(folder.join(format!(".s.PGSQL.{port}"))),
            [] => panic!("the URL of a server names it"),
        }
    }

    /// A client for looking at it from beside.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url)
            .await
            .expect("a connection to the test's database")
    }

    /// Ends every connection to it, as an administrator does, and says how many there were.
    pub(crate) async fn terminate_backends(&self) -> i64 {
        // From another database, so that this connection is none of them.
        let server = connect(self.server.url())
            .await
            .expect("a connection to the server");
        let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1";
        let row = server.query_one(terminate, &[&self.name]).await;
        row.expect("an answer of the server").get(0)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let url = self.server.url().to_owned();
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // A runtime cannot be entered from within another, hence the thread. If it fails, the server is away: a private
        // one takes its databases along.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(async {
                let dropped = async { connect(&url).await.ok()?.batch_execute(&statement).await.ok() };
                tokio::time::timeout(DROPPED_WITHIN, dropped).await.ok().flatten()
            })
        });
        let _ = dropping.join();
    }
}
