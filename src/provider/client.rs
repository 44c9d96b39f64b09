//! The way to one provider: one URL, one key, and limits on time and bytes for whatever comes back.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use reqwest::{
    Response,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    },
    redirect::Policy,
    retry,
};
use rustls::ClientConfig;
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::time::timeout;
use url::Url;

use super::{
    egress::OnlyHost,
    judge::{self, Wish},
    sse::Parser,
    trouble::{Kind, Trouble},
};
use crate::{
    clock::{Clock, Stopwatch},
    config::{ConfigError, ProviderSettings},
    telemetry::causes::chain,
    tls,
};

/// The longest answer that comes in one piece, and is kept until it is read.
const LONGEST_WHOLE: usize = 8 * 1024 * 1024;

/// The longest answer that comes in events, each of which is let go before the next: what the longest text takes with an
/// event of some hundred bytes for each of its characters.
const LONGEST_STREAM: usize = 64 * 1024 * 1024;

/// How much is read of what a provider says of its refusal, and how long that may take.
const LONGEST_REFUSAL: usize = 64 * 1024;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long connections are kept between two calls. Servers in front of models close theirs after a minute or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Asks one URL.
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    streams: bool,
    first_byte_timeout: Duration,
    gap_timeout: Duration,
    total_timeout: Duration,
    clock: Clock,
}

impl Client {
    /// A client for this path behind the base URL. The key goes into this header, behind this prefix.
    pub(super) fn new(
        settings: &ProviderSettings,
        path: &[&str],
        key_header: HeaderName,
        prefix: &str,
    ) -> Result<Self, ConfigError> {
        let wrong = |key: &str, problem: &str, hint: &str| {
            ConfigError::new(format!("providers.{}.{key}", settings.name), problem, hint)
        };
        let mut url = settings.base_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &settings.key {
            let value = format!("{prefix}{}", key.expose_secret());
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                wrong(
                    "api_key_env",
                    "cannot be sent in a header",
                    "see the provider's own page of keys",
                )
            })?;
            // Whoever prints the headers does not print this.
            value.set_sensitive(true);
            headers.insert(key_header, value);
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_of(settings)?)
            .dns_resolver(OnlyHost::new(url.host_str().unwrap_or_default()))
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            // Whether another try can help is not decided here.
            .retry(retry::never())
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.concurrency)
            .user_agent(concat!("engagement/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| wrong("base_url", &chain(&error), "give another URL"))?;
        Ok(Self {
            http,
            url,
            headers,
            streams: settings.stream,
            first_byte_timeout: settings.first_byte_timeout,
            gap_timeout: settings.gap_timeout,
            total_timeout: settings.total_timeout,
            clock: Clock::system(),
        })
    }

    /// One more header with each request.
    pub(super) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Asks. What comes back is an answer that is yet to be read; everything else is trouble.
    pub(super) async fn ask(&self, body: &impl Serialize) -> Result<Answer, Trouble> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Trouble::new(Kind::Rejected, format!("cannot write the request: {error}")))?;
        let request = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .body(body);
        let mut time = Allowance {
            gap: self.gap_timeout,
            left: self.total_timeout,
        };
        // Who does not stream has nothing to say until all is written.
        let first_byte = if self.streams {
            self.first_byte_timeout
        } else {
            self.total_timeout
        };
        let response = time
            .within(first_byte, request.send())
            .await?
            .map_err(|error| unsent(&error.without_url()))?;
        if !response.status().is_success() {
            return Err(self.refused(response, time).await);
        }
        let encoding = response.headers().get(CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(Trouble::garbled(
                "the answer is compressed, which was not asked for",
            ));
        }
        Ok(Answer::new(response, time, self.streams))
    }

    async fn refused(&self, response: Response, time: Allowance) -> Trouble {
        let status = response.status();
        let wish = response
            .headers()
            .get(RETRY_AFTER)
            .map(|wish| Wish::parse(wish.to_str().unwrap_or_default(), self.clock.now()));
        let mut body = Vec::new();
        if status.as_u16() != 401 && !response.headers().contains_key(CONTENT_ENCODING) {
            let mut answer = Answer::new(response, time, false);
            answer.time.left = answer.time.left.min(REFUSAL_TIMEOUT);
            // The status alone says enough where this fails.
            while let Ok(Some(chunk)) = answer.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() > LONGEST_REFUSAL {
                    break;
                }
            }
        }
        judge::status(status.as_u16(), &String::from_utf8_lossy(&body), wish)
    }
}

