//! Who asks, and whether they may. A key comes in `X-API-Key` or as `Authorization: Bearer`; other schemes are no
//! credentials of ours, as a proxy in front may have its own.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    access::{Caller, Refused},
    http::{Http, accept::Connection, api::LARGEST_BODY, problem::Problem},
    limits::shown,
    model::Scope,
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Finds out who asks: leaves the [`Caller`] with the request, or that their credentials open nothing. Where no key is
/// needed, that does no harm.
pub(super) fn recognize(http: &Http, request: &mut Request) {
    // Until the keys are known, nobody is; what needs one is answered 503 then.
    let Some(keyring) = http.keyring.get() else { return };
    let judged = match presented(request.headers()) {
        Presented::Nothing => return,
        Presented::One(credentials) => keyring.authenticate(credentials),
        // Of two keys, neither can be trusted to be the one that was meant.
        Presented::Several => Err(Refused { key: None }),
    };
    match judged {
        Ok(caller) => request.extensions_mut().insert(caller).map(drop),
        Err(refused) => request.extensions_mut().insert(refused).map(drop),
    };
}

/// Lets a request pass that came with a key which may do this, and does not declare more than a body may hold.
pub(in crate::http) async fn require(
    State((http, scope)): State<(Arc<Http>, Scope)>,
    request: Request,
    next: Next,
) -> Response {
    match declared_size(request.headers()).and_then(|()| judge(&http, scope, &request)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Whether a request came with a key which may do this.
pub(in crate::http) fn judge(http: &Http, scope: Scope, request: &Request) -> Result<(), Problem> {
    let keyring = http.keyring()?;
    let extensions = request.extensions();
    let address = || {
        let connection = extensions.get::<Connection>();
        connection.map(|connection| shown(connection.client()))
    };
    if let Some(caller) = extensions.get::<Caller>() {
        if caller.scopes.contain(scope) {
            return Ok(());
        }
        keyring.forbidden(caller.key, address());
        return Err(Problem::forbidden(scope));
    }
    match extensions.get::<Refused>() {
        None => Err(Problem::unauthorized(
            "Authentication credentials were not provided.",
        )),
        Some(refused) => {
            keyring.refused(*refused, address());
            Err(Problem::unauthorized("Invalid API key."))
        }
    }
}

/// The credentials that a request was recognized by, in whichever header they came.
pub(in crate::http) fn credentials(headers: &HeaderMap) -> Option<&[u8]> {
    match presented(headers) {
        Presented::One(credentials) => Some(credentials),
        Presented::Nothing | Presented::Several => None,
    }
}

/// What a request shows of credentials.
#[derive(Debug, PartialEq, Eq)]
enum Presented<'a> {
    Nothing,
    One(&'a [u8]),
    Several,
}

fn presented(headers: &HeaderMap) -> Presented<'_> {
    let own = headers.get_all(API_KEY).iter().map(HeaderValue::as_bytes);
    let authorizations = headers.get_all(header::AUTHORIZATION);
    let bearers = || authorizations.iter().filter_map(|value| bearer(value.as_bytes()));
    // That header comes once: of several, a proxy in front may have believed another one.
    let is_doubtful = authorizations.iter().nth(1).is_some() && bearers().next().is_some();
    let mut all = own.chain(bearers());
    match (all.next(), all.next()) {
        (None, _) => Presented::Nothing,
        (Some(one), None) if !is_doubtful => Presented::One(one),
        _ => Presented::Several,
    }
}

/// What stands behind `Bearer`, in any case; `None` for other schemes.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer";
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let is_ours = scheme.eq_ignore_ascii_case(SCHEME) && rest.first().is_none_or(|first| *first == b' ');
    is_ours.then(|| rest.trim_ascii())
}

fn declared_size(headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > LARGEST_BODY as u64 => Err(Problem::body_too_large()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_key_comes_in_one_of_two_headers() {
        let one = |key: &'static str| Presented::One(key.as_bytes());
        let rows: [(&[(&str, &str)], Presented<'_>); 15] = [
            (&[], Presented::Nothing),
            (&[("x-api-key", "k")], one("k")),
            (&[("authorization", "Bearer k")], one("k")),
            (&[("authorization", "bearer   k ")], one("k")),
            (&[("authorization", "BEARER k")], one("k")),
            (&[("authorization", "Bearer")], one("")),
            (&[("x-api-key", "")], one("")),
            (&[("authorization", "Basic azpw")], Presented::Nothing),
            (&[("authorization", "Bearerk")], Presented::Nothing),
            (&[("authorization", "Basic azpw"), ("x-api-key", "k")], one("k")),
            (&[("x-api-key", "k"), ("x-api-key", "k")], Presented::Several),
            (
                &[("x-api-key", "k"), ("authorization", "Bearer k")],
                Presented::Several,
            ),
            (
                &[("authorization", "Bearer k"), ("authorization", "Bearer k")],
                Presented::Several,
            ),
            (
                &[("authorization", "Basic azpw"), ("authorization", "Bearer k")],
                Presented::Several,
            ),
            (
                &[("authorization", "Basic azpw"), ("authorization", "Basic azpw")],
                Presented::Nothing,
            ),
        ];
        for (lines, expected) in rows {
            assert_eq!(presented(&headers(lines)), expected, "{lines:?}");
        }
    }
}
