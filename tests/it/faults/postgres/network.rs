//! The network between a node and the database, which fails at the worst moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::postgres::TestDatabase;
use crate::support::proxy::{Proxy, Verdict};

/// In the statement that stores answers, which a node sends in full before its first use.
const STORING: &[u8] = b"finish_reply: answered";

/// A network to one database.
pub(super) struct Network {
    proxy: Arc<Proxy>,
    has_failed: Arc<AtomicBool>,
}

impl Network {
    pub(super) async fn to(database: &TestDatabase) -> Self {
        Self {
            proxy: Arc::new(Proxy::start(database.upstream()).await),
            has_failed: Arc::default(),
        }
    }

    /// The database by way of this network.
    pub(super) fn url(&self, database: &TestDatabase) -> String {
        database.url_through(self.proxy.address())
    }

    /// Lets it fail when a node first tries to store an answer: the node holds replies then, and has all it needs to
    /// finish them.
    pub(super) fn fail_before_storing(&self, fail: impl Fn(&Proxy) + Send + 'static) {
        // The proxy owns what it asks, so that must not own the proxy.
        let (proxy, has_failed) = (Arc::downgrade(&self.proxy), Arc::clone(&self.has_failed));
        self.proxy.judge(move |bytes| {
            let stores = bytes.windows(STORING.len()).any(|window| window == STORING);
            if let Some(proxy) = proxy.upgrade().filter(|_| stores)
                && !has_failed.swap(true, Ordering::SeqCst)
            {
                fail(&proxy);
            }
            Verdict::Pass
        });
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }

    pub(super) fn pass(&self) {
        self.proxy.pass();
    }
}
