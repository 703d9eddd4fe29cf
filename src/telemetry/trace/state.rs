//! The `tracestate` header: a list of vendors' values that is passed on if it is valid (W3C trace context, level 1).

/// More members make the list invalid.
const MOST_MEMBERS: usize = 32;

/// The list without blanks and empty members. `None`: it is invalid.
pub(super) fn normalized(header: &[u8]) -> Option<String> {
    let header = std::str::from_utf8(header).ok()?;
    let mut keys = Vec::new();
    let mut list = String::with_capacity(header.len());
    for member in header.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MOST_MEMBERS {
            return None;
        }
        keys.push(key);
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(member);
    }
    Some(list)
}

/// `vendor` or `tenant@vendor`.
fn is_key(key: &str) -> bool {
    let is_part = |part: &str, longest: usize, is_first: fn(&u8) -> bool| {
        part.len() <= longest
            && part.as_bytes().first().is_some_and(is_first)
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'*' | b'/'))
    };
    match key.split_once('@') {
        None => is_part(key, 256, u8::is_ascii_lowercase),
        Some((tenant, vendor)) => {
            is_part(tenant, 241, |b| b.is_ascii_lowercase() || b.is_ascii_digit())
                && is_part(vendor, 14, u8::is_ascii_lowercase)
        }
    }
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && !value.ends_with(' ')
        && value.bytes().all(|b| matches!(b, b' '..=b'~') && b != b',' && b != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_list_is_kept_without_blanks_and_an_invalid_one_dropped() {
        let check = |header: &str, expected: Option<&str>| {
            assert_eq!(normalized(header.as_bytes()).as_deref(), expected, "{header}");
        };
        let of = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        check("congo=t61rcWkgMzE,rojo=1", Some("congo=t61rcWkgMzE,rojo=1"));
        check(" a=1 ,\tb=2 ", Some("a=1,b=2"));
        check("a=1,,b=2,", Some("a=1,b=2"));
        check("0t@v=x y", Some("0t@v=x y"));
        check("", Some(""));
        check(&of(32), Some(&of(32)));
        for invalid in ["no good", "a=1,a=2", "A=1", "0a=1", "a=", "=1", "a=b=c", "a=\u{e5}", "a@=1", &of(33)] {
            check(invalid, None);
        }
    }
}
