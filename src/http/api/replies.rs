use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use super::{extract::OfMessage, json, shapes};
use crate::http::{Http, layer::admission::admit, problem::Problem};

/// `GET /conversations/{conversation_id}/messages/{message_id}/reply`
pub(super) async fn read(
    State(http): State<Arc<Http>>,
    OfMessage(conversation, message): OfMessage,
) -> Result<Response, Problem> {
    admit(&http, async {
        let reply = http.service()?.reply(conversation, message).await?;
        json(StatusCode::OK, &shapes::Reply::from(&reply))
    })
    .await
}
