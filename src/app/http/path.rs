//! From a route as written to the path and query of a request (tests/spec/delivery.md, "B10. HTTP request to the app").
//!
//! daprd cleans the whole text, query included, as a file path, appends it to the app's address, and parses that with Go's `net/url`. So
//! escapes stay as written where possible, a fragment is not sent, and a slash before the query stays.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// The characters that Go escapes when it has to encode a path anew.
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

/// Why a route cannot be requested. The texts are Go's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum RouteError {
    /// A percent sign without two hexadecimal digits behind it.
    #[error("invalid URL escape {0:?}")]
    Escape(String),
    /// A control character that is not escaped.
    #[error("net/url: invalid control character in URL")]
    Control,
}

/// The path and query for a route: `//a/./b/../x/?q#f` becomes `/a/x/?q`.
///
/// # Errors
/// If Go's `url.Parse` refuses it.
pub(super) fn clean(route: &str) -> Result<String, RouteError> {
    let lexical = lexically(route);
    let (url, fragment) = match lexical.split_once('#') {
        Some((url, fragment)) => (url, fragment),
        None => (&*lexical, ""),
    };
    if url.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(RouteError::Control);
    }
    let (path, query) = match url.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (url, None),
    };
    check_escapes(path)?;
    check_escapes(fragment)?;
    let mut cleaned = if path.bytes().all(may_stand_in_path) {
        path.to_owned()
    } else {
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        percent_encode(&decoded, IN_PATH).to_string()
    };
    if let Some(query) = query {
        cleaned.push('?');
        push_query(&mut cleaned, query);
    }
    Ok(cleaned)
}

/// The shortest path with the same meaning, starting at the root, as Go's `path.Clean` finds it.
fn lexically(route: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in route.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Append a query. Go sends it as written; we escape what would end the path in the request line, or is forbidden there.
fn push_query(out: &mut String, query: &str) {
    for letter in query.chars() {
        match letter {
            ' ' => out.push_str("%20"),
            '"' => out.push_str("%22"),
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            letter => out.push(letter),
        }
    }
}

fn check_escapes(text: &str) -> Result<(), RouteError> {
    for (at, _) in text.match_indices('%') {
        let is_hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
        if !(is_hex(at + 1) && is_hex(at + 2)) {
            // Go's error quotes three bytes.
            return Err(RouteError::Escape(text[at..].chars().take(3).collect()));
        }
    }
    Ok(())
}

/// Can this byte stay as written? If all bytes of a path can, Go leaves the path as it is.
fn may_stand_in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]%/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_become_paths() {
        for (route, expected) in [
            ("/x", "/x"),
            ("x", "/x"),
            ("", "/"),
            ("/", "/"),
            // Slashes and dots.
            ("orders/", "/orders"),
            ("//orders", "/orders"),
            ("a//b/", "/a/b"),
            ("//a/./b/../../x/", "/x"),
            ("/../../x", "/x"),
            ("../x", "/x"),
            (".", "/"),
            ("/a/..", "/"),
            ("/a/...", "/a/..."),
            ("http://example.com/x", "/http:/example.com/x"),
            // Queries: they are part of the last segment.
            ("/x?a=b&c=%20d", "/x?a=b&c=%20d"),
            ("/b//c/?k=v", "/b/c/?k=v"),
            ("/b/?k=v", "/b/?k=v"),
            ("/b/../c/?k=v", "/c/?k=v"),
            ("?a=b", "/?a=b"),
            ("?", "/?"),
            ("/x?", "/x?"),
            ("/x??", "/x??"),
            ("/x?a=b?c", "/x?a=b?c"),
            ("/x?u=http://h/y/", "/x?u=http:/h/y"),
            ("/x?a=%zz", "/x?a=%zz"),
            ("/x?a=b c\"<>", "/x?a=b%20c%22%3C%3E"),
            ("/x?a={b}|^`", "/x?a={b}|^`"),
            ("/x?a=ä", "/x?a=ä"),
            // Fragments.
            ("/a#b", "/a"),
            ("/a/#b", "/a/"),
            ("/x?a=b#c?d", "/x?a=b"),
            ("#", "/"),
            ("/a?#b", "/a?"),
            ("/a#\n", "/a"),
            // Escapes: as written where they can.
            ("/x%2Fy", "/x%2Fy"),
            ("/x%2fy%41", "/x%2fy%41"),
            ("/a/%2e%2e/x", "/a/%2e%2e/x"),
            ("/a%20b", "/a%20b"),
            ("/a%3Fb", "/a%3Fb"),
            ("/a%23b", "/a%23b"),
            ("/a%00", "/a%00"),
            ("/a%ff", "/a%ff"),
            ("/a+b", "/a+b"),
            ("/a:b;c=d,e@f$g&h+i~j!(k)*'[l]", "/a:b;c=d,e@f$g&h+i~j!(k)*'[l]"),
            // Else all of the path is written anew.
            ("/a b", "/a%20b"),
            ("/ä", "/%C3%A4"),
            ("/x%2Fy z/ä", "/x/y%20z/%C3%A4"),
            ("/a!b c", "/a%21b%20c"),
            ("/{id}", "/%7Bid%7D"),
            ("/a\\b|c^d`e\"f<g>", "/a%5Cb%7Cc%5Ed%60e%22f%3Cg%3E"),
            ("/a%ff ", "/a%FF%20"),
        ] {
            let cleaned = clean(route).unwrap();
            assert_eq!(cleaned, expected, "{route}");
            assert!(cleaned.parse::<http::uri::PathAndQuery>().is_ok(), "{route}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (route, expected) in [
            ("/a%zz", r#"invalid URL escape "%zz""#),
            ("/a%", r#"invalid URL escape "%""#),
            ("/a%4", r#"invalid URL escape "%4""#),
            ("/%2x/b", r#"invalid URL escape "%2x""#),
            ("/%ä", r#"invalid URL escape "%ä""#),
            ("/a#%zz", r#"invalid URL escape "%zz""#),
            ("/a\n", "net/url: invalid control character in URL"),
            ("/a\0b", "net/url: invalid control character in URL"),
            ("/a?b\u{7f}", "net/url: invalid control character in URL"),
        ] {
            assert_eq!(clean(route).unwrap_err().to_string(), expected, "{route:?}");
        }
    }
}
