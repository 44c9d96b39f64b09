//! What a provider's refusal means, whichever dialect it is in.

use std::time::Duration;

use jiff::fmt::rfc2822;
use serde_json::Value;

use super::trouble::{Kind, Trouble};
use crate::model::Timestamp;

/// Codes of an allowance that is used up: asking again spends nothing and gains nothing.
const SPENT: &[&str] = &[
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
    "insufficient_credits",
];

/// Codes of a prompt that is longer than the model can read.
const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size_error",
    "request_too_large",
];

/// How servers that have no code for it say the same.
const SAYS_TOO_LONG: &[&str] = &[
    "context length",
    "context window",
    "context size",
    "prompt is too long",
    "too many tokens",
    "maximum context",
];

const UNKNOWN_MODEL: &[&str] = &["model_not_found"];

/// How servers that have no code for it say the same.
const SAYS_UNKNOWN_MODEL: &[&str] = &["not a valid model", "invalid model", "model not found"];

/// The status that goes with a kind of error, for those that come after a status of 200.
const STATUSES: &[(&str, u16)] = &[
    ("authentication_error", 401),
    ("invalid_api_key", 401),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("overloaded_error", 529),
    ("invalid_request_error", 400),
    ("badrequesterror", 400),
];

/// What a provider says of its failure.
struct Said {
    /// Codes and kinds, in lower case.
    codes: Vec<String>,
    /// For people, in lower case.
    message: String,
    /// A status that stands in the text.
    status: Option<u16>,
}

/// Judges an answer that is none. `wish` is its Retry-After, if it has one that can be read.
pub(super) fn status(status: u16, body: &str, wish: Option<Wish>) -> Trouble {
    let said = Said::of(&serde_json::from_str(body).unwrap_or_default());
    let kind = match status {
        300..400 => Kind::Redirected,
        429 if said.has(SPENT) || wish.is_none() => Kind::Spent,
        other => said.kind(other),
    };
    Trouble {
        status: Some(status),
        after: wish.and_then(|wish| wish.0),
        ..Trouble::new(kind, "the provider refused")
    }
}

/// Judges an error that comes after a status of 200, when no header can come any more.
pub(super) fn late(error: &str) -> Trouble {
    let said = Said::of(&serde_json::from_str(error).unwrap_or_default());
    let named = STATUSES.iter().find(|(code, _)| said.has(&[code]));
    let status = named.map(|(_, status)| *status).or(said.status);
    let kind = said.kind(status.unwrap_or(500));
    Trouble {
        status,
        ..Trouble::new(kind, "the provider failed after it had begun to answer")
    }
}

impl Said {
    fn of(body: &Value) -> Self {
        let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
        let field = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_lowercase);
        let message = error.as_str().map(str::to_lowercase);
        Self {
            codes: ["code", "type"].iter().filter_map(|name| field(name)).collect(),
            message: message
                .or_else(|| field("message"))
                .or_else(|| field("detail"))
                .unwrap_or_default(),
            status: error
                .get("code")
                .and_then(Value::as_u64)
                .and_then(|status| u16::try_from(status).ok())
                .filter(|status| (400..600).contains(status)),
        }
    }

    fn has(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|words| self.message.contains(words))
    }

    fn kind(&self, status: u16) -> Kind {
        match status {
            401 | 403 => Kind::Unauthorized,
            402 => Kind::Spent,
            _ if self.has(SPENT) => Kind::Spent,
            413 => Kind::TooLong,
            _ if self.has(TOO_LONG) => Kind::TooLong,
            400..500 if status != 429 && self.says(SAYS_TOO_LONG) => Kind::TooLong,
            404 => Kind::UnknownModel,
            _ if self.has(UNKNOWN_MODEL) => Kind::UnknownModel,
            400..500 if self.says(SAYS_UNKNOWN_MODEL) => Kind::UnknownModel,
            429 => Kind::Limited,
            503 | 529 => Kind::Overloaded,
            408 | 409 | 425 | 500.. => Kind::Failed,
            _ => Kind::Rejected,
        }
    }
}

