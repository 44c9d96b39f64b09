//! The reference: the service's routes on a bare axum server, each answered with constant bytes.
//!
//! The bytes are those that the service under test gave to the same request a moment ago, headers and all, so that both
//! servers put the same number of bytes on the wire.

use crate::client::Client;
use crate::http::{copied_headers, parse_head};
use crate::process;
use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use std::path::Path;

const CONVERSATION: &str = "conversation.http";
const PAGE: &str = "page.http";
const MESSAGE: &str = "message.http";

/// The requests whose responses become the reference's constants.
#[derive(Default)]
pub struct Samples {
    /// For `GET /conversations/{id}`.
    pub conversation: Option<Vec<u8>>,
    /// For `GET /conversations/{id}/messages`.
    pub page: Option<Vec<u8>>,
    /// For `POST /conversations/{id}/messages/create`.
    pub message: Option<Vec<u8>>,
}

impl Samples {
    /// Asks the service and keeps what it answers in `dir`.
    pub fn take(&self, client: &mut Client, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        for (name, request) in [
            (CONVERSATION, &self.conversation),
            (PAGE, &self.page),
            (MESSAGE, &self.message),
        ] {
            if let Some(request) = request {
                let response = client.send(request)?;
                response
                    .json()
                    .with_context(|| format!("the sample {name}"))?;
                std::fs::write(dir.join(name), response.raw)?;
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Constant {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Constant {
    fn load(path: &Path) -> Result<Self> {
        let Ok(raw) = std::fs::read(path) else {
            return Self::built_in(); // for a look at the reference alone
        };
        let head = parse_head(&raw)?.context("a sample without a head")?;
        let mut headers = HeaderMap::new();
        for (name, value) in copied_headers(&raw, head) {
            headers.append(
                HeaderName::from_bytes(name.as_bytes())?,
                HeaderValue::from_str(&value)?,
            );
        }
        Ok(Self {
            status: StatusCode::from_u16(head.status)?,
            headers,
            body: Bytes::copy_from_slice(&raw[head.body_at..]),
        })
    }

    fn built_in() -> Result<Self> {
        let body = serde_json::json!({
            "conversation_id": "550e8400-e29b-41d4-a716-446655440000",
            "title": "My First Conversation",
            "description": "A conversation about AI assistants",
            "date_created": "2024-01-19T12:00:00.000000Z",
            "date_updated": "2024-01-19T12:00:00.000000Z",
        });
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        Ok(Self {
            status: StatusCode::OK,
            headers,
            body: serde_json::to_vec(&body)?.into(),
        })
    }

    fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// Serves until it is killed, or the program that started it has ended.
pub fn serve(samples: &Path) -> Result<()> {
    process::end_with_parent()?;
    let conversation = Constant::load(&samples.join(CONVERSATION))?;
    let page = Constant::load(&samples.join(PAGE))?;
    let message = Constant::load(&samples.join(MESSAGE))?;
    let app = Router::new()
        .route(
            "/conversations/{id}",
            get(async move || conversation.response()),
        )
        .route(
            "/conversations/{id}/messages",
            get(async move || page.response()),
        )
        .route(
            "/conversations/{id}/messages/create",
            post(async move |body: Bytes| {
                drop(body); // read to its end, as the service must
                message.response()
            }),
        );
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            println!("listening on http://{}", listener.local_addr()?);
            axum::serve(listener, app).await?;
            Ok(())
        })
}
