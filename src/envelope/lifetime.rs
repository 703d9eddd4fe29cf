//! The lifetime of an event: the `ttl` of a publish (tests/spec/delivery.md, "A8. TTL / `expiration`").

use std::time::Duration;

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};

use crate::duration::{self, GoDuration};
use crate::message::{Metadata, value};

/// The longest lifetime: 63 bits of nanoseconds, 292 years (D23).
const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

/// The lifetime in publish metadata: `ttl`, else `ttlInSeconds`, names in any case. `None` if the value cannot be read.
pub(super) fn lifetime(metadata: &Metadata) -> Option<Duration> {
    let text = value(metadata, "ttl").or_else(|| value(metadata, "ttlInSeconds"))?;
    let duration = duration::parse(text).ok().map(GoDuration::to_std);
    duration.or_else(|| whole_seconds(text))
}

/// `expiration` of an event made at `now`.
pub(super) fn expiration(now: DateTime<Utc>, lifetime: Duration) -> String {
    let lifetime = chrono::Duration::from_std(lifetime).unwrap_or(chrono::Duration::MAX);
    now.checked_add_signed(lifetime).unwrap_or(DateTime::<Utc>::MAX_UTC).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A time in RFC 3339, read as strictly as Go does: chrono alone also accepts blanks, small letters, leap seconds and
/// other signs.
pub(super) fn time(text: &str) -> Option<DateTime<FixedOffset>> {
    let bytes = text.as_bytes();
    let is_strict =
        text.is_ascii() && bytes.get(10) == Some(&b'T') && bytes.get(17..19) != Some(b"60") && !text.ends_with('z');
    if is_strict { DateTime::parse_from_rfc3339(text).ok() } else { None }
}

fn whole_seconds(text: &str) -> Option<Duration> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse().unwrap_or(u64::MAX);
    (seconds > 0).then(|| Duration::from_secs(seconds).min(MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(metadata: &[(&str, &str)], expected: Option<f64>) {
        let map = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let seconds = lifetime(&map).map(|lifetime| lifetime.as_secs_f64());
        assert_eq!(seconds, expected, "{metadata:?}");
    }

    #[test]
    fn durations_and_whole_seconds_are_lifetimes() {
        for (text, seconds) in [
            ("10s", 10.0),
            ("1m30s", 90.0),
            ("1.5h", 5400.0),
            ("600000ms", 600.0),
            ("600", 600.0),
            ("+600", 600.0),
            ("0", 0.0),
            ("0s", 0.0),
            ("-5s", 0.0),
            ("-1h", 0.0),
        ] {
            check(&[("ttl", text)], Some(seconds));
        }
    }

    #[test]
    fn other_texts_are_no_lifetime() {
        for text in ["", "-5", "abc", "1.5", "0x10", "0x", "1d", "600+", "s", "1", "-", "1h-1m", " 5", ".s"] {
            let expected = (text == "1").then_some(1.0);
            check(&[("ttlInSeconds", text)], expected);
        }
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        for (text, expected) in [
            ("2020-01-01T00:00:00Z", true),
            ("2020-01-01T00:00:00.123456789012Z", true),
            ("2020-01-01T00:00:00-02:30", true),
            ("2020-01-01 00:00:00Z", false),
            ("2020-01-01t00:00:00Z", false),
            ("2020-01-01T00:00:00z", false),
            ("2020-01-01T00:00:60Z", false),
            ("2020-01-01T00:00:00\u{2212}02:00", false),
            ("2020-01-01T00:00:00+0200", false),
            ("2020-01-01T00:00:00", false),
            ("2020-01-01", false),
            ("", false),
        ] {
            assert_eq!(time(text).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn ttl_hides_ttl_in_seconds_in_any_case() {
        check(&[("ttl", "1h"), ("ttlInSeconds", "5")], Some(3600.0));
        check(&[("ttl", ""), ("ttlInSeconds", "5")], None);
        check(&[("TTL", "bad"), ("ttlInSeconds", "5")], None);
        check(&[("TTLINSECONDS", "5")], Some(5.0));
        check(&[("ttlinsecond", "5")], None);
    }

    /// D23: daprd wraps around, and the event expires at once.
    #[test]
    fn a_very_long_lifetime_is_capped_far_in_the_future() {
        let now = DateTime::from_timestamp(1_714_564_800, 0).unwrap();
        for text in ["18446744074", "99999999999999999999999", "9223372036"] {
            let metadata = [("ttl".to_owned(), text.to_owned())].into();
            let expiration = expiration(now, lifetime(&metadata).unwrap());
            assert!(expiration.starts_with("2316-"), "{text}: {expiration}");
        }
    }
}
