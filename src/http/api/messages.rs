use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use super::{
    body::Fields,
    extract::{By, InConversation, JsonBody, OfMessage},
    judged_after, links, long_json,
    once::{Answer, Asked, HOLES},
    options,
    query::Query,
    shapes,
};
use crate::{
    http::{
        Http,
        layer::admission::{admit, admit_write},
        problem::Problem,
    },
    model::{Message, MessageQuery, MessageText, ReplyOptions, Role},
    service::Service,
};

/// `POST /conversations/{conversation_id}/messages/create`
pub(super) async fn create(
    State(http): State<Arc<Http>>,
    By(caller): By,
    InConversation(conversation): InConversation,
    asked: Asked,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    let service = http.service()?;
    if request.headers().contains_key(header::EXPECT) && asked.idempotency_key().is_empty() {
        // A client that asks before it sends is told at once; one that may have asked before is answered as it was then.
        service.conversation(conversation, None).await?;
    }
    let body = JsonBody::from_request(request, &http).await;
    admit_write(&http, async {
        let JsonBody(body) = judged_after(service, conversation, body).await?;
        let turn = judged_after(service, conversation, asked.begin(&http, &body)).await?;
        let made = async {
            let (text, role, options) = judged_after(service, conversation, parse(&body, service)).await?;
            let prefix = prefix_of(&uri).to_owned();
            let once = turn.once(service, move |message: &Message| {
                let mut shape = shapes::Message::from(message);
                shape.text = HOLES[0];
                created(&shape, &prefix, message)
            });
            let message = service.create_message(conversation, role, text, options, &caller, once);
            Ok(message.await?)
        };
        match turn.carry_out(service, made).await? {
            Ok(message) => {
                Ok(created(&shapes::Message::from(&message), prefix_of(&uri), &message)?.respond())
            }
            Err(answer) => {
                // What else is in the body was judged when it was carried out; the configuration may be another one now.
                let text = Fields::parse(&body, FIELDS)?.text("text", MessageText::parse);
                answer.replay(&[text.as_ref().map(MessageText::as_str)])
            }
        }
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

/// The prefix that the client used.
fn prefix_of(uri: &Uri) -> &str {
    uri.path()
        .split_once("/conversations/")
        .map_or("", |(prefix, _)| prefix)
}

/// Says where the message is and, for a user's, where to watch the reply.
fn created(shape: &shapes::Message<'_>, prefix: &str, message: &Message) -> Result<Answer, Problem> {
    let location = format!(
        "{prefix}/conversations/{}/messages/{}",
        message.conversation, message.id
    );
    let mut answer = Answer::new(StatusCode::CREATED, shape)?;
    if message.role == Role::User {
        answer = answer.with(header::LINK, format!("<{location}/reply>; rel=\"monitor\""));
    }
    Ok(answer.with(header::LOCATION, location))
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
        let (next, previous) = links::neighbours(&base, &uri, &query, &page, size)?;
        let results = page.messages.iter().map(shapes::Message::from).collect();
        long_json(
            &http,
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
        long_json(&http, StatusCode::OK, &shapes::Message::from(&message))
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
