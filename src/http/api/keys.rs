//! Keys, for those whose own may administer them.

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::Response,
};
use secrecy::ExposeSecret;
use serde_json::value::RawValue;

use super::{
    body::Fields,
    extract::{By, JsonBody, NamedKey},
    json,
    once::{Answer, Asked, HOLES, Turn},
    options,
    seal::Lock,
    shapes,
};
use crate::{
    access::{Desk, Drawn, Keyring, Made, NewKey, Remember},
    http::{
        Http,
        layer::{
            admission::{admit, admit_write},
            keys::credentials,
        },
        problem::Problem,
    },
    model::{ApiKey, Environment, KeyId, KeyLimits, KeyName, Scope, Scopes, TextProblem, Timestamp, trim},
    service::Service,
};

/// How long a key goes on opening things beside the one that takes its place, unless the request says.
pub(super) const OVERLAP: Duration = Duration::from_hours(24);

/// The longest such time: a year.
pub(super) const LONGEST_OVERLAP_S: u64 = 366 * 24 * 60 * 60;

/// `POST /keys`
pub(super) async fn create(
    State(http): State<Arc<Http>>,
    By(caller): By,
    asked: Asked,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let lock = lock(&headers, &asked);
    admit_write(&http, async {
        let (service, desk) = (http.service()?, http.keyring()?.desk());
        let turn = asked.begin(&http, &body)?;
        let made = async {
            let new = parse(&body, desk.now())?;
            let remember = remember(&turn, service, &lock);
            Ok(desk.create(new, caller.actor(), remember).await?)
        };
        answer(&http, turn.carry_out(service, made).await?, &lock).await
    })
    .await
}

/// `GET /keys`
pub(super) async fn list(State(http): State<Arc<Http>>) -> Result<Response, Problem> {
    admit(&http, async {
        let desk = http.keyring()?.desk();
        let (keys, now) = (desk.list().await?, desk.now());
        let results = keys.iter().map(|key| shapes::Key::new(key, now)).collect();
        json(StatusCode::OK, &shapes::Keys { results })
    })
    .await
}

/// `GET /keys/{key_id}`
pub(super) async fn read(State(http): State<Arc<Http>>, NamedKey(id): NamedKey) -> Result<Response, Problem> {
    admit(&http, async {
        let desk = http.keyring()?.desk();
        json(
            StatusCode::OK,
            &shapes::Key::new(&desk.find(id).await?, desk.now()),
        )
    })
    .await
}

/// `DELETE /keys/{key_id}`
pub(super) async fn revoke(
    State(http): State<Arc<Http>>,
    By(caller): By,
    NamedKey(id): NamedKey,
) -> Result<Response, Problem> {
    admit(&http, async {
        let keyring = http.keyring()?;
        let key = keyring.desk().revoke(id, caller.actor()).await?;
        learn(keyring).await;
        json(StatusCode::OK, &shapes::Key::new(&key, keyring.desk().now()))
    })
    .await
}

/// `POST /keys/{key_id}/rotate`
pub(super) async fn rotate(
    State(http): State<Arc<Http>>,
    By(caller): By,
    NamedKey(id): NamedKey,
    asked: Asked,
    request: Request,
) -> Result<Response, Problem> {
    let desk = http.keyring()?.desk();
    let lock = lock(request.headers(), &asked);
    if request.headers().contains_key(header::EXPECT) {
        // A client that asks before it sends is told at once.
        desk.find(id).await?;
    }
    let body = JsonBody::from_request(request, &http).await;
    admit_write(&http, async {
        let service = http.service()?;
        let begun = body.and_then(|JsonBody(body)| Ok((asked.begin(&http, &body)?, body)));
        let (turn, body) = judged_after(&desk, id, begun).await?;
        let made = async {
            let (overlap, expires) = judged_after(&desk, id, parse_rotation(&body, desk.now())).await?;
            let remember = remember(&turn, service, &lock);
            let made = desk.rotate(id, overlap, expires, caller.actor(), remember);
            Ok(made.await?)
        };
        answer(&http, turn.carry_out(service, made).await?, &lock).await
    })
    .await
}

/// Whether there is such a key is judged before what is asked of it.
async fn judged_after<T>(desk: &Desk, id: KeyId, asked: Result<T, Problem>) -> Result<T, Problem> {
    if asked.is_err() {
        desk.find(id).await?;
    }
    asked
}

/// What the key that an answer shows is remembered under.
fn lock(headers: &HeaderMap, asked: &Asked) -> Lock {
    Lock::of(credentials(headers).unwrap_or_default(), asked.idempotency_key())
}

/// Where a remembered answer keeps the key that it shows.
const SEALED: HeaderName = HeaderName::from_static("sealed-key");

/// Has the answer remembered, with the key locked.
fn remember(turn: &Turn, service: &Service, lock: &Lock) -> Option<Remember> {
    let (mark, service, lock) = (turn.mark()?, service.clone(), lock.clone());
    Some(Box::new(move |drawn: Drawn| {
        service.once(mark, move |key: &ApiKey| {
            let name = key.id.to_string();
            let sealed = lock.seal(&name, drawn.text(key).expose_secret());
            match (made_answer(key, HOLES[0]), sealed) {
                (Ok(answer), Some(sealed)) => answer.with(SEALED, format!("{name} {sealed}")).to_text(),
                _ => String::new(),
            }
        })
    }))
}

