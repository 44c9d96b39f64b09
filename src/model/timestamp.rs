//! Points in time, in whole microseconds: the precision that clients see and databases keep.

use std::{fmt, time::Duration};

/// The last moment that can be told, 26 hours before the year 10000: 9999-12-30T22:00:00Z, in microseconds.
const LAST: i64 = 253_402_207_200_000_000;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A point in time from its microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Reads a date and time of RFC 3339, or a date alone, which stands for its beginning in UTC. The last day of 9999,
    /// which people write for never, becomes the last moment that can be told.
    pub fn parse(text: &str) -> Option<Self> {
        let time = text.parse::<jiff::Timestamp>().or_else(|error| {
            let is_date = text.len() == "2026-01-31".len();
            let date = is_date.then(|| text.parse::<jiff::civil::Date>().ok()).flatten();
            date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok())
                .map(|zoned| zoned.timestamp())
                .ok_or(error)
        });
        // A fraction of the last second is read, but cannot be told.
        let read = time.ok().map(|time| time.as_microsecond().min(LAST));
        read.or_else(|| is_past_the_last(text).then_some(LAST)).map(Self)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This much later; the end of time when there is no such point.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// This much earlier; the beginning of time when there is no such point.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// How long until `later`; zero when it has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_micros(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

/// Whether a text is a date like those that are read, but one of the last day.
fn is_past_the_last(text: &str) -> bool {
    let Ok(pieces) = jiff::fmt::temporal::Pieces::parse(text) else {
        return false;
    };
    let is_a_moment = pieces.time().is_some() == pieces.offset().is_some();
    is_a_moment && pieces.time_zone_annotation().is_none() && pieces.date() >= jiff::civil::date(9999, 12, 30)
}

/// RFC 3339 in UTC with exactly six fractional digits: `2026-11-22T14:15:30.414806Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: jiff::fmt::temporal::DateTimePrinter =
            jiff::fmt::temporal::DateTimePrinter::new().precision(Some(6));
        let time = jiff::Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        PRINTER
            .print_timestamp(&time, jiff::fmt::StdFmtWrite(f))
            .map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_and_without_a_time() {
        for (text, expected) in [
            ("2026-11-22T14:15:30.414806Z", Some("2026-11-22T14:15:30.414806Z")),
            ("2026-11-22T16:15:30+02:00", Some("2026-11-22T14:15:30.000000Z")),
            ("2026-11-22", Some("2026-11-22T00:00:00.000000Z")),
            ("9999-12-30T22:00:00Z", Some("9999-12-30T22:00:00.000000Z")),
            ("9999-12-30T22:00:00.5Z", Some("9999-12-30T22:00:00.000000Z")),
            ("9999-12-31T23:59:59Z", Some("9999-12-30T22:00:00.000000Z")),
            ("9999-12-31", Some("9999-12-30T22:00:00.000000Z")),
            ("9999-12-31T23:59:59", None),
            ("9999-12-32", None),
            ("10000-01-01", None),
            ("2026-11-31", None),
            ("2026-11-22T14:15:30", None),
            ("20261122", None),
            ("tomorrow", None),
            ("", None),
        ] {
            let read = Timestamp::parse(text).map(|time| time.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn dates_always_have_six_digits_and_a_z() {
        assert_eq!(
            Timestamp::from_micros(0).to_string(),
            "1970-01-01T00:00:00.000000Z"
        );
        assert_eq!(
            Timestamp::from_micros(1_795_356_930_414_806).to_string(),
            "2026-11-22T14:15:30.414806Z"
        );
    }
}
