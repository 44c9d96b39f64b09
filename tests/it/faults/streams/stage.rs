//! A service over a provider that does what it is told.

use std::fs;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use crate::faults::new_home;
use crate::support::postgres::{Cluster, TestDatabase};
use crate::support::upstream::Upstream;
use crate::support::{Builder, Client, Server};

/// Where a service runs, and what it stands on.
pub(in crate::faults) struct Stage {
    pub(in crate::faults) upstream: Upstream,
    pub(in crate::faults) home: Arc<TempDir>,
    database: Option<TestDatabase>,
}

impl Stage {
    /// Over SQLite, or a database of this server.
    pub(in crate::faults) async fn new(cluster: Option<&Cluster>) -> Self {
        Self::with(cluster, |upstream| {
            table("p", &upstream.openai_url(), "concurrency = 1000")
        })
        .await
    }

    /// With these settings of its providers.
    pub(in crate::faults) async fn with(
        cluster: Option<&Cluster>,
        settings: impl FnOnce(&Upstream) -> String,
    ) -> Self {
        let (upstream, home) = (Upstream::start().await, new_home());
        fs::write(home.path().join("engagement.toml"), settings(&upstream)).expect("a file of settings");
        let database = match cluster {
            Some(cluster) => Some(cluster.database().await),
            None => None,
        };
        Self {
            upstream,
            home,
            database,
        }
    }

    /// A process of the service. Only what was stored outlives it.
    pub(in crate::faults) fn builder(&self) -> Builder {
        let builder = Server::builder_over(&self.home);
        match &self.database {
            Some(database) => builder.on(database.url()),
            None => builder,
        }
    }

    pub(in crate::faults) async fn start(&self) -> Server {
        self.builder().start().await
    }

    pub(in crate::faults) fn database(&self) -> Option<&TestDatabase> {
        self.database.as_ref()
    }
}

/// The table of a provider of the model `m`, with more lines.
pub(in crate::faults) fn table(name: &str, url: &str, lines: &str) -> String {
    format!("[providers.{name}]\nbase_url = \"{url}\"\nmodels = [\"m\"]\n{lines}\n")
}

/// Asks a model, by its provider and name; gives the message's id.
pub(in crate::faults) async fn ask(client: &Client, conversation: &str, text: &str, model: &str) -> String {
    let path = format!("/conversations/{conversation}/messages/create");
    let message = json!({ "role": "user", "text": text, "model": model });
    let answer = client.post_json(&path, &message).await.expect(201);
    answer["message_id"].as_str().expect("an id").to_owned()
}
