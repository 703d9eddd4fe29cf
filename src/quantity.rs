//! Sizes and whole numbers as text: sizes in bytes as in Kubernetes (`4Mi`, `1M`, `1.5k`, `12e2`;
//! tests/spec/resources-cli.md, "1.2 Flags that matter for a pub/sub sidecar"), and
//! integers as in Go (`0x1F`, `0777`).

use crate::credentials::masked;

/// The reason why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text is not in this notation.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Syntax,
    /// The size is not a whole number of bytes.
    #[error("cannot get bytes from resource quantity value '{}'", masked(.0))]
    NotWhole(String),
    /// The size does not fit 64 bits.
    #[error("quantity '{}' is too large", masked(.0))]
    TooLarge(String),
}

/// Parse a size to bytes.
///
/// # Errors
/// The text is not a size, or not a whole number of bytes.
pub fn parse(text: &str) -> Result<i64, QuantityError> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(QuantityError::Syntax);
    }
    let (up, down) = scale(suffix)?;
    // As in daprd, binary units take no fractions (tests/spec/resources-cli.md, "1.2 Flags that
    // matter for a pub/sub sidecar").
    if !fraction.is_empty() && suffix.ends_with('i') {
        return Err(QuantityError::NotWhole(text.to_owned()));
    }
    let too_large = || QuantityError::TooLarge(text.to_owned());
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| too_large())?;
    let decimals = u32::try_from(fraction.len()).map_err(|_| too_large())?;
    let scaled = digits.checked_mul(up).ok_or_else(too_large)?;
    let divisor = 10_u128.checked_pow(decimals).and_then(|tens| tens.checked_mul(down)).ok_or_else(too_large)?;
    if scaled % divisor != 0 {
        return Err(QuantityError::NotWhole(text.to_owned()));
    }
    let bytes = i64::try_from(scaled / divisor).map_err(|_| too_large())?;
    Ok(if negative { -bytes } else { bytes })
}

/// Parse an integer as Go's `ParseInt` with base 0: `0x`, `0o`, `0b`, a leading 0 for octal. It must fit 64 bits, signed
/// or unsigned.
pub fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some(_) if lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -value } else { value };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// The factor and the divisor of a suffix.
fn scale(suffix: &str) -> Result<(u128, u128), QuantityError> {
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']).filter(|e| !e.is_empty()) {
        let exponent: i32 = exponent.parse().map_err(|_| QuantityError::Syntax)?;
        let power = 10_u128.checked_pow(exponent.unsigned_abs()).ok_or(QuantityError::Syntax)?;
        return Ok(if exponent < 0 { (1, power) } else { (power, 1) });
    }
    let up = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        "Ei" => 1 << 60,
        "m" => return Ok((1, 1_000)),
        "u" => return Ok((1, 1_000_000)),
        "n" => return Ok((1, 1_000_000_000)),
        _ => return Err(QuantityError::Syntax),
    };
    Ok((up, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("400", Some(400)),
            ("4Mi", Some(4 << 20)),
            ("2M", Some(2_000_000)),
            ("4Ki", Some(4096)),
            ("1.5k", Some(1500)),
            ("1.5Mi", None),
            ("0.5Ki", None),
            ("1.0Ki", None),
            ("12e2", Some(1200)),
            ("3E", Some(3_000_000_000_000_000_000)),
            ("1000m", Some(1)),
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("500m", None),
            ("4MB", None),
            ("4KB", None),
            ("bad", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("12e", None),
            ("999999999999Ei", None),
            ("1e99", None),
        ] {
            assert_eq!(parse(text).ok(), bytes, "{text}");
        }
    }

    proptest::proptest! {
        #![proptest_config(crate::json::arbitrary::cases())]

        #[test]
        fn no_text_makes_it_panic(text in "[-+]?[0-9]{0,45}[.]?[0-9]{0,45}([numkMGTPE]i?|e[-+]?[0-9]{0,5}|)", other: String) {
            for text in [text, other] {
                let _ = (parse(&text), integer(&text));
            }
        }

        #[test]
        fn whole_numbers_are_read_in_every_base(number: u64) {
            for text in [format!("{number}"), format!("0x{number:X}"), format!("0o{number:o}"), format!("0b{number:b}")] {
                proptest::prop_assert_eq!(integer(&text), Some(number.into()));
            }
        }
    }
}
