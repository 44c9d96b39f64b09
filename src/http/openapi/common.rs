//! What is said once for the whole service: what it is, where it is, keys, parameters of paths.

use utoipa::openapi::{
    Components, ComponentsBuilder, Info, InfoBuilder, Ref, Required, Server, Tag,
    info::LicenseBuilder,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::ObjectBuilder,
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    server::ServerBuilder,
    tag::TagBuilder,
};

use super::{errors, headers, schemas};
use crate::http::problem::{Envelope, Rfc9457};

/// The two ways of sending a key.
pub(super) const SCHEMES: [&str; 2] = ["ApiKey", "Bearer"];

pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Groups of operations.
pub(in crate::http) const CONVERSATIONS: &str = "Conversations";
pub(in crate::http) const MESSAGES: &str = "Messages";
pub(in crate::http) const REPLIES: &str = "Replies";
pub(in crate::http) const EVENTS: &str = "Live events";
pub(in crate::http) const KEYS: &str = "Keys";
pub(in crate::http) const OPERATIONS: &str = "Operations";

const ABOUT: &str = include_str!("about.md");

pub(super) fn info() -> Info {
    InfoBuilder::new()
        .title("Engagement")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(
            LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build(),
        ))
        .build()
}

pub(super) fn servers() -> [Server; 2] {
    [
        ("/api/v1", "Every route, with its version"),
        (
            "/",
            "The routes of the first version, which stay as they are for ever",
        ),
    ]
    .map(|(url, description)| {
        ServerBuilder::new()
            .url(url)
            .description(Some(description))
            .build()
    })
}

pub(super) fn tags() -> Vec<Tag> {
    [
        (CONVERSATIONS, "Open, read, change and delete conversations."),
        (
            MESSAGES,
            "What was said. Every user message gets exactly one reply by an assistant.",
        ),
        (
            REPLIES,
            "How the answer to a user message is coming along: watch it, cancel it, have it written again.",
        ),
        (
            EVENTS,
            "Everything that happens in a conversation, as it happens.",
        ),
        (KEYS, "API keys, for those whose own may administer them."),
        (OPERATIONS, "Whether the service is well, and this document."),
    ]
    .into_iter()
    .map(|(name, description)| {
        TagBuilder::new()
            .name(name)
            .description(Some(description))
            .build()
    })
    .collect()
}

/// What the operations refer to.
pub(super) fn components() -> Components {
    let mut components = ComponentsBuilder::new()
        .schema_from::<Envelope<'_>>()
        .schema_from::<Rfc9457<'_>>();
    for (name, response) in errors::responses() {
        components = components.response(name, response);
    }
    for (name, header) in headers::all() {
        components = components.header(name, header);
    }
    for parameter in parameters() {
        components = components.parameter(parameter.name.clone(), parameter);
    }
    let key = ApiKey::Header(ApiKeyValue::with_description("X-API-Key", "An API key."));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("eng_live_…")
        .description(Some("The same key, as `Authorization: Bearer`."))
        .build();
    let [own, other] = SCHEMES;
    components
        .security_scheme(own, SecurityScheme::ApiKey(key))
        .security_scheme(other, SecurityScheme::Http(bearer))
        .build()
}

/// Refers to a parameter that several operations have.
pub(super) fn parameter(name: &str) -> Ref {
    Ref::new(format!("#/components/parameters/{name}"))
}

fn parameters() -> [Parameter; 4] {
    const KEY: &str = r#"^([!#-~]([ -~]{0,253}[!-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#;
    let key = "A name of the client's own for this request, as it is or in quotes (a string of RFC 9651). Asked again under the \
               same name, it is done once and answered with the first answer, byte for byte, for 24 hours.";
    [
        in_path(
            "conversation_id",
            "A conversation's id. Whoever knows it may read the conversation.",
            schemas::uuid(),
            "550e8400-e29b-41d4-a716-446655440000",
        ),
        in_path(
            "message_id",
            "The id of a message of this conversation.",
            schemas::uuid(),
            "0199c0de-0000-7000-8000-000000000001",
        ),
        in_path(
            "key_id",
            "A key's public name.",
            schemas::key_id(),
            "4Xk0Zq81LmNb",
        ),
        ParameterBuilder::new()
            .name(IDEMPOTENCY_KEY)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(key))
            .schema(Some(schemas::string().pattern(Some(KEY)).max_length(Some(512))))
            .build(),
    ]
}

fn in_path(name: &str, description: &str, schema: ObjectBuilder, example: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .example(Some(example.into()))
        .build()
}
