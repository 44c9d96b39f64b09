//! What happens around every request.

pub(super) mod admission;
pub(super) mod bodies;
mod cors;
mod framing;
pub(super) mod host;
pub(super) mod keys;
mod limits;
mod linger;
mod observe;
pub(super) mod overload;
pub(super) mod proxies;

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use self::{cors::Cors, limits::Visit, observe::Observed};
use super::{Http, problem::Problem};
use crate::telemetry::traces;

/// What a request passes before its route, and its answer after it. One layer of plain calls, because
/// each layer of its own costs an allocation and a move of the whole request.
///
/// 1. It gets its name and its time, outermost, so that nothing escapes the log.
/// 2. Its body is made to linger, so that a client gets to read a refusal.
/// 3. Who asks is found out, and who asks too often is sent away, before any work is done.
/// 4. Framing, target and host are judged, before anything believes them.
/// 5. Browsers that ask for permission are answered.
/// 6. Panics further in are caught: they end one request and not the others.
pub(super) async fn around(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    let observed = Observed::begin(&http, &request);
    let _under_way = http.counts.enter();
    let mut request = linger::over(&http, request);
    proxies::heed(&http.settings, &mut request);
    let cors = Cors::of(&http, &request);
    let (visit, judged) = judge(&http, &mut request);
    let mut response = match (judged, cors.as_ref().and_then(Cors::preflight)) {
        (Err(problem), _) => problem.into_response(),
        (Ok(()), Some(preflight)) => preflight,
        (Ok(()), None) => {
            let running = AssertUnwindSafe(next.run(request)).catch_unwind();
            let ran = traces::within(observed.span(), running).await;
            ran.unwrap_or_else(|_| Problem::internal("a panic").into_response())
        }
    };
    visit.settle(&http, &mut response);
    if let Some(cors) = cors {
        cors.settle(response.headers_mut());
    }
    observed.finish(&http, response)
}

/// Judges a request by its head, whatever it asks for; gives what its answer has to mind.
fn judge(http: &Http, request: &mut Request) -> (Visit, Result<(), Problem>) {
    let mut visit = match limits::hear(http, request) {
        Ok(visit) => visit,
        Err(problem) => return (Visit::default(), Err(problem)),
    };
    keys::recognize(http, request);
    let judged = visit
        .judge(http, request)
        .and_then(|()| framing::judge(request))
        .and_then(|()| host::judge(http, request));
    (visit, judged)
}
