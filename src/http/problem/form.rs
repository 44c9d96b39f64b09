//! How an error is written: in the envelope of the service's contract, or as RFC 9457 has it.

use std::borrow::Cow;

use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{DETAIL, Details};
use crate::http::openapi::schemas::ErrorStatus;

const PROBLEM_JSON: &str = "application/problem+json";

/// How an error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Form {
    Envelope,
    /// `application/problem+json`.
    Rfc9457,
}

impl Form {
    /// The form that a client wants: the envelope, unless it names the other type itself. Wildcards name nothing.
    pub(in crate::http) fn wanted(headers: &HeaderMap) -> Self {
        let given = headers.get_all(header::ACCEPT).iter();
        let ranges = given
            .filter(|value| value.len() >= PROBLEM_JSON.len())
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let is_named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(PROBLEM_JSON));
            if is_named && parts.all(|parameter| !refuses(parameter)) {
                return Self::Rfc9457;
            }
        }
        Self::Envelope
    }

    /// The body, and its content type.
    pub(super) fn write(
        self,
        status: StatusCode,
        mut details: Details,
        request_id: &str,
    ) -> (Vec<u8>, &'static str) {
        let (json, kind) = match self {
            Self::Envelope => {
                if status == StatusCode::INTERNAL_SERVER_ERROR {
                    details.insert(Cow::Borrowed("request_id"), vec![request_id.to_owned()]);
                }
                let envelope = Envelope {
                    status: "error",
                    code: status.as_u16(),
                    message: message(status),
                    details: &details,
                };
                (serde_json::to_vec(&envelope), "application/json")
            }
            Self::Rfc9457 => {
                let detail = details.get(DETAIL).and_then(|texts| texts.first());
                let problem = Rfc9457 {
                    kind: "about:blank",
                    title: status.canonical_reason().unwrap_or("Error"),
                    status: status.as_u16(),
                    detail: detail.map(String::as_str),
                    errors: &details,
                    request_id,
                };
                (serde_json::to_vec(&problem), PROBLEM_JSON)
            }
        };
        (json.unwrap_or_default(), kind)
    }
}

/// `q=0`, with any number of zeros after a point; and a `q` that is no number.
fn refuses(parameter: &str) -> bool {
    let quality = parameter
        .split_once('=')
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    quality.is_some_and(|(_, quality)| !quality.trim().parse::<f32>().is_ok_and(|quality| quality > 0.0))
}

/// An error.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(in crate::http) struct Envelope<'a> {
    #[schema(value_type = ErrorStatus, inline)]
    status: &'static str,
    /// The status code of the answer.
    #[schema(minimum = 400, maximum = 599, example = 404)]
    code: u16,
    /// Depends on nothing but the code.
    #[schema(example = "Resource not found")]
    message: &'static str,
    /// What is wrong: of a field under its name, of the body as a whole under `non_field_errors`, all else under `detail`.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    details: &'a Details,
}

/// An error as RFC 9457 has it, for those who name `application/problem+json` in `Accept`.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(in crate::http) struct Rfc9457<'a> {
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The reason phrase of the status.
    #[schema(example = "Not Found")]
    title: &'static str,
    #[schema(minimum = 400, maximum = 599, example = 404)]
    status: u16,
    /// Missing where fields are at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Not found.")]
    detail: Option<&'a str>,
    /// As `details` of the other form.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    errors: &'a Details,
    /// Leads to the request in the service's log.
    #[schema(example = "a7cc8c28-1")]
    request_id: &'a str,
}

fn message(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "Validation or Client Error",
        StatusCode::UNAUTHORIZED => "Invalid or missing API key",
        StatusCode::NOT_FOUND => "Resource not found",
        StatusCode::INTERNAL_SERVER_ERROR => "Server error",
        other => other.canonical_reason().unwrap_or("Error"),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn problem_json_is_for_those_who_name_it() {
        let wanted = |lines: &[&str]| {
            let lines = lines
                .iter()
                .map(|line| (header::ACCEPT, HeaderValue::from_str(line).unwrap()));
            Form::wanted(&lines.fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            }))
        };
        for named in [
            "application/problem+json",
            "APPLICATION/Problem+JSON",
            "application/json, application/problem+json;q=0.1",
            "text/html,application/problem+json ; charset=utf-8; q=1",
        ] {
            assert_eq!(wanted(&[named]), Form::Rfc9457, "{named}");
        }
        assert_eq!(
            wanted(&["application/json", "application/problem+json"]),
            Form::Rfc9457
        );
        for other in [
            "*/*",
            "application/*",
            "application/*+json, */*;q=0.1",
            "application/json",
            "application/problem+xml",
            "application/problem+json;q=0",
            "application/problem+json; Q=0.000",
            "application/problem+json;q=much",
            "application/problem+jsonx",
            "x/application/problem+json",
            "",
        ] {
            assert_eq!(wanted(&[other]), Form::Envelope, "{other}");
        }
        assert_eq!(wanted(&[]), Form::Envelope);
    }
}
