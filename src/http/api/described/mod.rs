//! What the OpenAPI document says of each operation: a file for each file of handlers, a function for each handler, with its
//! name. `routes` takes one with every route.

pub(super) mod conversations;
pub(super) mod events;
pub(super) mod keys;
pub(super) mod messages;
pub(super) mod replies;

use std::ops::RangeInclusive;

use utoipa::openapi::ObjectBuilder;

use crate::{
    http::openapi::schemas::{number, one_of, or_null, text, whole},
    model::{BusyPolicy, Instructions, ModelName, Temperature, TopP},
};

/// What counts are in.
const U32: RangeInclusive<u64> = 1..=u32::MAX as u64;

/// The fields that say how replies are to be written; null says nothing.
fn with_options(object: ObjectBuilder) -> ObjectBuilder {
    let model = text(ModelName::MAX).description(Some(
        "Which model writes: a name that is configured, or `provider/name`.",
    ));
    let instructions =
        text(Instructions::MAX).description(Some("What the model is told before anything else."));
    let temperature = number(Temperature::MAX).description(Some("How freely it chooses its words."));
    let top_p = number(TopP::MAX).description(Some("From how much of the probability it chooses."));
    let longest = whole(&U32).description(Some("The longest answer, in the model's tokens."));
    let busy = one_of(BusyPolicy::ALL.map(BusyPolicy::as_str)).description(Some(
        "What becomes of a message that arrives while a reply is unfinished: its reply waits (`queue`), it is refused with 409 \
         (`reject`), or the unfinished replies are cancelled (`interrupt`).",
    ));
    object
        .property("model", or_null(model))
        .property("instructions", or_null(instructions))
        .property("temperature", or_null(temperature))
        .property("top_p", or_null(top_p))
        .property("max_output_tokens", or_null(longest))
        .property("busy", or_null(busy))
}

// --- examples that several operations have -----------------------------------------------------------------------------

const CONVERSATION: &str = r#"{"conversation_id":"550e8400-e29b-41d4-a716-446655440000","title":null,"description":"First steps","date_created":"2026-01-19T12:00:00.000000Z","date_updated":"2026-01-19T12:00:00.000000Z"}"#;

const MESSAGE: &str = r#"{"message_id":"0199c0de-0000-7000-8000-000000000001","conversation":"550e8400-e29b-41d4-a716-446655440000","role":"user","text":"Hello!","date_created":"2026-01-19T12:00:00.000000Z","date_updated":"2026-01-19T12:00:00.000000Z"}"#;

const ANSWER: &str = r#"{"message_id":"0199c0de-0000-7000-8000-000000000002","conversation":"550e8400-e29b-41d4-a716-446655440000","role":"assistant","text":"Hello! How can I assist you today?","date_created":"2026-01-19T12:00:01.000000Z","date_updated":"2026-01-19T12:00:01.000000Z"}"#;
