//! How much is worked on at once, and for how long.
//!
//! A request counts once it was read whole: slow senders take no place from others.

use std::future::Future;

use tokio::time::timeout;

use crate::http::{Http, problem::Problem};

/// Does the work of a request, if there is a place for it and within its time.
pub(in crate::http) async fn admit<T>(
    http: &Http,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let _place = http
        .in_flight
        .try_acquire()
        .map_err(|_| Problem::unavailable("The service is busy."))?;
    match timeout(http.settings.handler_timeout, work).await {
        Ok(done) => done,
        Err(_) => Err(Problem::unavailable("The request took too long to answer.")),
    }
}
