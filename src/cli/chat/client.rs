//! The requests that a chat makes.

use std::{error::Error as _, sync::Arc, time::Duration};

use reqwest::{RequestBuilder, Response, Url, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::trimmed;
use crate::model::{ConversationId, MessageId};

/// How long a connection may take to come about.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long an answer may take that is not a stream: the service's own limits are shorter.
const ANSWERING: Duration = Duration::from_mins(1);
/// How long nothing may come: three heartbeats of a stream.
const SILENCE: Duration = Duration::from_secs(45);
/// The longest answer that is not a stream: a page of the longest messages is below it.
const LONGEST: usize = 32 * 1024 * 1024;
/// How many messages a page has.
const PAGE: u64 = 10;

/// Why a request was not carried out.
#[derive(Debug)]
pub(super) enum Error {
    /// Nobody answered, or not to the end. Where `is_unsure`, the request may have arrived all the same.
    Away { cause: String, is_unsure: bool },
    /// The service said no.
    Refused { status: u16, reason: String },
    /// What answered is not this service.
    Foreign(String),
}

impl Error {
    /// Whether the request may have been carried out.
    pub(super) fn is_unsure(&self) -> bool {
        matches!(self, Self::Away { is_unsure: true, .. })
    }

    /// Whether it can go well the next time.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Foreign(_) => false,
        }
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        let is_unsure = !error.is_connect() && !error.is_builder();
        // What went wrong is at the end of the chain; in front of it stand the URL and layers of libraries.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let cause = match (error.is_timeout(), error.source().is_some()) {
            (true, _) => "it took too long".to_owned(),
            (false, true) => cause.to_string(),
            (false, false) => "the connection broke".to_owned(),
        };
        Self::Away { cause, is_unsure }
    }
}

/// A message of the conversation that is continued.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) id: MessageId,
    pub(super) is_by_user: bool,
    pub(super) text: String,
}

/// What a new conversation is to be.
#[derive(Debug, Clone, Default)]
pub(super) struct New {
    pub(super) title: Option<String>,
    pub(super) model: Option<String>,
    pub(super) instructions: Option<String>,
}

/// Speaks to one service.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    key: SecretString,
}

