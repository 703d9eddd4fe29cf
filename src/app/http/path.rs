//! From a route as written to the path and query of a request (spec delivery.md B10).

use std::fmt::Write;

use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};

/// What Go writes as an escape in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// What cannot stand in a query. The rest of it is passed on as written.
const IN_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// Path and query for a route: `//a/./b/../x/?q` becomes `/a/x?q`.
pub(super) fn clean(route: &str) -> String {
    let (path, query) = match route.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (route, None),
    };
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let mut cleaned = String::with_capacity(route.len() + 1);
    for segment in &kept {
        cleaned.push('/');
        cleaned.extend(percent_encoding::percent_encode(segment, IN_PATH));
    }
    if kept.is_empty() {
        cleaned.push('/');
    }
    if let Some(query) = query {
        // Writing to a String cannot fail.
        let _ = write!(cleaned, "?{}", utf8_percent_encode(query, IN_QUERY));
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_become_paths() {
        for (route, expected) in [
            ("/x", "/x"),
            ("x", "/x"),
            ("orders/", "/orders"),
            ("//orders", "/orders"),
            ("", "/"),
            ("/", "/"),
            ("//a/./b/../../x/", "/x"),
            ("/../../x", "/x"),
            ("a//b/", "/a/b"),
            ("/x?a=b&c=%20d", "/x?a=b&c=%20d"),
            ("?a=b", "/?a=b"),
            ("/x?", "/x?"),
            ("/x?a=b c#ä", "/x?a=b%20c%23%C3%A4"),
            ("/x%2Fy z/ä", "/x/y%20z/%C3%A4"),
            ("/a%zz", "/a%25zz"),
            ("/a%", "/a%25"),
            ("/%2e%2e/x", "/x"),
            ("/a#b", "/a%23b"),
            ("/a%00\n", "/a%00%0A"),
            ("/a:b;c=d,e@f$g&h+i~j", "/a:b;c=d,e@f$g&h+i~j"),
            ("/a%ff", "/a%FF"),
        ] {
            assert_eq!(clean(route), expected, "{route}");
            assert!(
                clean(route).parse::<http::uri::PathAndQuery>().is_ok(),
                "{route}"
            );
        }
    }
}
