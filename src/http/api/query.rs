//! Query strings, read as Django reads them: of a repeated parameter the last counts, bytes that are no UTF-8 become
//! U+FFFD, and a broken escape stands for itself.

use std::{borrow::Cow, num::NonZeroU64};

use crate::{
    http::problem::Problem,
    model::{MessageFilter, Needle, PageNumber, PageSize, Role, RoleFilter},
};

/// The longest text to search for, in code points.
pub(super) const LONGEST_NEEDLE: usize = 256;

/// The parameters of a request.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(super) fn new(query: Option<&'a str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect())
    }

    /// All of them, in the order they were given.
    pub(super) fn parameters(&self) -> &[(Cow<'a, str>, Cow<'a, str>)] {
        &self.0
    }

    fn last(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_ref())
    }

    /// `q`: what to search for, verbatim; nothing when it is missing or empty.
    pub(super) fn needle(&self) -> Result<Option<Needle>, Problem> {
        let text = self.last("q").unwrap_or_default();
        if text.contains('\0') {
            return Err(Problem::invalid_field("q", "Null characters are not allowed."));
        }
        if text.len() > LONGEST_NEEDLE && text.chars().count() > LONGEST_NEEDLE {
            let text = format!("Ensure this field has no more than {LONGEST_NEEDLE} characters.");
            return Err(Problem::invalid_field("q", text));
        }
        Ok(Needle::new(text))
    }

    /// `role` and `q`. A role that does not exist is nobody's; an empty one is not asked for.
    pub(super) fn filter(&self) -> Result<MessageFilter, Problem> {
        let role = match self.last("role") {
            None | Some("") => RoleFilter::Any,
            Some(name) => Role::parse(name).map_or(RoleFilter::Nobody, RoleFilter::Only),
        };
        Ok(MessageFilter {
            role,
            needle: self.needle()?,
        })
    }

    /// `page`: a number from 1 in ASCII digits, or `last`.
    pub(super) fn page(&self) -> Result<PageNumber, Problem> {
        match self.last("page") {
            None => Ok(PageNumber::Nth(NonZeroU64::MIN)),
            Some("last") => Ok(PageNumber::Last),
            Some(digits) => {
                let number = number(digits).and_then(Result::ok).and_then(NonZeroU64::new);
                number.map(PageNumber::Nth).ok_or_else(Problem::no_such_page)
            }
        }
    }

    /// `after`, as it was given; an empty one is not.
    pub(super) fn after(&self) -> Option<&str> {
        self.last("after").filter(|given| !given.is_empty())
    }

    /// `stream`: whether a stream is wanted, if it is said; an empty value says nothing.
    pub(super) fn stream(&self) -> Result<Option<bool>, Problem> {
        match self.last("stream") {
            None | Some("") => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Problem::invalid_field("stream", "Must be a valid boolean.")),
        }
    }

    /// `page_size`: the default for everything that is no positive number, the largest for what is larger.
    pub(super) fn page_size(&self) -> PageSize {
        let size = self
            .last("page_size")
            .and_then(number)
            .map(|size| size.unwrap_or(u64::MAX));
        size.and_then(PageSize::clamped).unwrap_or_default()
    }
}

/// The number of an event; the largest number there is for all that are larger.
pub(super) fn event_number(digits: &str) -> Option<u64> {
    number(digits).map(|number| number.unwrap_or(u64::MAX))
}

/// Reads ASCII digits and nothing else; `Err` when the number is too large to hold.
fn number(digits: &str) -> Option<Result<u64, std::num::ParseIntError>> {
    let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Option<u64> {
        match Query::new(Some(query)).page().ok()? {
            PageNumber::Nth(number) => Some(number.get()),
            PageNumber::Last => Some(0),
        }
    }

    #[test]
    fn a_page_is_ascii_digits_or_last() {
        for (query, expected) in [
            ("", 1),
            ("page=2", 2),
            ("page=01", 1),
            ("page=1&page=2", 2),
            ("page=last", 0),
            ("PAGE=7", 1),
            (&format!("page={}2", "0".repeat(5_000)), 2),
        ] {
            assert_eq!(page(query), Some(expected), "{query}");
        }
        for query in [
            "0", "-1", "abc", "1.5", "1.0", "1e1", "0x1", "", "LAST", "%201", "+1", "%2B1", "%D9%A1", "1_0",
        ] {
            assert_eq!(page(&format!("page={query}")), None, "{query}");
        }
        assert_eq!(page(&format!("page={}", "9".repeat(23))), None);
    }

    #[test]
    fn a_page_size_is_never_wrong() {
        let size = |query: &str| Query::new(Some(query)).page_size().get();
        for (query, expected) in [
            ("0", 10),
            ("-1", 10),
            ("abc", 10),
            ("", 10),
            ("5.0", 10),
            ("5", 5),
            ("100", 100),
            ("101", 100),
            ("1000000000000", 100),
        ] {
            assert_eq!(size(&format!("page_size={query}")), expected, "{query}");
        }
        assert_eq!(size(&format!("page_size={}", "9".repeat(40))), 100);
    }
}
