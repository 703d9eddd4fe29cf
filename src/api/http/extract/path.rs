//! Paths and queries, cleaned and split while they are still encoded, decoded part by part (tests/spec/http-api.md,
//! "3.1 Path cleaning", "5.3 Metadata").

use std::borrow::Cow;

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;

use crate::json::valid_text;
use crate::message::Metadata;
use crate::server::is_well_escaped;

/// The prefix of query parameters that are metadata.
const METADATA: &str = "metadata.";

/// The path of a request as it was sent, among the extensions of a request whose path has been cleaned.
#[derive(Clone, Debug)]
struct SentPath(String);

/// Cleans the path of a request: single slashes, no dot segments, no slash at the end.
pub(in crate::api::http) fn clean_path(head: &mut Parts) {
    if let Some(clean) = cleaned(&head.uri) {
        let sent = std::mem::replace(&mut head.uri, clean);
        head.extensions.insert(SentPath(sent.path().to_owned()));
    }
}

/// The path before it was cleaned: health, trace and log go by it.
pub(in crate::api::http) fn sent_path(head: &Parts) -> &str {
    head.extensions.get::<SentPath>().map_or(head.uri.path(), |sent| &sent.0)
}

/// The same URI with a clean path; `None` if it is clean already.
pub(in crate::api::http) fn cleaned(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if is_clean(path) {
        return None;
    }
    let mut clean = clean(path);
    if let Some(query) = uri.query() {
        clean.push('?');
        clean.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(clean).ok()?);
    Uri::from_parts(parts).ok()
}

fn is_clean(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| {
        // A segment that begins with a dot may be none to remove: then cleaning changes nothing.
        *byte != b'/' || bytes.len() == 1 || !matches!(bytes.get(at + 1), None | Some(b'/' | b'.'))
    })
}

fn clean(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in &segments {
        clean.push('/');
        clean.push_str(segment);
    }
    if clean.is_empty() {
        clean.push('/');
    }
    clean
}

/// A part of a path or a query, decoded: `%XX` is a byte, `+` a blank. Invalid UTF-8 becomes U+FFFD.
pub(in crate::api::http) fn decoded(part: &str) -> Cow<'_, str> {
    if !part.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return part.into();
    }
    let blanks = part.replace('+', " ");
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(&blanks).collect();
    valid_text(&bytes).into_owned().into()
}

/// A whole path, decoded; here `+` stays `+`.
pub(in crate::api::http) fn decoded_path(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return path.into();
    }
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    valid_text(&bytes).into_owned().into()
}

/// The decoded parameters of a query; pairs with a semicolon or a bad escape are left out.
pub(in crate::api::http) fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';') && is_well_escaped(pair)).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// The metadata in a query; of equal names the first counts.
pub(in crate::api::http) fn metadata(query: Option<&str>) -> Metadata {
    let mut metadata = Metadata::new();
    for (name, value) in query.into_iter().flat_map(parameters) {
        if let Some(key) = name.strip_prefix(METADATA) {
            metadata.entry(key.to_owned()).or_insert_with(|| value.into_owned());
        }
    }
    metadata
}

/// Pub/sub name and topic after `fixed` segments of a clean path, decoded; the topic may contain slashes.
pub(in crate::api::http) fn pubsub_and_topic(path: &str, fixed: usize) -> (Cow<'_, str>, Cow<'_, str>) {
    let mut parts = path.splitn(fixed + 3, '/').skip(fixed + 1);
    // Both are there, because the route has matched.
    let mut next = || decoded(parts.next().unwrap_or_default());
    (next(), next())
}

/// The n-th segment of a clean path, counted from 0 and decoded.
pub(in crate::api::http) fn segment(path: &str, n: usize) -> Cow<'_, str> {
    decoded(path.split('/').nth(n + 1).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_while_encoded() {
        let check = |path: &str, expected: &str| {
            let uri: Uri = path.parse().unwrap();
            let clean = cleaned(&uri).unwrap_or(uri);
            assert_eq!(clean.path_and_query().unwrap().as_str(), expected, "{path}");
        };
        check("/v1.0/healthz", "/v1.0/healthz");
        check("/", "/");
        check("/v1.0/healthz//", "/v1.0/healthz");
        check("//v1.0//publish/ps/t?a=//b/../", "/v1.0/publish/ps/t?a=//b/../");
        check("/v1.0/x/../healthz", "/v1.0/healthz");
        check("/../../v1.0/./healthz", "/v1.0/healthz");
        check("/v1.0/..", "/");
        check("/a/%2e%2e/b%2F/", "/a/%2e%2e/b%2F");
        check("/a/.hidden/..b", "/a/.hidden/..b");
        check("/a/./b//../c/", "/a/c");
    }

    #[test]
    fn the_topic_is_the_whole_rest() {
        let check = |path: &str, fixed: usize, pubsub: &str, topic: &str| {
            assert_eq!(pubsub_and_topic(path, fixed), (pubsub.into(), topic.into()), "{path}");
        };
        check("/v1.0/publish/ps/t", 2, "ps", "t");
        check("/v1.0/publish/my+ps/a/b%2Fc", 2, "my ps", "a/b/c");
        check("/v1.0-alpha1/publish/bulk/ps/a/b", 3, "ps", "a/b");
    }

    #[test]
    fn parts_are_decoded_like_a_query() {
        let check = |part: &str, expected: &str| assert_eq!(decoded(part), expected, "{part}");
        check("t", "t");
        check("a%2Fb", "a/b");
        check("a+b", "a b");
        check("a%2Bb", "a+b");
        check("%20", " ");
        check("t%2525", "t%25");
        check("t%3Fx%23y", "t?x#y");
        check("%c3%a5%2f", "å/");
        check("%FF", "\u{fffd}");
    }

    #[test]
    fn metadata_are_parameters_with_the_prefix() {
        let check = |query: &str, expected: &[(&str, &str)]| {
            let found = metadata(Some(query));
            let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(found, expected, "{query}");
        };
        check("metadata.a=1&metadata.a=2", &[("a", "1")]);
        check("metadata.a=1;metadata.b=2&metadata.c=3&metadata.d=%zz&metadata.e=5", &[("c", "3"), ("e", "5")]);
        check(
            "metadata.a+b=c+d&metadata.e&metadata.f=&metadata.g=h%2Bi",
            &[("a b", "c d"), ("e", ""), ("f", ""), ("g", "h+i")],
        );
        check("metadata%2Ea=1&%6Detadata.b=2&metadata.c%3Dd=3", &[("a", "1"), ("b", "2"), ("c=d", "3")]);
        check("metadata.=x", &[("", "x")]);
        check("Metadata.a=1&METADATA.b=2&c=3&metadata=4&metadata&xmetadata.d=5&&=", &[]);
        assert!(metadata(None).is_empty());
    }
}