impl Client {
    pub(super) fn new(base: &Url, key: SecretString) -> Result<Self, Error> {
        // A redirect would carry the key to somebody else; a proxy from the environment does not know this machine.
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(base)?)
            .user_agent(concat!("engagement-chat/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECTING)
            .read_timeout(SILENCE)
            .build()?;
        let base = trimmed(base).to_owned();
        Ok(Self { http, base, key })
    }

    /// Where the service is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) async fn create(&self, new: &New) -> Result<ConversationId, Error> {
        let mut body = Map::from_iter([("description".to_owned(), json!("A chat from the command line"))]);
        let given = [
            ("title", &new.title),
            ("model", &new.model),
            ("instructions", &new.instructions),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        let made = self
            .ask(self.post("/conversations/").body(Value::from(body).to_string()))
            .await?;
        ConversationId::parse(text(&made, "conversation_id")).ok_or_else(|| foreign("a conversation"))
    }

    /// Appends a message of the user's, whose reply can be followed; under the same key, once.
    pub(super) async fn say(
        &self,
        conversation: ConversationId,
        text_of_it: &str,
        model: Option<&str>,
        key: Uuid,
    ) -> Result<MessageId, Error> {
        let mut body = json!({ "role": "user", "text": text_of_it });
        if let (Some(model), Some(body)) = (model, body.as_object_mut()) {
            body.insert("model".to_owned(), json!(model));
        }
        let path = format!("/conversations/{conversation}/messages/create");
        let request = self.post(&path).header("Idempotency-Key", key.to_string());
        let made = self.ask(request.body(body.to_string())).await?;
        MessageId::parse(text(&made, "message_id")).ok_or_else(|| foreign("a message"))
    }

    /// The last messages of a conversation, between a few and a few more.
    pub(super) async fn recent(&self, conversation: ConversationId) -> Result<Vec<Said>, Error> {
        let page = async |which: String| {
            let path = format!("/conversations/{conversation}/messages?page_size={PAGE}&page={which}");
            self.ask(self.get(&path)).await
        };
        let last = page("last".to_owned()).await?;
        let mut said = messages(&last)?;
        let pages = last
            .get("count")
            .and_then(Value::as_u64)
            .unwrap_or_default()
            .div_ceil(PAGE);
        // The last page can hold a single one.
        if pages > 1 {
            let mut earlier = messages(&page((pages - 1).to_string()).await?)?;
            earlier.append(&mut said);
            said = earlier;
        }
        Ok(said)
    }

    pub(super) async fn cancel(&self, conversation: ConversationId, message: MessageId) -> Result<(), Error> {
        let path = format!("{}/cancel", reply(conversation, message));
        self.ask(self.post(&path)).await.map(|_| ())
    }

    pub(super) async fn retry(&self, conversation: ConversationId, message: MessageId) -> Result<(), Error> {
        let path = format!("{}/retry", reply(conversation, message));
        self.ask(self.post(&path)).await.map(|_| ())
    }

    /// The events of one reply, from its beginning or after the one with this number; nothing if there are none behind it.
    pub(super) async fn events(
        &self,
        conversation: ConversationId,
        message: MessageId,
        after: Option<u64>,
    ) -> Result<Option<Response>, Error> {
        let path = format!("{}?stream=true", reply(conversation, message));
        let mut request = self.get(&path).header("Accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let response = request.send().await?;
        let kind = response.headers().get("Content-Type");
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        match response.status().as_u16() {
            200 if is_stream => Ok(Some(response)),
            204 => Ok(None),
            200 => Err(Error::Foreign("its replies are no streams".to_owned())),
            _ => Err(refusal(response).await),
        }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.with_key(self.http.get(format!("{}{path}", self.base)))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.with_key(self.http.post(format!("{}{path}", self.base)))
            .header("Content-Type", "application/json")
            .timeout(ANSWERING)
    }

    /// Reads need the key only where the operator wants it; showing it is never wrong.
    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("X-API-Key", self.key.expose_secret())
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Value, Error> {
        let response = request.send().await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        serde_json::from_slice(&read(response).await?).map_err(|_| foreign("JSON"))
    }
}

/// Believes whom the system believes. Where no TLS is needed, a system may believe nobody.
fn tls(base: &Url) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    if base.scheme() == "https" {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::Foreign(cause.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// What the service says when it says no.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    message: String,
    details: Map<String, Value>,
}

async fn refusal(response: Response) -> Error {
    let status = response.status().as_u16();
    let body = read(response).await.unwrap_or_default();
    let envelope: Envelope = serde_json::from_slice(&body).unwrap_or_default();
    let details: Vec<_> = envelope
        .details
        .iter()
        .filter(|(field, _)| *field != "request_id")
        .map(|(field, texts)| {
            let texts = texts.as_array().into_iter().flatten().filter_map(Value::as_str);
            let texts = texts.collect::<Vec<_>>().join(" ");
            if field == "detail" {
                texts
            } else {
                format!("{field}: {texts}")
            }
        })
        .collect();
    let reason = match (details.is_empty(), envelope.message.is_empty()) {
        (false, _) => details.join(" "),
        (true, false) => envelope.message,
        (true, true) => format!("HTTP status {status}"),
    };
    Error::Refused { status, reason }
}

async fn read(mut response: Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST {
            return Err(Error::Foreign("its answer has no end".to_owned()));
        }
    }
    Ok(body)
}

fn messages(page: &Value) -> Result<Vec<Said>, Error> {
    let results = page
        .get("results")
        .and_then(Value::as_array)
        .ok_or_else(|| foreign("a page"))?;
    let read = |message: &Value| {
        Some(Said {
            id: MessageId::parse(text(message, "message_id"))?,
            is_by_user: text(message, "role") == "user",
            text: text(message, "text").to_owned(),
        })
    };
    let said: Option<Vec<_>> = results.iter().map(read).collect();
    said.ok_or_else(|| foreign("a message"))
}

fn reply(conversation: ConversationId, message: MessageId) -> String {
    format!("/conversations/{conversation}/messages/{message}/reply")
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn foreign(what: &str) -> Error {
    Error::Foreign(format!("it answers something that is not {what}"))
}
