//! The pieces that schemas are made of, with the limits that the model has.

use std::ops::RangeInclusive;

use utoipa::{
    Number, PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, Schema, SchemaFormat,
        schema::{SchemaType, Type},
    },
};

use crate::model::{BusyPolicy, Environment, FinishReason, KeyId, KeyState, Role, Scope};

/// Something between the white space that is trimmed away (`model::trim`), and no U+0000. Written out, as no two dialects
/// of regular expressions mean the same by `\s`.
const NOT_BLANK: &str = "^[^\\u0000]*[^\\u0000\\u0009-\\u000d\\u001c-\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000][^\\u0000]*$";

const NO_NUL: &str = "^[^\\u0000]*$";

pub(in crate::http) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text that may not be blank.
pub(in crate::http) fn text(most: usize) -> ObjectBuilder {
    string()
        .min_length(Some(1))
        .max_length(Some(most))
        .pattern(Some(NOT_BLANK))
}

/// A text that may be empty.
pub(in crate::http) fn any_text(most: usize) -> ObjectBuilder {
    string().max_length(Some(most)).pattern(Some(NO_NUL))
}

/// One of some names.
pub(in crate::http) fn one_of(names: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    string().enum_values(Some(names))
}

/// A number from 0.
pub(in crate::http) fn number(most: f64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(0.0))
        .maximum(Some(most))
}

/// A whole number.
pub(in crate::http) fn whole(range: &RangeInclusive<u64>) -> ObjectBuilder {
    let bound = |bound: u64| usize::try_from(bound).map_or(Number::Float(f64::INFINITY), Number::UInt);
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(bound(*range.start())))
        .maximum(Some(bound(*range.end())))
}

/// The same, or null.
pub(in crate::http) fn or_null(schema: ObjectBuilder) -> ObjectBuilder {
    let mut object = schema.build();
    if let SchemaType::Type(only) = object.schema_type {
        object.schema_type = SchemaType::Array(vec![only, Type::Null]);
    }
    if let Some(names) = &mut object.enum_values {
        names.push(serde_json::Value::Null);
    }
    object.into()
}

pub(in crate::http) fn uuid() -> ObjectBuilder {
    string().format(Some(SchemaFormat::Custom("uuid".to_owned())))
}

/// The public name of a key.
pub(in crate::http) fn key_id() -> ObjectBuilder {
    string().pattern(Some(format!("^[0-9A-Za-z]{{{}}}$", KeyId::LENGTH)))
}

/// A schema by its name among the components.
pub(in crate::http) fn named(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

/// Types for fields whose value is a name: what the model has, so that the document cannot name others.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $names:expr;)+) => {
        $(
            $(#[$doc])*
            pub(in crate::http) enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    one_of($names).into()
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

names! {
    /// Who says a message.
    RoleName: [Role::User, Role::Assistant].map(Role::as_str);
    /// What became of a reply so far.
    ReplyStatus: ["queued", "running", "succeeded", "failed", "cancelled"];
    /// What became of a try that is over.
    FinalStatus: ["succeeded", "failed", "cancelled"];
    /// Why a model stopped.
    FinishName: FinishReason::ALL.map(FinishReason::as_str);
    /// What becomes of a message that arrives while a reply is unfinished.
    BusyName: BusyPolicy::ALL.map(BusyPolicy::as_str);
    /// What a key may do.
    ScopeName: Scope::ALL.map(Scope::as_str);
    /// Where a key opens something.
    EnvironmentName: [Environment::Live, Environment::Test].map(Environment::as_str);
    /// Whether a key opens something.
    KeyStatus: [KeyState::Active, KeyState::Expired, KeyState::Revoked].map(KeyState::as_str);
    /// What every error says of itself.
    ErrorStatus: ["error"];
    /// Whether something works.
    HealthStatus: ["ok", "unavailable"];
}
