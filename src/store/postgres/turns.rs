//! Whose turn it is to take work from a queue: whoever has no connection leaves it to those who have one.

use futures_util::future::{join_all, select_all};

use super::connection::Link;

/// Answers when it is this link's turn: it has a session, or none of `all` has one and somebody has to say so.
pub(super) async fn comes(link: &Link, all: &[Link]) {
    while link.up().is_none() && all.iter().any(|link| link.up().is_some()) {
        tokio::select! {
            () = link.opened() => return,
            _ = join_all(all.iter().map(Link::ended)) => {}
        }
    }
}

/// Answers when it is another's turn: this link has no session any more, and one of `all` has.
pub(super) async fn passes(link: &Link, all: &[Link]) {
    link.ended().await;
    select_all(all.iter().map(|link| Box::pin(link.opened()))).await;
}
