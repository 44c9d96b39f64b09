use utoipa::{
    PartialSchema, ToSchema,
    openapi::{AllOfBuilder, ContentBuilder, ObjectBuilder, OneOfBuilder, RefOr, Schema, schema::Type},
};

use crate::http::{
    api::events::{Cancelled, Created, Delta, Failed, Of, Payload, Started, Succeeded},
    openapi::{
        Described, EVENTS, Example,
        schemas::{named, one_of, string},
    },
    streams::CONTENT_TYPE,
};

/// After which nothing comes.
const LAST: &str = "conversation.deleted";

const FRAME: &str = r#"{"id":"33554433","event":"reply.delta","data":"{\"conversation_id\":\"550e8400-e29b-41d4-a716-446655440000\",\"date\":\"2026-01-19T12:00:00.000000Z\",\"message_id\":\"0199c0de-0000-7000-8000-000000000001\",\"text\":\"Hello!\"}"}"#;

/// What an event says besides where and when, and when it comes. The last one says nothing.
fn payloads() -> [(&'static str, &'static str, Option<RefOr<Schema>>); 9] {
    [
        (
            "message.created",
            "A message was added, or took the place of another.",
            Some(Created::schema()),
        ),
        ("message.deleted", "A message is gone.", Some(Of::schema())),
        ("reply.queued", "A reply was asked for.", Some(Of::schema())),
        (
            "reply.started",
            "A reply is being written, from the first word: what was told of an earlier start is void.",
            Some(Started::schema()),
        ),
        (
            "reply.delta",
            "A piece of a reply was written.",
            Some(Delta::schema()),
        ),
        (
            "reply.succeeded",
            "A reply is complete.",
            Some(Succeeded::schema()),
        ),
        ("reply.failed", "A reply was given up.", Some(Failed::schema())),
        (
            "reply.cancelled",
            "A reply was called off.",
            Some(Cancelled::schema()),
        ),
        (
            LAST,
            "The conversation is gone. The last event, without a date and without an id.",
            None,
        ),
    ]
}

/// `message.created` is described by `MessageCreatedEvent`.
fn component(event: &str) -> String {
    let words = event.split('.').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or_default();
        first.to_uppercase() + rest
    });
    words.collect::<String>() + "Event"
}

/// An event as it is sent; the last one has no number.
fn frame(event: &'static str, payload: &str) -> ObjectBuilder {
    let data = string()
        .content_media_type("application/json")
        .content_schema(Some(named(payload)));
    let frame = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("event", one_of([event]))
        .property("data", data)
        .required("event")
        .required("data");
    if event == LAST {
        return frame;
    }
    let number = string().pattern(Some("^[0-9]+$")).description(Some(
        "Its number in the conversation: they rise, and leave gaps of any size.",
    ));
    frame.property("id", number).required("id")
}

/// The same with an answer that is a stream.
pub(super) fn streaming(described: Described, description: &str) -> Described {
    let mut described = described.naming(Payload::name(), Payload::schema());
    Created::schemas(&mut described.schemas);
    Failed::schemas(&mut described.schemas);
    let mut frames = OneOfBuilder::new().description(Some(
        "One event of the stream. Its `data` is one line of JSON. Pass over names that you do not know.",
    ));
    for (event, when, besides) in payloads() {
        let name = component(event);
        let schema = AllOfBuilder::new()
            .description(Some(format!("`{event}`: {when}")))
            .item(named(&Payload::name()));
        let schema = besides.into_iter().fold(schema, AllOfBuilder::item);
        frames = frames.item(frame(event, &name));
        described = described.naming(name, schema);
    }
    let content = ContentBuilder::new()
        .schema(Some(named("Frame")))
        .example(Some(Example::new(FRAME).value()));
    described
        .naming("Frame", frames)
        .answers_with(200, description, CONTENT_TYPE, content.build())
        .telling(200, "X-Accel-Buffering")
}

pub(super) fn after_query(described: Described) -> Described {
    described.query(
        "after",
        "The number of the last event that was seen: the stream goes on after it. A number that the conversation has not reached is \
         400. Comes before the header.",
        string().pattern(Some("^[0-9]*$")).examples(["0"]),
    )
}

/// Digits, like `after`; but where that is given, nobody looks at it.
pub(super) fn after_header(described: Described) -> Described {
    described.header(
        "Last-Event-ID",
        "The same in digits, as browsers send it by themselves when they come back.",
        string().examples(["0"]),
    )
}

/// The first events of a conversation, as they come.
const STREAM: &str = r#"

```text
retry: 2000

id: 33554433
event: reply.started
data: {"conversation_id":"550e8400-e29b-41d4-a716-446655440000","date":"2026-01-19T12:00:00.000000Z","message_id":"0199c0de-0000-7000-8000-000000000001","attempt":1}

id: 33554434
event: reply.delta
data: {"conversation_id":"550e8400-e29b-41d4-a716-446655440000","date":"2026-01-19T12:00:00.000000Z","message_id":"0199c0de-0000-7000-8000-000000000001","text":"Hello!"}
```
"#;

pub(in crate::http::api) fn read() -> Described {
    let about = "Everything that happened in the conversation, and from then on what happens, as server-sent events. Whoever comes back with \
                 the number of the last event that they saw gets exactly what came after it. Keep the last `id`, apply events as they come, \
                 empty a reply's draft at each `reply.started`, and pass over names that you do not know. When nothing happens for 15 \
                 seconds, a comment says that the stream is still there.";
    let described = Described::new("watchConversation", EVENTS, "Watch a conversation");
    let described = after_header(after_query(described.saying(&format!("{about}{STREAM}"))));
    streaming(described, "What happened, and then what happens.")
}
