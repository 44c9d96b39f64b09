//! What handlers are given. The stock extractors answer in their own words; these answer in the contract's.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, header, request::Parts},
};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::LARGEST_BODY;
use crate::{
    http::{Http, accept::Connection, problem::Problem},
    model::{ConversationId, MessageId},
};

/// The conversation that a path names.
pub(super) struct InConversation(pub(super) ConversationId);

impl<S: Send + Sync> FromRequestParts<S> for InConversation {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = params(parts, state).await?;
        parameter(&params, "conversation_id")
            .and_then(ConversationId::parse)
            .map(Self)
            .ok_or_else(Problem::not_found)
    }
}

/// The message that a path names, and its conversation.
pub(super) struct OfMessage(pub(super) ConversationId, pub(super) MessageId);

impl<S: Send + Sync> FromRequestParts<S> for OfMessage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = params(parts, state).await?;
        let conversation = parameter(&params, "conversation_id").and_then(ConversationId::parse);
        let message = parameter(&params, "message_id").and_then(MessageId::parse);
        conversation
            .zip(message)
            .map(|(conversation, message)| Self(conversation, message))
            .ok_or_else(Problem::not_found)
    }
}

/// The connection that the request came on, if that is known.
pub(super) struct On(pub(super) Option<Connection>);

impl<S: Send + Sync> FromRequestParts<S> for On {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(parts.extensions.remove()))
    }
}

/// The parameters of a path, decoded; what cannot be decoded names nothing.
async fn params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, Problem> {
    RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::not_found())
}

fn parameter<'a>(params: &'a RawPathParams, name: &str) -> Option<&'a str> {
    params
        .iter()
        .find(|(given, _)| *given == name)
        .map(|(_, value)| value)
}

/// A body that says it is JSON, read whole.
pub(super) struct JsonBody(pub(super) Bytes);

impl FromRequest<Arc<Http>> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, http: &Arc<Http>) -> Result<Self, Problem> {
        judge_content_type(request.headers())?;
        match timeout(http.settings.body_timeout, read(request.into_body())).await {
            Ok(body) => body.map(Self),
            Err(_) => Err(Problem::body_too_slow()),
        }
    }
}

async fn read(mut body: Body) -> Result<Bytes, Problem> {
    let mut first: Option<Bytes> = None;
    let mut joined: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        // The client went away or broke the protocol; hardly anybody reads this answer.
        let frame = frame.map_err(|_| Problem::bad_request("The request body is broken."))?;
        let Ok(data) = frame.into_data() else { continue };
        if joined.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > LARGEST_BODY {
            return Err(Problem::body_too_large());
        }
        // Nearly every body is one frame, which is passed on as it is.
        match (&mut first, joined.is_empty()) {
            (None, true) => first = Some(data),
            _ => {
                if let Some(first) = first.take() {
                    joined.extend_from_slice(&first);
                }
                joined.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| joined.into()))
}

/// `application/json` or `application/*+json`, in UTF-8.
fn judge_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .map_or(b"".as_slice(), |value| value.as_bytes());
    let given = String::from_utf8_lossy(given);
    let mut parts = given.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = kind
        .strip_prefix("application/")
        .is_some_and(|kind| kind == "json" || kind.ends_with("+json"));
    let is_utf8 = parts
        .filter_map(|parameter| parameter.split_once('='))
        .all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        });
    if is_json && is_utf8 {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type(&given))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn json_in_utf8_is_the_only_content_type() {
        let judge = |given: &str| {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(given).unwrap())]);
            judge_content_type(&headers).is_ok()
        };
        for good in [
            "application/json",
            "APPLICATION/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; x=y",
            "application/vnd.api+json",
        ] {
            assert!(judge(good), "{good}");
        }
        for bad in [
            "text/plain",
            "text/json",
            "application/json; charset=utf-16",
            "application/json; charset=utf8",
            "application/x+jsonx",
            "+json",
            "",
        ] {
            assert!(!judge(bad), "{bad}");
        }
        assert!(judge_content_type(&HeaderMap::new()).is_err());
    }
}
