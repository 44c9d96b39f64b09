//! `Idempotency-Key`: a request that was carried out is answered again and not carried out again
//! (<https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07>).
//!
//! What is remembered is the answer: its status, its headers and its body, byte for byte, stored in the transaction of
//! what was done. Only texts that the client wrote are left out and filled in from the request, which must be the same; so
//! what is deleted is nowhere kept.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::Response,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::extract::By;
use crate::{
    http::{Http, problem::Problem},
    model::{KeyId, Owner},
    service::{Mark, Once, Service},
};

/// The header and, in errors, the field.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const FIELD: &str = "Idempotency-Key";

/// On an answer that was given before.
pub(in crate::http) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const LONGEST_KEY: usize = 255;

/// What a request says besides its body that decides what it does.
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    key: Option<Result<Vec<u8>, Problem>>,
    owner: Owner,
}

impl FromRequestParts<Arc<Http>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<Http>) -> Result<Self, Problem> {
        let By(caller) = By::from_request_parts(parts, http).await?;
        Ok(Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            key: key(&parts.headers),
            owner: caller.owner,
        })
    }
}

impl Asked {
    /// The `Idempotency-Key`, without quotes; empty where there is none or a malformed one.
    pub(super) fn idempotency_key(&self) -> &[u8] {
        let key = self.key.as_ref().and_then(|key| key.as_ref().ok());
        key.map_or(&[], Vec::as_slice)
    }

    /// Lets nobody else carry the request out until the turn that this gives is over.
    pub(super) fn begin(self, http: &Http, body: &[u8]) -> Result<Turn, Problem> {
        let Some(key) = self.key else {
            return Ok(Turn(None));
        };
        let owner = self.owner.first_key().map_or(Uuid::nil(), KeyId::as_uuid);
        let target = self.uri.path_and_query().map_or("", |target| target.as_str());
        let mark = Mark {
            id: digest([owner.as_bytes(), &key?]),
            fingerprint: digest([self.method.as_str().as_bytes(), target.as_bytes(), body]),
        };
        let place = http.under_way.enter(mark)?;
        Ok(Turn(Some(place)))
    }
}

/// The right to carry a request out.
pub(super) struct Turn(Option<Place>);

impl Turn {
    /// What makes a write happen once, if that was asked for. `answer` is what is answered to its outcome, with holes.
    pub(super) fn once<T>(
        &self,
        service: &Service,
        answer: impl Fn(&T) -> Result<Answer, Problem> + Send + Sync + 'static,
    ) -> Option<Once<T>> {
        let mark = self.mark()?;
        // What cannot be written as JSON is no answer, and the handler says so.
        let write = move |outcome: &T| answer(outcome).map(|answer| answer.to_text()).unwrap_or_default();
        Some(service.once(mark, write))
    }

    /// The request's mark, if it is to be remembered.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.0.as_ref().map(|place| place.mark)
    }

    /// Carries the request out, or gives the answer of then if it was before.
    ///
    /// The store refuses to do it twice, so looking first is needed for those only that were here a while ago: a refused
    /// write costs its neighbours time.
    pub(super) async fn carry_out<T>(
        &self,
        service: &Service,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<Result<T, Answer>, Problem> {
        let Some(place) = &self.0 else {
            return work.await.map(Ok);
        };
        if place.was_here
            && let Some(answer) = answered(service, place.mark).await?
        {
            return Ok(Err(answer));
        }
        match work.await {
            Ok(done) => Ok(Ok(done)),
            Err(problem) => match answered(service, place.mark).await {
                Ok(Some(answer)) => Ok(Err(answer)),
                Err(other) if other.is_unprocessable() => Err(other),
                // When it cannot be looked up now, that is told when it is asked for again.
                Ok(None) | Err(_) => Err(problem),
            },
        }
    }
}

/// What was answered to a request with this mark.
async fn answered(service: &Service, mark: Mark) -> Result<Option<Answer>, Problem> {
    let Some(remembered) = service.remembered(mark.id).await? else {
        return Ok(None);
    };
    if remembered.fingerprint != mark.fingerprint {
        return Err(reused());
    }
    let answer = Answer::parse(&remembered.answer);
    answer
        .map(Some)
        .ok_or_else(|| Problem::internal("an answer that was remembered cannot be read"))
}

/// An answer with a hole for each text that the client wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: String,
}

/// What stands where a text of the client's is to be: no text that is shown is a control character alone.
pub(super) const HOLES: [&str; 2] = ["\u{1}", "\u{2}"];

impl Answer {
    /// An answer of this shape, with [`HOLES`] in it.
    pub(super) fn new(status: StatusCode, shape: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(shape).map_err(|error| Problem::internal(error.to_string()))?;
        Ok(Self {
            status,
            headers: Vec::new(),
            body,
        })
    }

    /// The same with a header.
    pub(super) fn with(mut self, name: HeaderName, value: String) -> Self {
        // What paths are made of can always be a header.
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// What the answer remembers under this name, which is for nobody to see.
    pub(super) fn take(&mut self, name: &HeaderName) -> Option<String> {
        let at = self.headers.iter().position(|(header, _)| header == name)?;
        let (_, value) = self.headers.remove(at);
        value.to_str().ok().map(str::to_owned)
    }

    /// The answer for the client.
    pub(super) fn respond(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.headers);
        response
    }

