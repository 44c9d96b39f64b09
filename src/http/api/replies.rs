use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures_util::TryFutureExt;

use super::{
    events::{self, Cursor},
    extract::{By, OfMessage, On, Who},
    json, long_json,
    once::{Answer, Asked, Turn},
    query::Query,
    shapes,
};
use crate::{
    http::{Http, layer::admission::admit, problem::Problem},
    model::{ConversationId, MessageId, Reply},
    service::Service,
};

/// `GET /conversations/{conversation_id}/messages/{message_id}/reply`
pub(super) async fn read(
    State(http): State<Arc<Http>>,
    OfMessage(conversation, message): OfMessage,
    on: On,
    who: Who,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    admit(&http, async {
        let service = http.service()?;
        match wanted(&Query::new(uri.query()), &headers) {
            Ok(Wanted::Resource) => {
                let reply = service.reply(conversation, message).await?;
                json(StatusCode::OK, &shapes::Reply::from(&reply))
            }
            Ok(Wanted::Stream(after)) => watch(&http, service, (conversation, message), after, on, who).await,
            Err(problem) => {
                // Whether there is such a reply is judged before what is asked of it.
                service.reply(conversation, message).await?;
                Err(problem)
            }
        }
    })
    .await
}

/// What is wanted of a reply.
enum Wanted {
    Resource,
    /// Its events, after this one.
    Stream(Option<Cursor>),
}

fn wanted(query: &Query<'_>, headers: &HeaderMap) -> Result<Wanted, Problem> {
    if query.stream()?.unwrap_or_else(|| events::are_accepted(headers)) {
        Cursor::given(query, headers).map(Wanted::Stream)
    } else {
        Ok(Wanted::Resource)
    }
}

async fn watch(
    http: &Http,
    service: &Service,
    (conversation, message): (ConversationId, MessageId),
    after: Option<Cursor>,
    on: On,
    who: Who,
) -> Result<Response, Problem> {
    let number = after.map(|cursor| cursor.number);
    let watcher = service.watch_reply(conversation, message, number).await;
    let watcher = watcher.map_err(|error| Cursor::problem(after, error))?;
    if watcher.is_over() {
        // This, and nothing else, tells a browser not to come back for more.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    events::stream(http, conversation, watcher, on, who)
}

/// `POST /conversations/{conversation_id}/messages/{message_id}/reply/cancel`
pub(super) async fn cancel(
    State(http): State<Arc<Http>>,
    OfMessage(conversation, message): OfMessage,
    asked: Asked,
) -> Result<Response, Problem> {
    admit(&http, async {
        let service = http.service()?;
        let turn = begin(&http, service, (conversation, message), asked).await?;
        let once = turn.once(service, |reply| shown(StatusCode::OK, reply));
        let reply = service.cancel_reply(conversation, message, once);
        match turn.carry_out(service, reply.map_err(Problem::from)).await? {
            Ok(reply) => Ok(shown(StatusCode::OK, &reply)?.respond()),
            Err(answer) => answer.replay(&[]),
        }
    })
    .await
}

/// `POST /conversations/{conversation_id}/messages/{message_id}/reply/retry`
pub(super) async fn retry(
    State(http): State<Arc<Http>>,
    By(caller): By,
    OfMessage(conversation, message): OfMessage,
    asked: Asked,
) -> Result<Response, Problem> {
    admit(&http, async {
        let service = http.service()?;
        let turn = begin(&http, service, (conversation, message), asked).await?;
        let once = turn.once(service, |reply| shown(StatusCode::ACCEPTED, reply));
        let reply = service.retry_reply(conversation, message, &caller, once);
        match turn.carry_out(service, reply.map_err(Problem::from)).await? {
            Ok(reply) => Ok(shown(StatusCode::ACCEPTED, &reply)?.respond()),
            Err(answer) => answer.replay(&[]),
        }
    })
    .await
}

/// Begins what takes no body. Whether there is such a reply is judged before the request's key.
async fn begin(
    http: &Http,
    service: &Service,
    (conversation, message): (ConversationId, MessageId),
    asked: Asked,
) -> Result<Turn, Problem> {
    let begun = asked.begin(http, &[]);
    if begun.is_err() {
        service.reply(conversation, message).await?;
    }
    begun
}

fn shown(status: StatusCode, reply: &Reply) -> Result<Answer, Problem> {
    Answer::new(status, &shapes::Reply::from(reply))
}

/// `GET /conversations/{conversation_id}/messages/{message_id}/reply/attempts`
pub(super) async fn attempts(
    State(http): State<Arc<Http>>,
    OfMessage(conversation, message): OfMessage,
) -> Result<Response, Problem> {
    admit(&http, async {
        let attempts = http.service()?.attempts(conversation, message).await?;
        let results = attempts.iter().map(shapes::Attempt::from).collect();
        long_json(&http, StatusCode::OK, &shapes::Attempts { results })
    })
    .await
}