/// How long a provider wants to be left alone; without a time, if it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish(Option<Duration>);

impl Wish {
    /// Reads a Retry-After: seconds, or a date. What lies in the past is no pause at all.
    pub(super) fn parse(header: &str, now: Timestamp) -> Self {
        let header = header.trim();
        if let Ok(seconds) = header.parse::<i64>() {
            return Self(Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))));
        }
        let Ok(date) = rfc2822::parse(header) else {
            return Self(None);
        };
        let micros = date.timestamp().as_microsecond().saturating_sub(now.as_micros());
        Self(Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_wish_is_seconds_or_a_date_and_never_negative() {
        let wish = |header: &str| Wish::parse(header, NOW).0;
        assert_eq!(wish("7"), Some(Duration::from_secs(7)));
        assert_eq!(wish("-5"), Some(Duration::ZERO));
        assert_eq!(
            wish("Tue, 14 Nov 2023 22:13:30 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(wish("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for unreadable in ["", "soon", "1.5", "99999999999999999999", "Sun, 99 Nov 1994"] {
            assert_eq!(wish(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn refusals_are_judged_by_status_code_and_words() {
        let told = Some(Wish(Some(Duration::from_secs(1))));
        for (code, body, wish, kind) in [
            (401, "", None, Kind::Unauthorized),
            (403, "", None, Kind::Unauthorized),
            (402, "", None, Kind::Spent),
            (429, "", None, Kind::Spent),
            (429, "", told, Kind::Limited),
            (429, "", Some(Wish(None)), Kind::Limited),
            (
                429,
                r#"{"error":{"code":"insufficient_quota"}}"#,
                told,
                Kind::Spent,
            ),
            (
                400,
                r#"{"error":{"code":"context_length_exceeded"}}"#,
                None,
                Kind::TooLong,
            ),
            (
                400,
                r#"{"error":{"code":400,"type":"exceed_context_size_error"}}"#,
                None,
                Kind::TooLong,
            ),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 4","code":400}"#,
                None,
                Kind::TooLong,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
                None,
                Kind::TooLong,
            ),
            (413, "<html>", None, Kind::TooLong),
            (
                404,
                r#"{"error":"model 'x' not found"}"#,
                None,
                Kind::UnknownModel,
            ),
            (
                400,
                r#"{"error":{"message":"x is not a valid model ID","code":400}}"#,
                None,
                Kind::UnknownModel,
            ),
            (
                400,
                r#"{"error":{"message":"temperature"}}"#,
                None,
                Kind::Rejected,
            ),
            (422, "{}", None, Kind::Rejected),
            (408, "", None, Kind::Failed),
            (500, "not json", None, Kind::Failed),
            (503, "", None, Kind::Overloaded),
            (529, "", None, Kind::Overloaded),
            (302, "", None, Kind::Redirected),
            (599, "[]", None, Kind::Failed),
        ] {
            assert_eq!(status(code, body, wish).kind, kind, "{code} {body}");
        }
    }

    #[test]
    fn errors_after_the_beginning_are_judged_without_a_status() {
        for (error, kind) in [
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
                Kind::Overloaded,
            ),
            (r#"{"type":"rate_limit_error"}"#, Kind::Limited),
            (r#"{"error":{"code":"rate_limit_exceeded"}}"#, Kind::Limited),
            (r#"{"error":{"code":502,"message":"x"}}"#, Kind::Failed),
            (r#"{"error":{"type":"server_error"}}"#, Kind::Failed),
            (
                r#"{"error":{"code":400,"message":"the context length is"}}"#,
                Kind::TooLong,
            ),
            (
                r#"{"code":"context_length_exceeded","type":"error"}"#,
                Kind::TooLong,
            ),
            (r#""out of memory""#, Kind::Failed),
            ("", Kind::Failed),
        ] {
            assert_eq!(late(error).kind, kind, "{error}");
        }
    }
}
