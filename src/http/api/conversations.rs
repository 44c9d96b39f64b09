use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::Response,
};

use super::{
    body::Fields,
    extract::{InConversation, JsonBody},
    json, judged_after,
    query::Query,
    shapes,
};
use crate::{
    http::{Http, layer::admission::admit, problem::Problem},
    model::{Description, Title},
};

/// `POST /conversations/`
pub(super) async fn create(
    State(http): State<Arc<Http>>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    admit(&http, async {
        let mut fields = Fields::parse(&body, &["title", "description"])?;
        let title = fields.optional_text("title", Title::parse);
        let description = fields.text("description", Description::parse);
        fields.finish()?;
        let description =
            description.ok_or_else(|| Problem::internal("a description that is neither good nor bad"))?;
        let conversation = http.service()?.create_conversation(title, description).await?;
        let mut response = json(StatusCode::CREATED, &shapes::Conversation::from(&conversation))?;
        let location = format!("{}/{}", uri.path().trim_end_matches('/'), conversation.id);
        if let Ok(location) = HeaderValue::try_from(location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    })
    .await
}

/// `GET /conversations/{conversation_id}`
pub(super) async fn read(
    State(http): State<Arc<Http>>,
    InConversation(id): InConversation,
    uri: Uri,
) -> Result<Response, Problem> {
    admit(&http, async {
        let service = http.service()?;
        let needle = judged_after(service, id, Query::new(uri.query()).needle()).await?;
        let conversation = service.conversation(id, needle.as_ref()).await?;
        json(StatusCode::OK, &shapes::Conversation::from(&conversation))
    })
    .await
}

/// `DELETE /conversations/{conversation_id}/delete`
pub(super) async fn delete(
    State(http): State<Arc<Http>>,
    InConversation(id): InConversation,
) -> Result<Response, Problem> {
    admit(&http, async {
        http.service()?.delete_conversation(id).await?;
        json(
            StatusCode::OK,
            &shapes::ConversationDeleted {
                conversation_id: id,
                deleted: true,
            },
        )
    })
    .await
}
