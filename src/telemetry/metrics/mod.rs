//! Metrics: what is counted and measured, for programs that watch the service.
//!
//! `catalogue` declares every metric once. Each room is handed the group of its own (`http`, `replies`, `providers`,
//! `store`) and counts in `cells`, those of the crate `prometheus`, which take no lock; where metrics are switched off, a
//! group is empty and counts nothing. What is not counted but looked up (sizes, queues, memory) is asked of a [`Source`]
//! when somebody reads the metrics, and `page` puts it beside what was counted.
//!
//! No label holds an id, a text, a key or an address: labels are names from the program and from its configuration.

mod catalogue;
mod cells;
mod http;
mod page;
mod process;
mod providers;
mod replies;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use prometheus::{Registry, Result};

pub use catalogue::{Kind, Metric};
pub use cells::Open;
pub use http::{Dropped, HttpMetrics, Refused, StreamEnd};
pub use page::{Number, Page};
pub use providers::{Breaking, ProviderMetrics, ProviderOutcome};
pub use replies::{ReplyEnd, ReplyMetrics};
pub use store::{Pool, StoreMetrics};

use providers::Providers;

/// Something that is asked for its figures whenever the metrics are read.
#[async_trait]
pub trait Source: Send + Sync {
    /// Tells them. Takes no longer than a moment, whatever happens.
    async fn tell(&self, page: &mut Page);
}

/// All metrics of the process, or none.
#[derive(Clone, Default)]
pub struct Metrics(Option<Arc<Groups>>);

struct Groups {
    registry: Registry,
    database: &'static str,
    http: HttpMetrics,
    replies: ReplyMetrics,
    store: StoreMetrics,
    providers: Providers,
    sources: Mutex<Vec<Arc<dyn Source>>>,
}

impl Metrics {
    /// Metrics of a process over this kind of database, with these routes. Fails only where the catalogue is wrong.
    pub fn on(database: &'static str, routes: &[&'static str]) -> Result<Self> {
        let registry = Registry::new();
        Ok(Self(Some(Arc::new(Groups {
            database,
            http: HttpMetrics::of(&registry, routes)?,
            replies: ReplyMetrics::on(&registry)?,
            store: StoreMetrics::on(&registry)?,
            providers: Providers::on(&registry)?,
            sources: Mutex::default(),
            registry,
        }))))
    }

    /// Nothing is counted.
    pub fn off() -> Self {
        Self::default()
    }

    /// What is counted of requests.
    pub fn http(&self) -> HttpMetrics {
        self.group(|groups| groups.http.clone())
    }

    /// What is counted of replies.
    pub fn replies(&self) -> ReplyMetrics {
        self.group(|groups| groups.replies.clone())
    }

    /// What is measured of the database.
    pub fn store(&self) -> StoreMetrics {
        self.group(|groups| groups.store.clone())
    }

    /// What is counted of a provider, which takes so many prompts at once.
    pub fn provider(&self, name: &str, limit: usize) -> ProviderMetrics {
        self.group(|groups| groups.providers.provider(name, limit))
    }

    /// From now on this is asked, too.
    pub fn ask(&self, source: Arc<dyn Source>) {
        if let Some(groups) = &self.0 {
            locked(&groups.sources).push(source);
        }
    }

    /// All that there is to be told now; `None` if metrics are off.
    pub async fn page(&self) -> Option<Page> {
        let groups = self.0.as_ref()?;
        let mut page = Page::of(&groups.registry);
        page.tell(Metric::Build, &[env!("CARGO_PKG_VERSION"), groups.database], true);
        process::tell(&mut page);
        let sources = locked(&groups.sources).clone();
        for source in sources {
            source.tell(&mut page).await;
        }
        Some(page)
    }

    fn group<T: Default>(&self, of: impl FnOnce(&Groups) -> T) -> T {
        self.0.as_deref().map(of).unwrap_or_default()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of cases, which are the values of a label, and something for each.
macro_rules! cases {
    ($(#[$meta:meta])* $type:ident { $($(#[doc = $doc:literal])* $case:ident: $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[doc = $doc])* $case,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$case,)*];

            /// As the label says it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$case => $name,)* }
            }

            fn each<T>(make: impl FnMut(Self) -> T) -> Each<T> {
                Each(Self::ALL.iter().copied().map(make).collect())
            }
        }
    };
}
use cases;

/// A value for each of some cases.
#[derive(Debug)]
struct Each<T>(Vec<T>);

impl<T> Each<T> {
    /// The value of the case with this number.
    fn at(&self, case: usize) -> Option<&T> {
        self.0.get(case)
    }
}
