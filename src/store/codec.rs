//! How values that have no columns of their own are written: as JSON, the same in every database.
//!
//! Each field can be missing, and fields that are not known are passed over, so that older and newer programs read each
//! other's.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::model::{
    Account, BusyPolicy, Instructions, ModelName, ReplyOptions, Temperature, TopP, TraceParent, Usage,
};

#[derive(Serialize, Deserialize)]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    model: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    instructions: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    busy: Option<std::borrow::Cow<'a, str>>,
}

/// Options as a text; `None` when there are none.
pub(super) fn options_to_text(options: &ReplyOptions) -> Option<String> {
    if options.is_empty() {
        return None;
    }
    let shape = Options {
        model: options.model.as_ref().map(|name| name.as_str().into()),
        instructions: options.instructions.as_ref().map(|text| text.as_str().into()),
        temperature: options.temperature.map(Temperature::get),
        top_p: options.top_p.map(TopP::get),
        max_output_tokens: options.max_output_tokens.map(NonZeroU32::get),
        busy: options.busy.map(|policy| policy.as_str().into()),
    };
    serde_json::to_string(&shape).ok()
}

/// Options from a text that [`options_to_text`] gave; `None` when it did not.
pub(super) fn options_from_text(text: &str) -> Option<ReplyOptions> {
    let shape: Options<'_> = serde_json::from_str(text).ok()?;
    Some(ReplyOptions {
        model: shape.model.map(|name| ModelName::from_stored(name.into_owned())),
        instructions: shape
            .instructions
            .map(|text| Instructions::from_stored(text.into_owned())),
        temperature: shape.temperature.and_then(Temperature::new),
        top_p: shape.top_p.and_then(TopP::new),
        max_output_tokens: shape.max_output_tokens.and_then(NonZeroU32::new),
        busy: shape.busy.and_then(|name| BusyPolicy::parse(&name)),
    })
}

/// A span as a text; `None` when nothing is traced.
pub(super) fn trace_to_text(trace: Option<TraceParent>) -> Option<String> {
    trace.map(|parent| parent.to_string())
}

/// A span from a text. One that cannot be read is no reason not to reply.
pub(super) fn trace_from_text(text: Option<&str>) -> Option<TraceParent> {
    text.and_then(TraceParent::parse)
}

#[derive(Serialize)]
struct AccountShape<'a> {
    provider: &'a str,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageShape>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the field's standard terms")]
struct UsageShape {
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
}

/// An account as a text; `None` for nobody's.
pub(super) fn account_to_text(account: &Account) -> Option<String> {
    if *account == Account::default() {
        return None;
    }
    let usage = account.usage.map(
        |Usage {
             input_tokens,
             output_tokens,
             cached_tokens,
         }| UsageShape {
            input_tokens,
            output_tokens,
            cached_tokens,
        },
    );
    let shape = AccountShape {
        provider: &account.provider,
        model: &account.model,
        usage,
    };
    serde_json::to_string(&shape).ok()
}

#[derive(Deserialize)]
struct StoredAccount {
    #[serde(default)]
    provider: String,
    #[serde(default)]
    model: String,
    usage: Option<StoredUsage>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the field's standard terms")]
struct StoredUsage {
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
}

/// An account from a text that [`account_to_text`] gave; `None` when it did not.
pub(super) fn account_from_text(text: &str) -> Option<Account> {
    let stored: StoredAccount = serde_json::from_str(text).ok()?;
    Some(Account {
        provider: stored.provider,
        model: stored.model,
        usage: stored.usage.map(|usage| Usage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_tokens: usage.cached_tokens,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_as_they_were() {
        let options = ReplyOptions {
            model: ModelName::parse("local/llama").ok(),
            instructions: Instructions::parse("Be \"brief\".\n").ok(),
            temperature: Temperature::new(0.7),
            top_p: TopP::new(1.0),
            max_output_tokens: NonZeroU32::new(5),
            busy: Some(BusyPolicy::Interrupt),
        };
        let text = options_to_text(&options).unwrap();
        assert_eq!(options_from_text(&text), Some(options));
        assert_eq!(options_to_text(&ReplyOptions::default()), None);
    }

    #[test]
    fn accounts_come_back_as_they_were() {
        let mut account = Account {
            provider: "local".to_owned(),
            model: "llama \"3\"".to_owned(),
            usage: None,
        };
        for usage in [
            None,
            Some(Usage {
                input_tokens: 1,
                output_tokens: 2,
                cached_tokens: 0,
            }),
        ] {
            account.usage = usage;
            assert_eq!(
                account_from_text(&account_to_text(&account).unwrap()),
                Some(account.clone())
            );
        }
        assert_eq!(account_to_text(&Account::default()), None);
    }

    #[test]
    fn what_a_newer_program_adds_is_passed_over() {
        let options = options_from_text(r#"{"reasoning": "high", "top_p": 0.5}"#).unwrap();
        assert_eq!(options.top_p, TopP::new(0.5));
    }
}
