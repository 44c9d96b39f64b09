//! What a body says about how replies are to be written.

use std::{num::NonZeroU32, ops::RangeInclusive};

use super::body::Fields;
use crate::{
    http::problem::no_such_model,
    model::{BusyPolicy, Change, Instructions, ModelName, OptionsChange, ReplyOptions, Temperature, TopP},
    service::Service,
};

/// The fields, in the contract's order.
pub(super) const NAMES: [&str; 6] = [
    "model",
    "instructions",
    "temperature",
    "top_p",
    "max_output_tokens",
    "busy",
];

/// What is to change: what is missing stays, and null empties.
pub(super) fn change(fields: &mut Fields<'_>, service: &Service) -> OptionsChange {
    OptionsChange {
        model: model(fields, service),
        instructions: fields.text_change("instructions", Instructions::parse),
        temperature: number(fields, "temperature", Temperature::MAX, Temperature::new),
        top_p: number(fields, "top_p", TopP::MAX, TopP::new),
        max_output_tokens: positive(fields, "max_output_tokens"),
        busy: fields.change("busy", |fields, value| {
            fields.choice("busy", value, BusyPolicy::parse)
        }),
    }
}

/// What is asked for where nothing was before: null is as good as missing.
pub(super) fn given(fields: &mut Fields<'_>, service: &Service) -> ReplyOptions {
    change(fields, service).apply(ReplyOptions::default())
}

/// A model that somebody offers; looked up here, so that it is named together with whatever else is wrong.
fn model(fields: &mut Fields<'_>, service: &Service) -> Change<ModelName> {
    let change = fields.text_change("model", ModelName::parse);
    if let Change::Set(name) = &change
        && !service.offers(name)
    {
        fields.refuse::<()>("model", no_such_model(name));
    }
    change
}

/// Refuses all of them, where there will be no reply.
pub(super) fn refuse(fields: &mut Fields<'_>) {
    for name in NAMES {
        fields.change::<()>(name, |fields, _| {
            fields.refuse(name, "Only a user message asks for a reply.")
        });
    }
}

/// A number from 0.
fn number<T>(fields: &mut Fields<'_>, name: &'static str, max: f64, new: fn(f64) -> Option<T>) -> Change<T> {
    fields.change(name, |fields, value| {
        let json = value.get();
        // What is a number in JSON is one in Rust; one that is too large for it is infinite.
        let given = is_number(json).then(|| json.parse::<f64>().ok()).flatten();
        match given {
            None => fields.refuse(name, "A valid number is required."),
            Some(given) => match new(given) {
                Some(number) => Some(number),
                None if given > max => fields.refuse(name, at_most(max)),
                None => fields.refuse(name, "Ensure this value is greater than or equal to 0."),
            },
        }
    })
}

/// A whole number from 1, in digits.
fn positive(fields: &mut Fields<'_>, name: &'static str) -> Change<NonZeroU32> {
    match whole(fields, name, 1..=u32::MAX.into()) {
        Change::Set(number) => u32::try_from(number)
            .ok()
            .and_then(NonZeroU32::new)
            .map_or(Change::Keep, Change::Set),
        Change::Clear => Change::Clear,
        Change::Keep => Change::Keep,
    }
}

/// A whole number in this range, in digits.
pub(super) fn whole(fields: &mut Fields<'_>, name: &'static str, range: RangeInclusive<u64>) -> Change<u64> {
    fields.change(name, |fields, value| {
        let json = value.get();
        let digits = json.strip_prefix('-').unwrap_or(json);
        if !is_number(json) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return fields.refuse(name, "A valid integer is required.");
        }
        match json.parse::<u64>() {
            Ok(number) if range.contains(&number) => Some(number),
            Ok(number) if number > *range.end() => fields.refuse(name, at_most(range.end())),
            Err(_) if !json.starts_with('-') => fields.refuse(name, at_most(range.end())),
            Ok(_) | Err(_) => fields.refuse(
                name,
                format!("Ensure this value is greater than or equal to {}.", range.start()),
            ),
        }
    })
}

fn at_most(max: impl std::fmt::Display) -> String {
    format!("Ensure this value is less than or equal to {max}.")
}

fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}