    /// The answer for a client that had it before, with its texts in the holes.
    pub(super) fn replay(mut self, texts: &[Option<&str>]) -> Result<Response, Problem> {
        // From the last hole to the first: each is the first thing that looks like it, as what was filled in stands behind it.
        for (hole, text) in HOLES.iter().zip(texts).rev() {
            let Some(text) = text else { continue };
            let (hole, text) = (quoted(hole)?, quoted(text)?);
            if let Some(at) = self.body.find(&hole) {
                self.body.replace_range(at..at + hole.len(), &text);
            }
        }
        let mut response = self.respond();
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }

    /// As it is stored: status, headers, an empty line, body.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.status.as_u16());
        for (name, value) in &self.headers {
            if let Ok(value) = value.to_str() {
                text.extend([name.as_str(), ": ", value, "\n"]);
            }
        }
        text.push('\n');
        text.push_str(&self.body);
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let status = StatusCode::from_bytes(lines.next()?.as_bytes()).ok()?;
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.parse().ok()?, value.parse().ok()?))
        });
        Some(Self {
            status,
            headers: headers.collect::<Option<_>>()?,
            body: body.to_owned(),
        })
    }
}

fn quoted(text: &str) -> Result<String, Problem> {
    serde_json::to_string(text).map_err(|error| Problem::internal(error.to_string()))
}

/// Requests with a key that are being carried out by this process, and those that lately were.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct UnderWay(Arc<Mutex<Marks>>);

#[derive(Debug, Default)]
struct Marks {
    under_way: HashMap<Uuid, Uuid>,
    /// Ids. When there are too many, the older ones are forgotten.
    lately: HashSet<Uuid>,
    before: HashSet<Uuid>,
}

/// How many are known of each of the two.
const MOST_LATELY: usize = 16 * 1024;

impl UnderWay {
    fn enter(&self, mark: Mark) -> Result<Place, Problem> {
        let mut marks = self.marks();
        match marks.under_way.entry(mark.id) {
            Entry::Occupied(other) if *other.get() == mark.fingerprint => return Err(in_flight()),
            Entry::Occupied(_) => return Err(reused()),
            Entry::Vacant(place) => place.insert(mark.fingerprint),
        };
        Ok(Place {
            was_here: marks.lately.contains(&mark.id) || marks.before.contains(&mark.id),
            under_way: self.clone(),
            mark,
        })
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps others from carrying the same request out.
struct Place {
    under_way: UnderWay,
    mark: Mark,
    was_here: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut marks = self.under_way.marks();
        marks.under_way.remove(&self.mark.id);
        if marks.lately.len() >= MOST_LATELY {
            marks.before = std::mem::take(&mut marks.lately);
        }
        marks.lately.insert(self.mark.id);
    }
}

fn in_flight() -> Problem {
    Problem::under_way("A request with this Idempotency-Key is being carried out.")
}

fn reused() -> Problem {
    Problem::unprocessable(FIELD, "This key was used for another request.")
}

/// The key, if one was sent: a string as structured fields have them (RFC 9651, in quotes), or, as most clients send it,
/// the same without quotes.
fn key(headers: &HeaderMap) -> Option<Result<Vec<u8>, Problem>> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = given.next()?;
    let malformed = || Problem::invalid_field(FIELD, "Send one key of 1 to 255 printable ASCII characters.");
    let key = match given.next() {
        None => parse_key(value.as_bytes()),
        Some(_) => None,
    };
    Some(key.ok_or_else(malformed))
}

fn parse_key(value: &[u8]) -> Option<Vec<u8>> {
    let is_printable = |byte: &u8| (0x20..0x7f).contains(byte);
    let key = match value {
        [b'"', quoted @ .., b'"'] => unescaped(quoted)?,
        [b'"', ..] => return None,
        bare => bare.to_owned(),
    };
    ((1..=LONGEST_KEY).contains(&key.len()) && key.iter().all(is_printable)).then_some(key)
}

fn unescaped(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        key.push(match byte {
            b'\\' => *bytes.next().filter(|next| b"\"\\".contains(next))?,
            b'"' => return None,
            other => *other,
        });
    }
    Some(key)
}

/// 128 bits of SHA-256 over parts, each with its length in front.
fn digest<const N: usize>(parts: [&[u8]; N]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (half, _) = digest.split_at(16);
    Uuid::from_slice(half).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_with_or_without_quotes() {
        let key = |value: &str| parse_key(value.as_bytes()).map(|key| String::from_utf8(key).unwrap());
        assert_eq!(key("8e03978e-40d5").as_deref(), Some("8e03978e-40d5"));
        assert_eq!(key("\"8e03978e-40d5\"").as_deref(), Some("8e03978e-40d5"));
        assert_eq!(key(r#""a\"b\\c""#).as_deref(), Some(r#"a"b\c"#));
        assert_eq!(key(&"x".repeat(255)).map(|key| key.len()), Some(255));
        for malformed in [
            "",
            "\"",
            "\"\"",
            "\"a",
            "\"a\"b\"",
            r#""\a""#,
            r#""\"#,
            "a\tb",
            "é",
            &"x".repeat(256),
        ] {
            assert_eq!(key(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let answer = Answer::new(StatusCode::CREATED, &["a", HOLES[0], "b"])
            .unwrap()
            .with(header::LOCATION, "/conversations/1".to_owned());
        assert_eq!(
            answer.to_text(),
            "201\nlocation: /conversations/1\n\n[\"a\",\"\\u0001\",\"b\"]"
        );
        assert_eq!(Answer::parse(&answer.to_text()), Some(answer));
        assert_eq!(Answer::parse(""), None);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest([b"ab", b"c"]), digest([b"a", b"bc"]));
        assert_eq!(digest([b"ab", b"c"]), digest([b"ab", b"c"]));
    }
}