fn tls_of(settings: &ProviderSettings) -> Result<ClientConfig, ConfigError> {
    tls::config(settings.base_url.scheme(), settings.ca_file.as_deref()).map_err(|problem| {
        let (key, problem) = match problem {
            tls::Problem::Authorities(problem) => ("ca_file", problem),
            tls::Problem::System(problem) => ("base_url", problem),
        };
        ConfigError::new(format!("providers.{}.{key}", settings.name), problem, tls::HINT)
    })
}

/// The time that an answer may still take. What this side needs to store pieces is not counted.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    gap: Duration,
    left: Duration,
}

impl Allowance {
    async fn within<F: Future>(&mut self, limit: Duration, future: F) -> Result<F::Output, Trouble> {
        let watch = Stopwatch::start();
        let done = timeout(limit.min(self.left), future).await;
        self.left = self.left.saturating_sub(watch.elapsed());
        done.map_err(|_| Trouble::new(Kind::TimedOut, "the provider took too long"))
    }
}

/// An answer that is being read.
pub(super) struct Answer {
    response: Response,
    time: Allowance,
    is_stream: bool,
    read: usize,
    longest: usize,
}

impl Answer {
    /// An answer to a question for a stream, or for one document.
    fn new(response: Response, time: Allowance, was_to_stream: bool) -> Self {
        // Some servers do what they like, and say so. Where they say nothing, they do what was asked.
        let is_stream = response
            .headers()
            .get(CONTENT_TYPE)
            .map_or(was_to_stream, |kind| {
                let kind = kind
                    .to_str()
                    .unwrap_or_default()
                    .trim_start()
                    .to_ascii_lowercase();
                kind.starts_with("text/event-stream")
            });
        Self {
            response,
            time,
            is_stream,
            read: 0,
            longest: if is_stream { LONGEST_STREAM } else { LONGEST_WHOLE },
        }
    }

    /// Whether it comes in events.
    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// From now on, waits no longer than this for more.
    pub(super) fn hurry(&mut self, gap: Duration) {
        self.time.gap = self.time.gap.min(gap);
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Trouble> {
        let chunk = self.time.within(self.time.gap, self.response.chunk()).await?;
        let chunk = chunk.map_err(|error| Trouble::new(Kind::Incomplete, chain(&error.without_url())))?;
        self.read += chunk.as_ref().map_or(0, Bytes::len);
        if self.read > self.longest {
            return Err(Trouble::new(Kind::TooLarge, "the answer goes on and on"));
        }
        Ok(chunk)
    }

    /// All of it. What is no UTF-8 is replaced by U+FFFD.
    pub(super) async fn whole(mut self) -> Result<String, Trouble> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(match String::from_utf8(body) {
            Ok(body) => body,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// Event by event.
    pub(super) fn events(self) -> Events {
        Events {
            answer: self,
            parser: Parser::default(),
            unread: Bytes::new(),
        }
    }
}

/// The events of an answer.
pub(super) struct Events {
    answer: Answer,
    parser: Parser,
    unread: Bytes,
}

impl Events {
    /// The data of the next event; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Trouble> {
        loop {
            match self.parser.next(&mut self.unread) {
                Ok(Some(data)) => return Ok(Some(data)),
                Ok(None) => {}
                Err(_) => {
                    return Err(Trouble::new(
                        Kind::TooLarge,
                        "an event of the answer goes on and on",
                    ));
                }
            }
            match self.answer.chunk().await? {
                Some(chunk) => self.unread = chunk,
                None => return Ok(None),
            }
        }
    }

    /// From now on, waits no longer than this for more.
    pub(super) fn hurry(&mut self, gap: Duration) {
        self.answer.hurry(gap);
    }
}

/// Why there is not even a beginning.
fn unsent(error: &reqwest::Error) -> Trouble {
    let cause = chain(error);
    let kind = if error.is_timeout() {
        Kind::TimedOut
    } else if error.is_connect() || cause.contains("connection") {
        Kind::Unreachable
    } else {
        // What came back is no HTTP, or more of it than a head may have.
        Kind::Garbled
    };
    Trouble::new(kind, cause)
}
