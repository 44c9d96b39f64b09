//! Takes spans to where they are received: OTLP over HTTP, as protobuf, on a thread that does nothing else.

use std::{thread, time::Duration};

use bytes::Bytes;
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::Resource;
use prost::Message;
use reqwest::{
    Url,
    blocking::Client,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
    retry,
};
use secrecy::ExposeSecret;

use super::outbox::Outbox;
use crate::{
    clock::Seldom,
    config::{ConfigError, TraceSettings},
    telemetry::causes::chain,
    tls,
};

/// For one delivery, and within that for a connection.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The pauses before a delivery is tried again that another try can help.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The answers after which another try can help, by the protocol's rules.
const TRY_AGAIN: [u16; 4] = [429, 502, 503, 504];

/// How often is said that spans are lost.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 64 * 1024;

pub(super) struct Courier {
    http: Client,
    url: Url,
    headers: HeaderMap,
    resource: ResourceAttributesWithSchema,
    outbox: Outbox,
    complaints: Seldom,
}

/// Why spans were not taken.
struct Refused {
    why: String,
    /// Whether another try can help.
    is_passing: bool,
    spans: usize,
}

impl Courier {
    pub(super) fn new(
        settings: &TraceSettings,
        resource: &Resource,
        outbox: Outbox,
    ) -> Result<Self, ConfigError> {
        let tls = tls::config(settings.url.scheme(), settings.ca_file.as_deref());
        let tls = tls.map_err(|problem| match problem {
            tls::Problem::Authorities(problem) => ConfigError::new(
                "otlp_ca_file",
                problem,
                "give a file of certificates in PEM, or leave it out",
            ),
            tls::Problem::System(problem) => ConfigError::new(
                "otlp_endpoint",
                problem,
                "give a file of certificates in PEM: otlp_ca_file",
            ),
        })?;
        let http = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            // Whether another try can help is decided here.
            .retry(retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("engagement/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ConfigError::new("otlp_endpoint", chain(&error), "give another URL"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let header = HeaderName::try_from(name)
                .ok()
                .zip(HeaderValue::try_from(value.expose_secret()).ok());
            let Some((name, mut value)) = header else {
                return Err(ConfigError::new(
                    "otlp_headers",
                    "cannot be sent",
                    "give headers that HTTP can have",
                ));
            };
            // Whoever prints the headers does not print this.
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Ok(Self {
            http,
            url: settings.url.clone(),
            headers,
            resource: resource.into(),
            outbox,
            complaints: Seldom::every(SAID_EVERY),
        })
    }

    pub(super) fn start(self) -> Result<(), ConfigError> {
        let thread = thread::Builder::new().name("traces".to_owned());
        match thread.spawn(move || self.run()) {
            // Nobody joins it: at the end it gets its time, and no more.
            Ok(_) => Ok(()),
            Err(cause) => Err(ConfigError::new(
                "otlp_endpoint",
                format!("the thread that sends cannot be started: {cause}"),
                "raise the limit on threads, or leave it out",
            )),
        }
    }

    fn run(&self) {
        while let Some(spans) = self.outbox.take() {
            let refused = self.deliver(spans).err();
            if let Some(refused) = &refused {
                self.outbox.lose(refused.spans);
            }
            self.complain(refused.as_ref());
        }
        self.outbox.set_delivered();
    }

    /// Says what was lost: that is more than what was refused when there was no room meanwhile.
    fn complain(&self, refused: Option<&Refused>) {
        let lost = self.outbox.lost();
        if lost == 0 {
            return;
        }
        if self.complaints.pass().is_some() {
            let error = refused.map_or("there was no room for them", |refused| refused.why.as_str());
            tracing::warn!(spans = lost, error, "spans were lost");
        } else {
            // To be told with the next.
            self.outbox.lose(lost);
        }
    }

    fn deliver(&self, spans: Vec<opentelemetry_sdk::trace::SpanData>) -> Result<(), Refused> {
        let count = spans.len();
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(spans, &self.resource),
        };
        let body = Bytes::from(request.encode_to_vec());
        let mut pauses = PAUSES.iter();
        loop {
            match (self.send(body.clone(), count), pauses.next()) {
                (Err(refused), Some(pause)) if refused.is_passing => {
                    if self.outbox.closes_within(*pause) {
                        // There is time for one more try, not for a pause.
                        pauses = [].iter();
                    }
                }
                (sent, _) => return sent,
            }
        }
    }

    fn send(&self, body: Bytes, spans: usize) -> Result<(), Refused> {
        let request = self.http.post(self.url.clone()).headers(self.headers.clone());
        let sent = request.body(body).send();
        let response = sent.map_err(|error| Refused {
            why: chain(&error.without_url()),
            is_passing: true,
            spans,
        })?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(Refused {
                why: format!("the receiver answered {status}"),
                is_passing: TRY_AGAIN.contains(&status),
                spans,
            });
        }
        let rejected = rejected(response);
        if rejected > 0 {
            return Err(Refused {
                why: "the receiver rejected some".to_owned(),
                is_passing: false,
                spans: rejected,
            });
        }
        Ok(())
    }
}

/// How many of the spans the receiver says that it did not take. What cannot be read says nothing.
fn rejected(response: reqwest::blocking::Response) -> usize {
    use std::io::Read as _;
    let mut body = Vec::new();
    if response.take(LONGEST_ANSWER).read_to_end(&mut body).is_err() {
        return 0;
    }
    let answer = ExportTraceServiceResponse::decode(body.as_slice()).unwrap_or_default();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    usize::try_from(rejected).unwrap_or(0)
}
