//! What happened, as a stream of server-sent events: each is one frame, named and numbered, with JSON for data.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, Uri, header},
    response::Response,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{
    extract::{InConversation, On, Who},
    judged_after,
    query::{Query, event_number},
    shapes,
};
use crate::{
    events::Watcher,
    http::{Http, layer::admission::admit, openapi::schemas::FinishName, problem::Problem, streams},
    model::{ConversationId, Event, Happening, MessageId, Timestamp},
    service,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// `GET /conversations/{conversation_id}/events`
pub(super) async fn read(
    State(http): State<Arc<Http>>,
    InConversation(conversation): InConversation,
    on: On,
    who: Who,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    admit(&http, async {
        let service = http.service()?;
        let asked = Cursor::given(&Query::new(uri.query()), &headers);
        let after = judged_after(service, conversation, asked).await?;
        let number = after.map_or(0, |cursor| cursor.number);
        let watcher = service.watch(conversation, number).await;
        let watcher = watcher.map_err(|error| Cursor::problem(after, error))?;
        stream(&http, conversation, watcher, on, who)
    })
    .await
}

/// The answer to somebody who watches, if there is a place.
pub(super) fn stream(
    http: &Http,
    conversation: ConversationId,
    watcher: Watcher,
    On(connection): On,
    Who(caller): Who,
) -> Result<Response, Problem> {
    let place = http.streams.enter(conversation, connection)?;
    let ended = caller.map_or_else(CancellationToken::new, |caller| (*caller.ended).clone());
    let frame = move |event: Event| frame(conversation, &event);
    Ok(streams::answer(
        watcher,
        place,
        http.shutdown.clone(),
        ended,
        frame,
    ))
}

/// Whether the client names the type of a stream among those that it takes.
pub(super) fn are_accepted(headers: &HeaderMap) -> bool {
    let given = headers.get_all(header::ACCEPT).iter();
    let ranges = given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .any(|name| name.eq_ignore_ascii_case(streams::CONTENT_TYPE))
}

/// The last event that a client has seen, and where it says so.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    field: &'static str,
    pub(super) number: u64,
}

impl Cursor {
    /// `?after=`, or else `Last-Event-ID`: an address that names a place means that place, also when a browser comes back to it.
    pub(super) fn given(query: &Query<'_>, headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let header = headers.get_all(LAST_EVENT_ID).iter().next_back();
        let header = header.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let (field, given) = match (query.after(), &header) {
            (Some(after), _) => ("after", after),
            (None, Some(header)) if !header.is_empty() => ("Last-Event-ID", header.as_ref()),
            _ => return Ok(None),
        };
        match event_number(given) {
            Some(number) => Ok(Some(Self { field, number })),
            None => Err(Problem::invalid_field(field, "A valid integer is required.")),
        }
    }

    /// What is wrong, said of the field in which the number came.
    pub(super) fn problem(given: Option<Self>, error: service::Error) -> Problem {
        match (given, error) {
            (Some(cursor), service::Error::NoSuchEvent) => Problem::no_such_event(cursor.field),
            (_, error) => error.into(),
        }
    }
}

/// An event as it goes over the wire: the same bytes for everybody who watches, now or later.
fn frame(conversation: ConversationId, event: &Event) -> Result<Bytes, serde_json::Error> {
    let (name, what) = named(&event.what);
    let is_last = matches!(event.what, Happening::ConversationDeleted);
    let payload = Payload {
        conversation_id: conversation,
        date: (!is_last).then_some(event.at),
        what,
    };
    let mut frame = Vec::with_capacity(256);
    // A conversation that is gone counts no events any more.
    if !is_last {
        frame.extend_from_slice(format!("id: {}\n", event.number).as_bytes());
    }
    frame.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    // JSON of this kind has no line breaks.
    serde_json::to_writer(&mut frame, &payload)?;
    frame.extend_from_slice(b"\n\n");
    Ok(frame.into())
}

#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct Payload<'a> {
    #[serde(serialize_with = "shapes::shown")]
    #[schema(value_type = String, format = "uuid")]
    conversation_id: ConversationId,
    /// When it happened. Missing when the conversation is gone.
    #[serde(
        serialize_with = "shapes::shown_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = String, format = DateTime, required = false)]
    date: Option<Timestamp>,
    #[serde(flatten)]
    #[schema(ignore)]
    what: What<'a>,
}

