use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request, State},
    http::{StatusCode, Uri, header},
    response::Response,
};

use super::{
    body::Fields,
    extract::{By, InConversation, JsonBody},
    json, judged_after,
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
    model::{Conversation, ConversationChange, Description, ReplyOptions, Title},
    service::Service,
};

/// What a body can say of a conversation.
const FIELDS: &[&str] = &[
    "title",
    "description",
    "model",
    "instructions",
    "temperature",
    "top_p",
    "max_output_tokens",
    "busy",
];

/// `POST /conversations/`
pub(super) async fn create(
    State(http): State<Arc<Http>>,
    By(caller): By,
    asked: Asked,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    admit_write(&http, async {
        let service = http.service()?;
        let turn = asked.begin(&http, &body)?;
        let path = uri.path().trim_end_matches('/');
        let made = async {
            let (title, description, options) = parse(&body, service)?;
            let of_answer = path.to_owned();
            let once = turn.once(service, move |conversation: &Conversation| {
                let mut shape = shapes::Conversation::from(conversation);
                shape.title = shape.title.map(|_| HOLES[0]);
                shape.description = HOLES[1];
                created(&shape, &of_answer, conversation)
            });
            let conversation = service.create_conversation(title, description, options, caller.owner, once);
            Ok(conversation.await?)
        };
        match turn.carry_out(service, made).await? {
            Ok(conversation) => {
                Ok(created(&shapes::Conversation::from(&conversation), path, &conversation)?.respond())
            }
            Err(answer) => {
                // What else is in the body was judged when it was carried out; the configuration may be another one now.
                let (title, description) = texts(&mut Fields::parse(&body, FIELDS)?);
                let description = description.as_ref().map(Description::as_str);
                answer.replay(&[title.as_ref().map(Title::as_str), description])
            }
        }
    })
    .await
}

fn parse(body: &[u8], service: &Service) -> Result<(Option<Title>, Description, ReplyOptions), Problem> {
    let mut fields = Fields::parse(body, FIELDS)?;
    let (title, description) = texts(&mut fields);
    let options = options::given(&mut fields, service);
    fields.finish()?;
    let description =
        description.ok_or_else(|| Problem::internal("a description that is neither good nor bad"))?;
    Ok((title, description, options))
}

fn texts(fields: &mut Fields<'_>) -> (Option<Title>, Option<Description>) {
    let title = fields.optional_text("title", Title::parse);
    (title, fields.text("description", Description::parse))
}

fn created(
    shape: &shapes::Conversation<'_>,
    path: &str,
    conversation: &Conversation,
) -> Result<Answer, Problem> {
    let location = format!("{path}/{}", conversation.id);
    Ok(Answer::new(StatusCode::CREATED, shape)?.with(header::LOCATION, location))
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

/// `PATCH /conversations/{conversation_id}`
pub(super) async fn change(
    State(http): State<Arc<Http>>,
    InConversation(id): InConversation,
    request: Request,
) -> Result<Response, Problem> {
    let service = http.service()?;
    if request.headers().contains_key(header::EXPECT) {
        // A client that asks before it sends is told at once.
        service.conversation(id, None).await?;
    }
    let body = JsonBody::from_request(request, &http).await;
    admit(&http, async {
        let asked = body.and_then(|JsonBody(body)| parse_change(&body, service));
        let change = judged_after(service, id, asked).await?;
        let conversation = service.change_conversation(id, change).await?;
        json(StatusCode::OK, &shapes::Conversation::from(&conversation))
    })
    .await
}

fn parse_change(body: &[u8], service: &Service) -> Result<ConversationChange, Problem> {
    let mut fields = Fields::parse(body, FIELDS)?;
    let change = ConversationChange {
        title: fields.text_change("title", Title::parse),
        description: if fields.has("description") {
            fields.text("description", Description::parse)
        } else {
            None
        },
        options: options::change(&mut fields, service),
    };
    fields.finish()?;
    Ok(change)
}

/// `GET /conversations/{conversation_id}/settings`
pub(super) async fn settings(
    State(http): State<Arc<Http>>,
    InConversation(id): InConversation,
) -> Result<Response, Problem> {
    admit(&http, async {
        let options = http.service()?.options(id).await?;
        json(StatusCode::OK, &shapes::Settings::new(id, &options))
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