/// The answer that was given before, if what was shown then is shown again.
fn again(mut answer: Answer, lock: &Lock) -> Result<Response, Problem> {
    let sealed = answer.take(&SEALED).unwrap_or_default();
    let key = sealed
        .split_once(' ')
        .and_then(|(name, sealed)| lock.open(name, sealed));
    let key = key.ok_or_else(|| {
        Problem::conflict("This was carried out with another API key, and is shown to that one only.")
    })?;
    answer.replay(&[Some(key.as_str())])
}

async fn answer(http: &Http, made: Result<Made, Answer>, lock: &Lock) -> Result<Response, Problem> {
    let made = match made {
        Ok(made) => made,
        Err(answer) => return again(answer, lock),
    };
    learn(http.keyring()?).await;
    Ok(made_answer(&made.key, made.text.expose_secret())?.respond())
}

/// On this node, what was just done counts at once; others see it within seconds. So does this one, if it cannot now.
async fn learn(keyring: &Keyring) {
    let _ = keyring.look().await;
}

fn made_answer(key: &ApiKey, text: &str) -> Result<Answer, Problem> {
    let shape = shapes::KeyMade {
        of: shapes::Key::new(key, key.created),
        key: text,
    };
    let location = format!("/api/v1/keys/{}", key.id);
    Ok(Answer::new(StatusCode::CREATED, &shape)?.with(header::LOCATION, location))
}

/// What a body can say of a key.
const FIELDS: &[&str] = &[
    "name",
    "environment",
    "scopes",
    "limits",
    "date_expires",
    "expires_in_s",
];

/// What a body can say of its limits.
pub(super) const LIMITS: &[&str] = &[
    "requests_per_s",
    "messages_per_min",
    "pending_replies",
    "tokens_per_day",
];

fn parse(body: &[u8], now: Timestamp) -> Result<NewKey, Problem> {
    let mut fields = Fields::parse(body, FIELDS)?;
    let name = name(&mut fields);
    let environment = fields.change("environment", |fields, value| {
        fields.choice("environment", value, Environment::parse)
    });
    let scopes = fields.change("scopes", scopes);
    let limits = fields.within("limits", LIMITS, limits);
    let expires = expires(&mut fields, now);
    fields.finish()?;
    let name = name.ok_or_else(|| Problem::internal("a name that is neither good nor bad"))?;
    Ok(NewKey {
        name,
        environment: environment.apply(None).unwrap_or(Environment::Live),
        scopes: scopes.apply(None).unwrap_or(Scopes::USUAL),
        limits: limits.unwrap_or_default(),
        expires,
    })
}

fn parse_rotation(body: &[u8], now: Timestamp) -> Result<(Duration, Option<Timestamp>), Problem> {
    let mut fields = Fields::parse(body, &["overlap_s", "date_expires", "expires_in_s"])?;
    let overlap = options::whole(&mut fields, "overlap_s", 0..=LONGEST_OVERLAP_S).apply(None);
    let expires = expires(&mut fields, now);
    fields.finish()?;
    Ok((overlap.map_or(OVERLAP, Duration::from_secs), expires))
}

fn name(fields: &mut Fields<'_>) -> Option<KeyName> {
    let raw = fields.text("name", |raw| match trim(raw) {
        "" => Err(vec![TextProblem::Blank]),
        name if name.chars().count() > KeyName::MAX => Err(vec![TextProblem::TooLong(KeyName::MAX)]),
        name => Ok(name.to_owned()),
    })?;
    KeyName::parse(&raw).or_else(|| fields.refuse("name", "Control characters are not allowed."))
}

fn scopes(fields: &mut Fields<'_>, value: &RawValue) -> Option<Scopes> {
    let Ok(named) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
        return fields.refuse("scopes", "Expected a list of items.");
    };
    if named.is_empty() {
        return fields.refuse("scopes", "This list may not be empty.");
    }
    let chosen: Vec<_> = named
        .into_iter()
        .map(|scope| fields.choice("scopes", scope, Scope::parse))
        .collect();
    chosen.into_iter().collect()
}

/// As many as a database can count to.
pub(super) const MOST_TOKENS: u64 = i64::MAX.unsigned_abs();

fn limits(fields: &mut Fields<'_>) -> KeyLimits {
    let mut small = |name| {
        let limit = options::whole(fields, name, 1..=u32::MAX.into()).apply(None)?;
        NonZeroU32::new(u32::try_from(limit).ok()?)
    };
    KeyLimits {
        requests_per_s: small("requests_per_s"),
        messages_per_min: small("messages_per_min"),
        pending_replies: small("pending_replies"),
        tokens_per_day: options::whole(fields, "tokens_per_day", 1..=MOST_TOKENS)
            .apply(None)
            .and_then(NonZeroU64::new),
    }
}

/// When a key is to expire: at a date, or after a time.
fn expires(fields: &mut Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    let date = fields
        .text_change("date_expires", |raw| Ok(raw.to_owned()))
        .apply(None);
    let date = date.and_then(|date| match Timestamp::parse(&date) {
        Some(date) if date > now => Some(date),
        Some(_) => fields.refuse("date_expires", "This date has passed."),
        None => fields.refuse("date_expires", "A date and time of RFC 3339 is required."),
    });
    let seconds = options::whole(fields, "expires_in_s", 1..=u32::MAX.into()).apply(None);
    match (date, seconds) {
        (Some(_), Some(_)) => fields.refuse("expires_in_s", "Give either this or date_expires."),
        (date, None) => date,
        (None, Some(seconds)) => Some(now.after(Duration::from_secs(seconds))),
    }
}