/// What an event says besides where and when.
#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Created(Created<'a>),
    Of(Of),
    Started(Started),
    Delta(Delta<'a>),
    Succeeded(Succeeded),
    Failed(Failed<'a>),
    Cancelled(Cancelled),
    Nothing {},
}

#[derive(Serialize, ToSchema)]
pub(super) struct Created<'a> {
    message: shapes::Message<'a>,
    /// The message whose place it took.
    #[serde(serialize_with = "shapes::shown_if_any")]
    #[schema(value_type = Option<String>, format = "uuid", required)]
    replaces: Option<MessageId>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Of {
    #[serde(serialize_with = "shapes::shown")]
    #[schema(value_type = String, format = "uuid")]
    message_id: MessageId,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Started {
    /// The user message.
    #[serde(serialize_with = "shapes::shown")]
    #[schema(value_type = String, format = "uuid")]
    message_id: MessageId,
    attempt: u32,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Delta<'a> {
    /// The user message.
    #[serde(serialize_with = "shapes::shown")]
    #[schema(value_type = String, format = "uuid")]
    message_id: MessageId,
    /// What was written since the event before.
    text: &'a str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Succeeded {
    /// The user message.
    #[serde(serialize_with = "shapes::shown")]
    #[schema(value_type = String, format = "uuid")]
    message_id: MessageId,
    #[serde(serialize_with = "shapes::shown_if_any")]
    #[schema(value_type = Option<String>, format = "uuid", required)]
    assistant_message_id: Option<MessageId>,
    #[schema(value_type = FinishName, inline)]
    finish_reason: &'static str,
    /// Whether the answer was cut because it was too long to be a message.
    truncated: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Failed<'a> {
    /// The user message.
    #[serde(serialize_with = "shapes::shown")]
    #[schema(value_type = String, format = "uuid")]
    message_id: MessageId,
    error: shapes::Failure<'a>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Cancelled {
    /// The user message.
    #[serde(serialize_with = "shapes::shown")]
    #[schema(value_type = String, format = "uuid")]
    message_id: MessageId,
    /// What was written by then, if anything was.
    #[serde(serialize_with = "shapes::shown_if_any")]
    #[schema(value_type = Option<String>, format = "uuid", required)]
    assistant_message_id: Option<MessageId>,
}

fn named(what: &Happening) -> (&'static str, What<'_>) {
    match what {
        Happening::MessageCreated {
            message, replaces, ..
        } => {
            let (message, replaces) = (message.into(), *replaces);
            ("message.created", What::Created(Created { message, replaces }))
        }
        Happening::MessageDeleted(message) => ("message.deleted", What::Of(Of { message_id: *message })),
        Happening::ReplyQueued(reply) => ("reply.queued", What::Of(Of { message_id: *reply })),
        Happening::ReplyStarted { reply, attempt } => {
            let (message_id, attempt) = (*reply, *attempt);
            ("reply.started", What::Started(Started { message_id, attempt }))
        }
        Happening::ReplyDelta { reply, text } => {
            let message_id = *reply;
            ("reply.delta", What::Delta(Delta { message_id, text }))
        }
        Happening::ReplySucceeded {
            reply,
            answer,
            finish,
            truncated,
        } => {
            let succeeded = Succeeded {
                message_id: *reply,
                assistant_message_id: *answer,
                finish_reason: finish.as_str(),
                truncated: *truncated,
            };
            ("reply.succeeded", What::Succeeded(succeeded))
        }
        Happening::ReplyFailed { reply, failure } => {
            let (message_id, error) = (*reply, failure.into());
            ("reply.failed", What::Failed(Failed { message_id, error }))
        }
        Happening::ReplyCancelled { reply, answer } => {
            let cancelled = Cancelled {
                message_id: *reply,
                assistant_message_id: *answer,
            };
            ("reply.cancelled", What::Cancelled(cancelled))
        }
        Happening::ConversationDeleted => ("conversation.deleted", What::Nothing {}),
    }
}
