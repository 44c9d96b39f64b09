//! A client as a user of the service would write it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{Document, SOON, eventually};

/// Speaks JSON to one server. No proxies, no redirects: a test sees what the server said.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base_url: String,
    key: Option<String>,
}

/// One answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(base_url: &str, key: Option<&str>) -> Self {
        let http = reqwest::Client::builder()
            // The servers speak no TLS, so nobody has to be believed; without this, every client reads what the system trusts.
            .tls_backend_preconfigured(no_tls())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(3 * SOON)
            .build()
            .expect("a client");
        Self {
            http,
            base_url: base_url.to_owned(),
            key: key.map(str::to_owned),
        }
    }

    /// The same client holding no key.
    pub(crate) fn anonymous(&self) -> Self {
        Self {
            key: None,
            ..self.clone()
        }
    }

    /// The same client holding another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string()).await
    }

    /// Posts a body exactly as given.
    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header("content-type", content_type);
        Answer::of(request.body(body.into())).await
    }

    /// Any method, no body.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Answer {
        Answer::of(self.request(method, path)).await
    }

    /// A request to add to; send it with [`Answer::of`] or [`Answer::try_of`].
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        match &self.key {
            Some(key) => request.header("X-API-Key", key),
            None => request,
        }
    }
}

/// The everyday steps of a conversation. Each fails the test unless the server agrees.
impl Client {
    /// Opens a conversation and gives its id.
    pub(crate) async fn conversation(&self, description: &str) -> String {
        let answer = self
            .post_json("/conversations/", &json!({ "description": description }))
            .await;
        answer.expect(201)["conversation_id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// Posts a message and gives its id.
    pub(crate) async fn message(&self, conversation: &str, role: &str, text: &str) -> String {
        let path = format!("/conversations/{conversation}/messages/create");
        let answer = self
            .post_json(&path, &json!({ "text": text, "role": role }))
            .await;
        answer.expect(201)["message_id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// A conversation of `texts`, all by the assistant so that nothing is added behind the test's back.
    pub(crate) async fn conversation_of(&self, texts: &[&str]) -> String {
        let conversation = self.conversation("a conversation of the test").await;
        for text in texts {
            self.message(&conversation, "assistant", text).await;
        }
        conversation
    }

    /// Waits until the reply to a message has reached an end and gives the reply.
    pub(crate) async fn finished_reply(&self, conversation: &str, message: &str) -> Value {
        self.finished_reply_within(SOON, conversation, message).await
    }

    /// ... where it may take longer than usual.
    pub(crate) async fn finished_reply_within(
        &self,
        within: Duration,
        conversation: &str,
        message: &str,
    ) -> Value {
        let path = format!("/conversations/{conversation}/messages/{message}/reply");
        eventually("the reply is finished", within, async || {
            let reply = self.get(&path).await.expect(200);
            (!matches!(reply["status"].as_str(), Some("queued" | "running"))).then_some(reply)
        })
        .await
    }

    /// The texts of all messages (up to a hundred), in the order of the list.
    pub(crate) async fn texts(&self, conversation: &str) -> Vec<String> {
        let path = format!("/conversations/{conversation}/messages?page_size=100");
        texts(&self.get(&path).await.expect(200))
    }
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::try_of(request).await.expect("an answer")
    }

    /// For tests in which the server may die or hang up.
    pub(crate) async fn try_of(request: RequestBuilder) -> reqwest::Result<Self> {
        let (client, request) = request.build_split();
        let request = request?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let answer = Self::unjudged(RequestBuilder::from_parts(client, request)).await?;
        answer.judged(&method, &path);
        Ok(answer)
    }

    /// From something that is not the whole API, such as a worker: `openapi.json` does not describe it.
    pub(crate) async fn unjudged(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self {
            status,
            headers,
            body: response.bytes().await?.to_vec(),
        })
    }

    /// Fails unless it is as `openapi.json` describes it, whatever the test is about.
    pub(crate) fn judged(&self, method: &Method, path: &str) {
        if let Some(complaint) = Document::committed().complaint(method, path, self) {
            panic!("{complaint}: {}", self.text());
        }
    }

    /// The body as JSON, once the status is the one expected.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, or "" when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("an ASCII header"))
    }
}

/// The texts on a page of messages, in its order.
pub(crate) fn texts(page: &Value) -> Vec<String> {
    let results = page["results"].as_array().expect("a page of results");
    results
        .iter()
        .map(|message| message["text"].as_str().expect("a text").to_owned())
        .collect()
}

/// `?name=value&…`, encoded as a browser does.
pub(crate) fn query<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)]) -> String {
    format!(
        "?{}",
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
    )
}

pub(super) fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
