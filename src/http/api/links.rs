//! Addresses in answers.

use std::borrow::Cow;

use axum::http::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::query::Query;
use crate::{
    config::HttpSettings,
    http::{
        layer::{host::LONGEST_TARGET, proxies},
        problem::Problem,
    },
    model::{MessagePage, PageSize},
};

/// What Python's `quote_plus` leaves as it is, besides letters and digits.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~');

/// Where this server is, as its clients see it.
pub(super) fn base(settings: &HttpSettings, headers: &HeaderMap) -> String {
    if let Some(url) = &settings.public_url {
        return url.clone();
    }
    let scheme = proxies::scheme(settings, headers);
    match proxies::host(settings, headers).and_then(|host| host.to_str().ok()) {
        Some(host) => format!("{scheme}://{host}"),
        None => format!("{scheme}://{}", settings.listen),
    }
}

/// The addresses of the pages after and before this one: all parameters kept and sorted, `page` replaced.
///
/// In a link every byte is written as it should be, which can make it longer than a target may be. A page with a link that
/// leads nowhere is not given.
pub(super) fn neighbours(
    base: &str,
    uri: &Uri,
    query: &Query<'_>,
    page: &MessagePage,
    size: PageSize,
) -> Result<(Option<String>, Option<String>), Problem> {
    let number = page.number.get();
    let address = |number: u64| {
        let link = format!("{base}{}{}", uri.path(), parameters(query, number));
        if link.len() - base.len() > LONGEST_TARGET {
            return Err(Problem::uri_too_long());
        }
        Ok(link)
    };
    let next = (number.saturating_mul(size.get()) < page.count).then(|| address(number + 1));
    let previous = (number > 1).then(|| address(number - 1));
    Ok((next.transpose()?, previous.transpose()?))
}

/// The query string for a page; the first page needs no `page`.
fn parameters(query: &Query<'_>, number: u64) -> String {
    let mut parameters: Vec<(&str, Cow<'_, str>)> = query
        .parameters()
        .iter()
        .filter(|(name, _)| name != "page")
        .map(|(name, value)| (name.as_ref(), Cow::Borrowed(value.as_ref())))
        .collect();
    if number > 1 {
        parameters.push(("page", Cow::Owned(number.to_string())));
    }
    // Stable, so that a parameter's repetitions keep their order.
    parameters.sort_by_key(|(name, _)| *name);
    let mut text = String::new();
    for (name, value) in parameters {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(&quoted(name));
        text.push('=');
        text.push_str(&quoted(&value));
    }
    text
}

fn quoted(text: &str) -> String {
    utf8_percent_encode(text, QUOTED).to_string().replace("%20", "+")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_kept_and_sorted_and_page_replaced() {
        let query = Query::new(Some("role=user&x=2&page=7&q=a+b%26c%zz&x=1&e="));
        assert_eq!(
            parameters(&query, 3),
            "?e=&page=3&q=a+b%26c%25zz&role=user&x=2&x=1"
        );
        assert_eq!(parameters(&Query::new(Some("page=2")), 1), "");
        assert_eq!(parameters(&Query::new(None), 2), "?page=2");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(pairs in proptest::collection::vec(("[^p].{0,8}", ".{0,12}"), 0..6)) {
            let given: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let written = parameters(&Query::new(Some(&given)), 1);
            let read: Vec<(String, String)> = form_urlencoded::parse(written.trim_start_matches('?').as_bytes())
                .into_owned().collect();
            let mut expected = pairs;
            expected.sort_by(|(left, _), (right, _)| left.cmp(right));
            prop_assert_eq!(read, expected);
        }
    }
}
