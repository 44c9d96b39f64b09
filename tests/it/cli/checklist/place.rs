//! Where the list is gone through: a directory, a database, and what is stored in it.

use std::sync::Arc;

use tempfile::TempDir;

use crate::cli::{engagement, home};
use crate::support::postgres::{self, TestDatabase};
use crate::support::{Builder, Run};

/// A directory, and the database on one of the two kinds.
pub(super) struct Place {
    pub(super) home: Arc<TempDir>,
    pub(super) data: Option<TestDatabase>,
}

impl Place {
    pub(super) fn file() -> Self {
        Self {
            home: home(),
            data: None,
        }
    }

    pub(super) async fn each() -> Vec<Self> {
        let mut places = vec![Self::file()];
        if let Some(cluster) = postgres::shared().await {
            let data = Some(cluster.database().await);
            places.push(Self { home: home(), data });
        }
        places
    }

    pub(super) fn builder(&self, arguments: &[&str]) -> Builder {
        let builder = engagement(&self.home, arguments);
        match &self.data {
            Some(data) => builder.on(data.url()),
            None => builder,
        }
    }

    /// What a command says that does what it is asked for.
    pub(super) async fn said(&self, arguments: &[&str]) -> String {
        let run = self.builder(arguments).run().await;
        assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
        run.stdout
    }

    pub(super) async fn apply(&self) {
        self.said(&["migrate", "apply"]).await;
    }

    pub(super) async fn check(&self, settings: &[(&str, &str)]) -> Run {
        let builder = self.builder(&["check", "--production"]);
        let builder = settings
            .iter()
            .fold(builder, |builder, (name, value)| builder.env(name, value));
        builder.run().await
    }
}

/// What is stored before the list is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Nothing,
    One,
    Two,
    Limited,
    ForTests,
    Revoked,
}

impl Stored {
    pub(super) const ALL: [Self; 6] = [
        Self::Nothing,
        Self::One,
        Self::Two,
        Self::Limited,
        Self::ForTests,
        Self::Revoked,
    ];

    /// Gives the keys.
    pub(super) async fn store(self, place: &Place) -> Vec<String> {
        let create: &[&[&str]] = match self {
            Self::Nothing => &[],
            Self::One | Self::Revoked => &[&["one"]],
            Self::Two => &[&["one"], &["two"]],
            Self::Limited => &[&["one", "--requests-per-s", "5"]],
            Self::ForTests => &[&["one", "--environment", "test"]],
        };
        let mut keys = Vec::new();
        for create in create {
            let key = place.said(&[&["keys", "create"], *create].concat()).await;
            keys.push(key.trim_end().to_owned());
        }
        if self == Self::Revoked {
            let id = keys[0].split('_').nth(2).expect("an id");
            place.said(&["keys", "revoke", id]).await;
        }
        keys
    }
}
