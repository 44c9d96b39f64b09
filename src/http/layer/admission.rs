//! How much is worked on at once, and for how long.
//!
//! A request counts once it was read whole: slow senders take no place from others. While there is no place, nothing is read
//! (`bodies`): what would be sent away afterwards can be sent away before.

use std::future::Future;

use tokio::time::timeout;

use crate::{
    http::{Http, problem::Problem},
    telemetry::metrics::Refused,
};

/// Does the work of a request, if there is a place for it and within its time.
pub(in crate::http) async fn admit<T>(
    http: &Http,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let _place = http
        .in_flight
        .try_acquire()
        .map_err(|_| Problem::busy(Refused::InFlight))?;
    match timeout(http.settings.handler_timeout, work).await {
        Ok(done) => done,
        Err(_) => Err(Problem::unavailable("The request took too long to answer.")),
    }
}

/// Does the work of a request that writes: those are what a slow disk holds up, so they are let in by how long they take.
pub(in crate::http) async fn admit_write<T>(
    http: &Http,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let turn = http.overload.enter()?;
    let done = admit(http, work).await;
    if done.is_ok() {
        turn.done();
    }
    done
}
