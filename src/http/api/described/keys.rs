use utoipa::openapi::{
    ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat,
    schema::{SchemaType, Type},
};

use super::U32;
use crate::{
    http::{
        api::{
            keys::{LIMITS, LONGEST_OVERLAP_S, MOST_TOKENS, OVERLAP},
            shapes,
        },
        openapi::{
            Described, Example, KEYS,
            schemas::{one_of, or_null, string, text, whole},
        },
    },
    model::{Environment, KeyName, Scope, Scopes},
};

const KEY: &str = r#"{"key_id":"4Xk0Zq81LmNb","name":"web app","environment":"live","scopes":["conversations:write","messages:write"],"limits":{"requests_per_s":50,"messages_per_min":null,"pending_replies":null,"tokens_per_day":null},"date_created":"2026-01-19T12:00:00.000000Z","date_expires":null,"date_revoked":null,"date_last_used":null,"status":"active"}"#;

const TEXT: &str = "eng_live_4Xk0Zq81LmNb_0000000000000000000000000000000000000000000aaaaaa";

/// The answer that has the key itself.
fn made() -> Example {
    let shown = KEY.trim_end_matches('}');
    Example::new(format!(r#"{shown},"key":"{TEXT}"}}"#))
}

fn an_object(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(description))
}

/// The two ways of saying when a key is to expire.
fn with_end(object: ObjectBuilder) -> ObjectBuilder {
    let date = string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("When it expires: a time to come, or a date without a time."));
    let seconds = whole(&U32).description(Some("Or in how many seconds. Without either it does not expire."));
    object
        .property("date_expires", or_null(date))
        .property("expires_in_s", or_null(seconds))
}

pub(in crate::http::api) fn create() -> Described {
    let scopes = ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(one_of(Scope::ALL.map(Scope::as_str)))
        .min_items(Some(1))
        .description(Some(format!(
            "What it may do. If it is not given: {}.",
            Scopes::USUAL
                .iter()
                .map(Scope::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        )));
    let limits = LIMITS.iter().fold(
        an_object("What it may use; null is the service's own limit."),
        |object, name| {
            let most = if *name == "tokens_per_day" {
                MOST_TOKENS
            } else {
                u32::MAX.into()
            };
            object.property(*name, or_null(whole(&(1..=most))))
        },
    );
    let environments = [Environment::Live, Environment::Test].map(Environment::as_str);
    let body = an_object("A key to be. Null is as good as nothing, but for `name`.")
        .property(
            "name",
            // On one line: no control characters.
            text(KeyName::MAX).pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000][^\\u0000-\\u001f\\u007f-\\u009f]*$"))
                .description(Some("What people call it, on one line.")),
        )
        .property(
            "environment",
            or_null(one_of(environments)).description(Some("`live` if it is not given. Production takes no test keys.")),
        )
        .property("scopes", scopes)
        .property("limits", or_null(limits))
        .required("name");
    Described::new("createKey", KEYS, "Make a key")
        .saying("The answer has the key itself, which is shown here and nowhere else.")
        .body(
            "NewKey",
            with_end(body),
            [
                ("plain", Example::titled("With the usual scopes", r#"{"name":"web app"}"#)),
                (
                    "limited",
                    Example::titled(
                        "For a month, with limits",
                        r#"{"name":"trial","scopes":["conversations:write","messages:write"],"limits":{"requests_per_s":50},"expires_in_s":2592000}"#,
                    ),
                ),
            ],
        )
        .answers::<shapes::KeyMade<'_>>(201, "The key.", made())
        .telling(201, "Location")
        .leading(201, "readKey", IT)
        .leading(201, "rotateKey", IT)
        .leading(201, "revokeKey", IT)
}

/// Where an answer has the id of the key.
const IT: &[(&str, &str)] = &[("key_id", "$response.body#/key_id")];

pub(in crate::http::api) fn list() -> Described {
    Described::new("listKeys", KEYS, "List all keys")
        .saying("The oldest first, those that open nothing any more too.")
        .answers::<shapes::Keys<'_>>(
            200,
            "The keys.",
            Example::new(format!(r#"{{"results":[{KEY}]}}"#)),
        )
}

pub(in crate::http::api) fn read() -> Described {
    Described::new("readKey", KEYS, "Read what is known of a key").answers::<shapes::Key<'_>>(
        200,
        "The key, without the key itself.",
        Example::new(KEY),
    )
}

pub(in crate::http::api) fn revoke() -> Described {
    let revoked = KEY
        .replace(
            r#""date_revoked":null"#,
            r#""date_revoked":"2026-01-20T12:00:00.000000Z""#,
        )
        .replace("\"active\"", "\"revoked\"");
    Described::new("revokeKey", KEYS, "Take a key back")
        .saying("It opens nothing from then on, and streams that it opened end: on this node at once, elsewhere within 5 seconds.")
        .answers::<shapes::Key<'_>>(200, "The key, which opens nothing any more.", Example::new(revoked))
}

pub(in crate::http::api) fn rotate() -> Described {
    let overlap = format!(
        "For how many seconds the old key goes on beside the new one; {} if it is not given.",
        OVERLAP.as_secs()
    );
    let overlap = whole(&(0..=LONGEST_OVERLAP_S)).description(Some(overlap));
    let body = an_object("How a key is to be replaced. Null is as good as nothing.")
        .property("overlap_s", or_null(overlap));
    Described::new("rotateKey", KEYS, "Make a key that takes another's place")
        .saying("The new one takes over the name, the scopes, the limits, the environment and whose things are whose. A key that opens nothing has no successor: 409.")
        .body(
            "KeyRotation",
            with_end(body),
            [
                ("plain", Example::titled("The old one goes on for a day", "{}")),
                ("at-once", Example::titled("The old one ends now", r#"{"overlap_s":0}"#)),
            ],
        )
        .answers::<shapes::KeyMade<'_>>(201, "The key that takes its place.", made())
        .telling(201, "Location")
}
