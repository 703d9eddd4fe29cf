//! The `baggage` header: checked and echoed, never stored (tests/spec/http-api.md, "12. Trace headers").

/// Limits of the header as a whole.
const MOST_MEMBERS: usize = 64;
const MOST_BYTES: usize = 8192;

/// Check a header value, which is not empty.
///
/// # Errors
/// The errors, one on each line.
pub fn check(header: &str) -> Result<(), String> {
    if header.len() > MOST_BYTES {
        return Err(format!("baggage string is too large: {}", header.len()));
    }
    if header.split(',').count() > MOST_MEMBERS {
        return Err("too many list-members in baggage".to_owned());
    }
    let mistakes: Vec<String> = header.split(',').filter_map(|member| check_member(member).err()).collect();
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes.join("\n")) }
}

/// `key=value;property;property=value`
fn check_member(member: &str) -> Result<(), String> {
    let mut parts = member.split(';');
    let pair = parts.next().unwrap_or_default();
    let Some((key, value)) = pair.split_once('=') else {
        return Err(format!("invalid baggage list-member: {member:?}"));
    };
    let (key, value) = (key.trim(), value.trim());
    if !is_key(key) {
        return Err(format!("invalid key: {key:?}"));
    }
    if !is_value(value) {
        return Err(format!("invalid value: {value:?}"));
    }
    match parts.find(|property| !is_property(property)) {
        Some(property) => Err(format!("invalid baggage list-member property: {property:?}")),
        None => Ok(()),
    }
}

fn is_property(property: &str) -> bool {
    match property.split_once('=') {
        None => is_key(property.trim()),
        Some((key, value)) => is_key(key.trim()) && is_value(value.trim()),
    }
}

/// A token of HTTP.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Printable ASCII without blanks, quotes, commas, semicolons and backslashes; percent escapes must be complete.
fn is_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.iter().all(|b| matches!(b, b'!' | b'#'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~'))
        && value
            .match_indices('%')
            .all(|(at, _)| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let check = |header: &str, expected: Result<(), &str>| {
            assert_eq!(check(header), expected.map_err(str::to_owned), "{header}");
        };
        for valid in ["k1=v1,k2=v2", "k1=v1;p=1, k2 = v2", "a=%20x", "a=", "a=1;p"] {
            check(valid, Ok(()));
        }
        check("invalid-baggage", Err(r#"invalid baggage list-member: "invalid-baggage""#));
        check("=1", Err(r#"invalid key: """#));
        check("a b=1", Err(r#"invalid key: "a b""#));
        check("a=1,bad,c=3", Err(r#"invalid baggage list-member: "bad""#));
        check("a=1,", Err(r#"invalid baggage list-member: """#));
        check("a=%zz", Err(r#"invalid value: "%zz""#));
        check("a=1;=", Err(r#"invalid baggage list-member property: "=""#));
        check("x,y", Err("invalid baggage list-member: \"x\"\ninvalid baggage list-member: \"y\""));
    }

    #[test]
    fn more_than_64_members_or_8192_bytes_are_too_many() {
        check(&["a=1"; 64].join(",")).unwrap();
        check(&["a=1"; 65].join(",")).unwrap_err();
        check(&format!("a={}", "v".repeat(8191))).unwrap_err();
    }
}
