//! Durations in Go's notation: `1h30m`, `500ms`, `1.5s`, `-5s`, `0`.
//!
//! Flags, component settings and resiliency policies use this notation, and users of daprd know its error texts. The unit
//! of a number without unit depends on the setting; [`parse_or_millis`] is the rule of most settings
//! (tests/spec/redis.md, "2.5 The two decoders"; tests/spec/resources-cli.md, "8.2 Schema and defaults").

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::credentials::masked;

/// A duration in nanoseconds; may be negative, unlike [`Duration`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// The reason why a text is not a duration. `Display` gives Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is not in this notation, or longer than 292 years.
    #[error("time: invalid duration {:?}", masked(.0))]
    Invalid(String),
    /// A number without a unit, for example `1.5`.
    #[error("time: missing unit in duration {:?}", masked(.0))]
    MissingUnit(String),
    /// A unit that Go does not know, for example `d`.
    #[error("time: unknown unit {:?} in duration {:?}", masked(unit), masked(text))]
    UnknownUnit {
        /// The text in place of the unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Parse a duration.
///
/// # Errors
/// The text is not in Go's notation.
pub fn parse(text: &str) -> Result<GoDuration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(GoDuration(0));
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (part, after) = first_part(rest, text)?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = after;
    }
    let signed = if negative { 0_i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() };
    signed.map(GoDuration).ok_or_else(invalid)
}

/// Parse an integer as milliseconds, anything else as a duration.
///
/// # Errors
/// The text is neither.
pub fn parse_or_millis(text: &str) -> Result<GoDuration, DurationError> {
    text.parse::<i64>().map_or_else(|_| parse(text), |millis| Ok(GoDuration::from_millis(millis)))
}

impl GoDuration {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From milliseconds; saturates at the longest duration.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From seconds; saturates at the longest duration.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whether it is negative.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// As a [`Duration`]; `None` for zero and less.
    pub fn positive(self) -> Option<Duration> {
        Some(self.to_std()).filter(|length| !length.is_zero())
    }

    /// As a [`Duration`]; negative ones become zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl From<Duration> for GoDuration {
    fn from(length: Duration) -> Self {
        Self(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => decimal(f, nanos, 1_000, "µs"),
            1_000_000..1_000_000_000 => decimal(f, nanos, 1_000_000, "ms"),
            _ => clock(f, nanos),
        }
    }
}

/// Hours, minutes and seconds, from the largest unit that is not zero.
fn clock(f: &mut fmt::Formatter<'_>, nanos: u64) -> fmt::Result {
    let minutes = nanos / 60_000_000_000;
    if minutes >= 60 {
        write!(f, "{}h", minutes / 60)?;
    }
    if minutes > 0 {
        write!(f, "{}m", minutes % 60)?;
    }
    decimal(f, nanos % 60_000_000_000, 1_000_000_000, "s")
}

/// `value / unit` without trailing zeros.
fn decimal(f: &mut fmt::Formatter<'_>, value: u64, unit: u64, name: &str) -> fmt::Result {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return write!(f, "{whole}{name}");
    }
    let digits = unit.ilog10() as usize;
    let fraction = format!("{fraction:0digits$}");
    write!(f, "{whole}.{}{name}", fraction.trim_end_matches('0'))
}

/// The nanoseconds of the first `<number><unit>` of `rest`, and the rest after it.
fn first_part<'a>(rest: &'a str, text: &str) -> Result<(u64, &'a str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (whole, after) = digits(rest);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
    let (unit, after) = after.split_at(end);
    if unit.is_empty() {
        return Err(DurationError::MissingUnit(text.to_owned()));
    }
    let nanos =
        unit_nanos(unit).ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
    let whole: u64 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_| invalid())?,
    };
    let part = whole
        .checked_mul(nanos)
        .and_then(|part| part.checked_add(fraction_nanos(fraction, nanos)))
        .filter(|part| *part <= 1 << 63)
        .ok_or_else(invalid)?;
    Ok((part, after))
}

/// The leading digits, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// The nanoseconds of `0.<digits>` of a unit, rounded down.
fn fraction_nanos(digits: &str, unit: u64) -> u64 {
    // No unit is longer than 3.6e12 ns, so further digits do not matter.
    let digits = &digits[..digits.len().min(18)];
    let value: u128 = digits.parse().unwrap_or(0);
    let scale = 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    u64::try_from(value * u128::from(unit) / scale).unwrap_or(0)
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // Both U+00B5 (micro sign) and U+03BC (Greek letter mu).
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<i64, &str>) {
        let got = parse(text).map(GoDuration::as_nanos);
        assert_eq!(got.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn texts_are_read_as_go_reads_them() {
        check("0", Ok(0));
        check("-0", Ok(0));
        check("5s", Ok(5_000_000_000));
        check("1h30m", Ok(5_400_000_000_000));
        check("1.5s", Ok(1_500_000_000));
        check(".5s", Ok(500_000_000));
        check("1.s", Ok(1_000_000_000));
        check("-5s", Ok(-5_000_000_000));
        check("+5ms", Ok(5_000_000));
        check("3us2ns", Ok(3_002));
        check("2µs", Ok(2_000));
        check("9223372036854775807ns", Ok(i64::MAX));
        check("-9223372036854775808ns", Ok(i64::MIN));
        check("", Err("time: invalid duration \"\""));
        check("abc", Err("time: invalid duration \"abc\""));
        check("-", Err("time: invalid duration \"-\""));
        check(".s", Err("time: invalid duration \".s\""));
        check(" 5s", Err("time: invalid duration \" 5s\""));
        check("30", Err("time: missing unit in duration \"30\""));
        check("1.5", Err("time: missing unit in duration \"1.5\""));
        check("30d", Err("time: unknown unit \"d\" in duration \"30d\""));
        check("5 s", Err("time: unknown unit \" s\" in duration \"5 s\""));
        check("300000000h", Err("time: invalid duration \"300000000h\""));
        check("9223372036854775808ns", Err("time: invalid duration \"9223372036854775808ns\""));
    }

    #[test]
    fn an_integer_is_milliseconds_where_that_rule_holds() {
        for (text, nanos) in [("3", 3_000_000), ("-1", -1_000_000), ("3s", 3_000_000_000)] {
            assert_eq!(parse_or_millis(text).map(GoDuration::as_nanos), Ok(nanos));
        }
        assert!(parse_or_millis("1.5").is_err());
    }

    #[test]
    fn lengths_are_printed_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (180_000_000_000, "3m0s"),
            (5_400_000_000_000, "1h30m0s"),
            (-2_000_000_000, "-2s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            let length = GoDuration::from_nanos(nanos);
            assert_eq!(length.to_string(), text);
            assert_eq!(parse(text), Ok(length));
        }
    }

    proptest::proptest! {
        #![proptest_config(crate::json::arbitrary::cases())]

        #[test]
        fn what_is_written_is_read(nanos: i64) {
            let length = GoDuration::from_nanos(nanos);
            proptest::prop_assert_eq!(parse(&length.to_string()), Ok(length));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+]?([0-9]{0,22}[.]?[0-9]{0,22}(ns|us|µs|ms|s|m|h|d|)){0,3}", other: String) {
            for text in [text, other] {
                if let Ok(length) = parse(&text) {
                    proptest::prop_assert_eq!(length.is_negative(), length < GoDuration::ZERO);
                }
                let _ = parse_or_millis(&text);
            }
        }
    }
}
