//! Telling the workers of every node that a reply may be due.
//!
//! A hint, and no more: it is never part of a transaction (the server commits those that carry one in single file),
//! it says nothing, and losing it costs a poll.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::sleep};

use super::{
    connection::Connector,
    link::{Ears, Link},
};
use crate::shutdown::Shutdown;

/// Notices that come within this time of each other become one.
const AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// Wakes this node's workers at once, and those of other nodes soon.
#[derive(Clone)]
pub(super) struct Notices {
    here: Arc<Notify>,
    elsewhere: Arc<Notify>,
}

impl Notices {
    pub(super) fn start(connector: Connector, tasks: (&Shutdown, &Shutdown)) -> Self {
        let (links, workers) = tasks;
        let notices = Self {
            here: Arc::default(),
            elsewhere: Arc::default(),
        };
        let ears = Ears {
            log: false,
            heard: Some(Arc::clone(&notices.here)),
        };
        // notices: whoever hears of this session has not missed anything that is said from now on
        let link = Link::open(connector.and("LISTEN engagement_replies;"), ears, links);
        workers.spawn(tell(link, Arc::clone(&notices.elsewhere), workers.clone()));
        notices
    }

    /// A reply may be due.
    pub(super) fn wake(&self) {
        self.here.notify_one();
        self.elsewhere.notify_one();
    }

    /// What this node's workers wait for.
    pub(super) fn here(&self) -> Arc<Notify> {
        Arc::clone(&self.here)
    }
}

async fn tell(link: Link, asked: Arc<Notify>, tasks: Shutdown) {
    loop {
        tokio::select! {
            () = tasks.begun() => return,
            () = asked.notified() => {}
        }
        // Without a session nobody is told, and everybody polls.
        if let Some(session) = link.up() {
            let _ = session.batch("NOTIFY engagement_replies").await;
        }
        sleep(AT_MOST_EVERY).await;
    }
}
