//! What happens around every request.

pub(super) mod admission;
pub(super) mod cors;
mod host;
pub(super) mod keys;
mod linger;
mod observe;

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use self::observe::Observed;
use super::{Http, problem::Problem};

/// What a request passes before its route, and its answer after it. One layer of plain calls, because
/// each layer of its own costs an allocation and a move of the whole request.
///
/// 1. It gets its name and its time, outermost, so that nothing escapes the log.
/// 2. Its body is made to linger, so that a client gets to read a refusal.
/// 3. Its target and host are judged, before anything believes them.
/// 4. Panics further in are caught: they end one request and not the others.
pub(super) async fn around(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    let observed = Observed::begin(&http, &request);
    let request = linger::over(&http, request);
    let response = match host::judge(&http, &request) {
        Ok(()) => {
            let ran = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            ran.unwrap_or_else(|_| Problem::internal("a panic").into_response())
        }
        Err(problem) => problem.into_response(),
    };
    observed.finish(&http, response)
}
