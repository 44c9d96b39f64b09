//! The service's contract: conversations, messages and replies, at the root and under `/api/v1`.
//!
//! The order of a handler's arguments is the order in which a request is judged.

mod body;
mod conversations;
mod described;
mod events;
mod extract;
mod keys;
mod links;
mod messages;
mod object;
mod once;
mod options;
mod query;
mod replies;
mod routes;
mod seal;
mod shapes;

pub(super) use once::{REPLAYED, UnderWay};
pub use routes::{Access, RouteInfo, table};
pub(super) use routes::{is_known, operations, resource, router};
pub use shapes::Key as KeyShape;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

use super::{Http, layer::bodies::hold, problem::Problem};
use crate::{model::ConversationId, service::Service};

/// The largest body, in bytes.
pub(super) const LARGEST_BODY: usize = 2 * 1024 * 1024;

/// Whether there is such a conversation is judged before what is asked of it. What is right needs no
/// look: the operation itself finds out.
pub(super) async fn judged_after<T>(
    service: &Service,
    conversation: ConversationId,
    asked: Result<T, Problem>,
) -> Result<T, Problem> {
    if asked.is_err() {
        service.conversation(conversation, None).await?;
    }
    asked
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, shape: &impl Serialize) -> Result<Response, Problem> {
    Ok(answer(status, Body::from(written(shape)?)))
}

/// An answer in JSON that may be long: it takes room until its client has it.
fn long_json(http: &Http, status: StatusCode, shape: &impl Serialize) -> Result<Response, Problem> {
    Ok(answer(status, hold(http, written(shape)?)?))
}

fn written(shape: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(shape).map_err(|error| Problem::internal(error.to_string()))
}

fn answer(status: StatusCode, json: Body) -> Response {
    let mut response = Response::new(json);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
