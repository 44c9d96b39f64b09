use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use super::{
    body::Fields,
    extract::{InConversation, JsonBody, OfMessage},
    json, judged_after, links, options,
    query::Query,
    shapes,
};
use crate::{
    http::{Http, layer::admission::admit, problem::Problem},
    model::{Message, MessageQuery, MessageText, ReplyOptions, Role},
    service::Service,
};

/// `POST /conversations/{conversation_id}/messages/create`
pub(super) async fn create(
    State(http): State<Arc<Http>>,
    InConversation(conversation): InConversation,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    let service = http.service()?;
    if request.headers().contains_key(header::EXPECT) {
        // A client that asks before it sends is told at once.
        service.conversation(conversation, None).await?;
    }
    let body = JsonBody::from_request(request, &http).await;
    admit(&http, async {
        let asked = body.and_then(|JsonBody(body)| parse(&body, service));
        let (text, role, options) = judged_after(service, conversation, asked).await?;
        let message = service.create_message(conversation, role, text, options).await?;
        let mut response = json(StatusCode::CREATED, &shapes::Message::from(&message))?;
        point_to(&mut response, &uri, &message);
        Ok(response)
    })
    .await
}

/// What a body can say of a message.
const FIELDS: &[&str] = &[
    "text",
    "role",
    "model",
    "instructions",
    "temperature",
    "top_p",
    "max_output_tokens",
    "busy",
];

fn parse(body: &[u8], service: &Service) -> Result<(MessageText, Role, ReplyOptions), Problem> {
    let mut fields = Fields::parse(body, FIELDS)?;
    let text = fields.text("text", MessageText::parse);
    let role = fields.role("role");
    let options = if role == Some(Role::Assistant) {
        options::refuse(&mut fields);
        ReplyOptions::default()
    } else {
        options::given(&mut fields, service)
    };
    fields.finish()?;
    text.zip(role)
        .map(|(text, role)| (text, role, options))
        .ok_or_else(|| Problem::internal("fields that are neither good nor bad"))
}

/// Says where the message is and, for a user's, where to watch the reply; with the prefix that the client used.
fn point_to(response: &mut Response, uri: &Uri, message: &Message) {
    let prefix = uri
        .path()
        .split_once("/conversations/")
        .map_or("", |(prefix, _)| prefix);
    let location = format!(
        "{prefix}/conversations/{}/messages/{}",
        message.conversation, message.id
    );
    if message.role == Role::User
        && let Ok(link) = HeaderValue::try_from(format!("<{location}/reply>; rel=\"monitor\""))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}

/// `GET /conversations/{conversation_id}/messages`
pub(super) async fn list(
    State(http): State<Arc<Http>>,
    InConversation(conversation): InConversation,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    admit(&http, async {
        let service = http.service()?;
        let query = Query::new(uri.query());
        let size = query.page_size();
        let asked = query.filter().and_then(|filter| Ok((filter, query.page()?)));
        let (filter, number) = judged_after(service, conversation, asked).await?;
        let page = service
            .messages(MessageQuery {
                conversation,
                filter,
                number,
                size,
            })
            .await?;
        let base = links::base(&http.settings, &headers);
        let (next, previous) = links::neighbours(&base, &uri, &query, &page, size);
        let results = page.messages.iter().map(shapes::Message::from).collect();
        json(
            StatusCode::OK,
            &shapes::Page {
                count: page.count,
                next,
                previous,
                results,
            },
        )
    })
    .await
}

/// `GET /conversations/{conversation_id}/messages/{message_id}`
pub(super) async fn read(
    State(http): State<Arc<Http>>,
    OfMessage(conversation, id): OfMessage,
) -> Result<Response, Problem> {
    admit(&http, async {
        let message = http.service()?.message(conversation, id).await?;
        json(StatusCode::OK, &shapes::Message::from(&message))
    })
    .await
}

/// `DELETE /conversations/{conversation_id}/messages/{message_id}`
pub(super) async fn delete(
    State(http): State<Arc<Http>>,
    OfMessage(conversation, id): OfMessage,
) -> Result<Response, Problem> {
    admit(&http, async {
        http.service()?.delete_message(conversation, id).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
