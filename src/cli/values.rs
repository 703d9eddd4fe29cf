//! Values of flags by the rules of Go's pflag and strconv, with their exact errors (tests/spec/resources-cli.md, "1.1
//! Parsing rules").

use crate::credentials::masked;
use crate::quantity::integer;

/// Parse a bool as Go's `ParseBool`.
///
/// # Errors
/// The text is not a bool.
pub(super) fn bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {:?}: invalid syntax", masked(text))),
    }
}

/// Parse an integer as Go's `ParseInt` with base 0.
///
/// # Errors
/// The text is not an integer, or does not fit.
pub(super) fn int(text: &str) -> Result<i64, String> {
    number(text, "ParseInt")
}

/// Parse an unsigned integer as Go's `ParseUint` with base 0.
///
/// # Errors
/// The text is not an integer, or does not fit.
pub(super) fn uint(text: &str) -> Result<u64, String> {
    number(text, "ParseUint")
}

fn number<T: TryFrom<i128>>(text: &str, function: &str) -> Result<T, String> {
    let plain = text.replace('_', "");
    let value = integer(&plain).and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| {
        let digits = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let why = if is_number { "value out of range" } else { "invalid syntax" };
        format!("strconv.{function}: parsing {:?}: {why}", masked(text))
    })
}

/// Parse one CSV record (RFC 4180); an empty text has no values.
///
/// # Errors
/// The quotes do not match; in Go's words.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    if text.is_empty() {
        return Ok(fields);
    }
    let mut rest = text;
    loop {
        let (field, after) = field(rest).map_err(|(at, why)| {
            let column = text.len() - rest.len() + at + 1;
            format!("parse error on line 1, column {column}: {why}")
        })?;
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// The first field of a record and the rest from the comma on, or the position of the error.
fn field(text: &str) -> Result<(String, &str), (usize, &'static str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        let (field, after) = text.split_at(end);
        return match field.find('"') {
            Some(at) => Err((at, "bare \" in non-quoted field")),
            None => Ok((field.to_owned(), after)),
        };
    };
    let mut field = String::new();
    let mut rest = quoted;
    loop {
        let Some(end) = rest.find('"') else {
            return Err((text.len(), "extraneous or missing \" in quoted-field"));
        };
        field.push_str(&rest[..end]);
        let after = &rest[end + 1..];
        if let Some(more) = after.strip_prefix('"') {
            field.push('"');
            rest = more;
        } else if after.is_empty() || after.starts_with(',') {
            return Ok((field, after));
        } else {
            return Err((text.len() - after.len(), "extraneous or missing \" in quoted-field"));
        }
    }
}
