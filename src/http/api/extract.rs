//! What handlers are given. The stock extractors answer in their own words; these answer in the contract's.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, header, request::Parts},
};

use crate::{
    access::Caller,
    http::{Http, accept::Connection, layer::bodies, problem::Problem},
    model::{ConversationId, KeyId, MessageId},
};

/// Who asks, on routes that need a key.
pub(super) struct By(pub(super) Caller);

impl FromRequestParts<Arc<Http>> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Http>) -> Result<Self, Problem> {
        let caller = parts.extensions.get().cloned();
        caller
            .map(Self)
            .ok_or_else(|| Problem::internal("a route that needs a key has let somebody in without"))
    }
}

/// The conversation that a path names. Whoever may not see it does not find it.
pub(super) struct InConversation(pub(super) ConversationId);

impl FromRequestParts<Arc<Http>> for InConversation {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<Http>) -> Result<Self, Problem> {
        let params = params(parts, http).await?;
        let conversation = parameter(&params, "conversation_id").and_then(ConversationId::parse);
        let conversation = conversation.ok_or_else(Problem::not_found)?;
        guard(parts, http, conversation).await?;
        Ok(Self(conversation))
    }
}

/// The message that a path names, and its conversation.
pub(super) struct OfMessage(pub(super) ConversationId, pub(super) MessageId);

impl FromRequestParts<Arc<Http>> for OfMessage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<Http>) -> Result<Self, Problem> {
        let params = params(parts, http).await?;
        let conversation = parameter(&params, "conversation_id").and_then(ConversationId::parse);
        let message = parameter(&params, "message_id").and_then(MessageId::parse);
        let (conversation, message) = conversation.zip(message).ok_or_else(Problem::not_found)?;
        guard(parts, http, conversation).await?;
        Ok(Self(conversation, message))
    }
}

/// Judged here, where every path's conversation comes from, so that no route can forget it.
async fn guard(parts: &Parts, http: &Http, conversation: ConversationId) -> Result<(), Problem> {
    Ok(http
        .service()?
        .guard(conversation, parts.extensions.get::<Caller>())
        .await?)
}

/// The key that a path names.
pub(super) struct NamedKey(pub(super) KeyId);

impl<S: Send + Sync> FromRequestParts<S> for NamedKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = params(parts, state).await?;
        parameter(&params, "key_id")
            .and_then(KeyId::parse)
            .map(Self)
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

/// Who asks, if they came with a key that opens something.
pub(super) struct Who(pub(super) Option<Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(parts.extensions.get().cloned()))
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
        bodies::read(http, request).await.map(Self)
    }
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
