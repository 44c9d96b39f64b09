//! PostgreSQL servers for tests.
//!
//! - [`shared`] is one server for all tests of a run, with a fresh [`TestDatabase`] for each that asks.
//! - [`private()`] is a server of one's own, to stop, kill, crash and freeze. That it is a type of its own keeps
//!   such a test from the server that the others use.
//!
//! `install.rs` finds the programs, `address.rs` knows URLs, and `watchdog.rs` sees to it that nothing is left behind,
//! however a run ends.

mod address;
mod database;
mod install;
mod private;
mod watchdog;

pub(crate) use address::Address;
pub(crate) use database::TestDatabase;
use install::{PROGRAMS, random};
pub(crate) use install::{find_programs, newest_first};
pub(crate) use private::{Durability, PrivateCluster};
pub(crate) use watchdog::Watchdog;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OnceCell;
use tokio_postgres::{Client, Error, NoTls};

use super::skip;

/// What serves instead of programs.
const SERVER: &str = "ENGAGEMENT_TEST_POSTGRES_URL (a server, and a role that may create databases)";

/// A server in which tests have databases.
pub(crate) struct Cluster {
    address: Address,
    /// Where it listens besides, if `address` is a socket.
    tcp: Option<SocketAddr>,
}

/// The server of this run: the one that `ENGAGEMENT_TEST_POSTGRES_URL` names, or one that is started on first use.
///
/// Without either, says so loudly and gives `None`, or fails where tests are to insist.
pub(crate) async fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceCell<Option<&'static Cluster>> = OnceCell::const_new();
    *SHARED.get_or_init(start_shared).await
}

async fn start_shared() -> Option<&'static Cluster> {
    if let Some(url) = std::env::var_os("ENGAGEMENT_TEST_POSTGRES_URL") {
        let url = url.into_string().expect("ENGAGEMENT_TEST_POSTGRES_URL is text");
        return Some(Box::leak(Box::new(Cluster::at(&url))));
    }
    let Some(cluster) = PrivateCluster::start(Durability::Fast).await else {
        skip(&format!("tests of PostgreSQL need {PROGRAMS}, or {SERVER}"));
        return None;
    };
    // A static is never dropped either: the watchdog ends it.
    Some(Box::leak(Box::new(cluster)))
}

/// A server that nobody else uses. Says and does the same as [`shared`] where there cannot be one.
pub(crate) async fn private(durability: Durability) -> Option<PrivateCluster> {
    let cluster = PrivateCluster::start(durability).await;
    if cluster.is_none() {
        skip(&format!(
            "tests of what becomes of a PostgreSQL server need {PROGRAMS}"
        ));
    }
    cluster
}

impl Cluster {
    /// Somebody else's server, as a role that may create databases.
    pub(crate) fn at(url: &str) -> Self {
        Self {
            address: Address::parse(url),
            tcp: None,
        }
    }

    /// A database that nobody else uses, until it is dropped.
    pub(crate) async fn database(&self) -> TestDatabase {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // Process ids repeat in containers, whose runs may share a server: hence the random part.
        let random = random() & 0xff_ffff;
        let name = format!(
            "engagement_test_{}_{random:06x}_{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let database = TestDatabase::named(name, &self.address, self.tcp);
        database.create(&self.client().await).await;
        database
    }

    /// The URL of a database by name, whether there is one or not.
    pub(crate) fn url_of(&self, database: &str) -> String {
        self.address.database(database)
    }

    /// A client for looking at the server as a whole.
    pub(crate) async fn client(&self) -> Client {
        connect(self.address.url())
            .await
            .expect("a connection to the server")
    }
}

/// Connects, and lets the connection run until the client is dropped.
async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // How it ends, the client tells.
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}
