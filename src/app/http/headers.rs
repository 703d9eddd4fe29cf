//! From a message's metadata to the headers of a request (tests/spec/delivery.md, "B10. HTTP request to the app").

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

use super::coding;
use crate::app::channel::{BulkDelivery, Delivery};
use crate::telemetry::trace::NO_TRACE;

/// The content type of every single delivery, whatever its body is.
const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// The content type of several events in one request.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The header that carries the token of the app.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");

/// The header that names the component.
const PUBSUB_NAME: HeaderName = HeaderName::from_static("pubsubname");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Metadata that never becomes a header: these names belong to the connection, to the body, or to answers.
const NEVER: [&str; 15] = [
    "accept-encoding",
    "content-type",
    "content-length",
    "destination-app-id",
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "te",
    "trailer",
    "proxy-authorization",
    "proxy-authenticate",
];

/// Names that have a meaning in gRPC and HTTP/2.
const RENAMED: [&str; 4] = [":method", ":scheme", ":path", ":authority"];

/// The headers of a delivery. Metadata that cannot be a header is handed to `warn_of_metadata` (D24).
pub(super) fn of<'a>(
    delivery: &'a Delivery,
    token: Option<&HeaderValue>,
    mut warn_of_metadata: impl FnMut(&'a str),
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(delivery.metadata.len() + 5);
    headers.insert(CONTENT_TYPE, CLOUD_EVENT);
    let of_connection = value_of(delivery, "connection").unwrap_or("");
    let has_trace = value_of(delivery, "traceparent").is_some_and(|trace| !trace.is_empty());
    for (key, value) in &delivery.metadata {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        let named = || !key.is_empty() && of_connection.split(',').any(|name| is(name.trim()));
        if NEVER.into_iter().any(is)
            || ends_with(key, "-bin")
            || named()
            || (is("traceparent") || is("tracestate")) && !has_trace
        {
            continue;
        }
        // The receiver trims blanks around a value.
        let value = value.trim_matches([' ', '\t']);
        match (name_of(key), HeaderValue::from_bytes(value.as_bytes())) {
            (Some(name), Ok(value)) => drop(headers.insert(name, value)),
            _ => warn_of_metadata(key),
        }
    }
    add_own(&mut headers, delivery.traceparent.as_deref(), token);
    headers
}

/// The headers of several events in one request (B15): their metadata stays in their entries.
pub(super) fn of_bulk(delivery: &BulkDelivery<'_>, token: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CONTENT_TYPE, JSON);
    if let Ok(pubsub) = HeaderValue::from_str(delivery.pubsub) {
        headers.insert(PUBSUB_NAME, pubsub);
    }
    add_own(&mut headers, delivery.traceparent.as_deref(), token);
    headers
}

/// Add the headers that do not come from metadata.
fn add_own(headers: &mut HeaderMap, traceparent: Option<&str>, token: Option<&HeaderValue>) {
    headers.insert(ACCEPT_ENCODING, coding::GZIP);
    // A `traceparent` in the metadata, even an invalid one, is replaced only if there is a trace.
    if let Some(trace) = traceparent
        && (trace != NO_TRACE || !headers.contains_key(TRACEPARENT))
        && let Ok(trace) = HeaderValue::from_str(trace)
    {
        headers.insert(TRACEPARENT, trace);
    }
    if let Some(token) = token {
        headers.insert(TOKEN, token.clone());
    }
}

fn name_of(key: &str) -> Option<HeaderName> {
    if starts_with(key, "grpc-") {
        return HeaderName::from_bytes(format!("dapr-{key}").as_bytes()).ok();
    }
    if RENAMED.into_iter().any(|name| key.eq_ignore_ascii_case(name)) {
        return HeaderName::from_bytes(format!("dapr-{}", &key[1..]).as_bytes()).ok();
    }
    HeaderName::from_bytes(key.as_bytes()).ok()
}

fn value_of<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a str> {
    delivery.metadata.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn starts_with(key: &str, prefix: &str) -> bool {
    key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn ends_with(key: &str, suffix: &str) -> bool {
    let start = key.len().saturating_sub(suffix.len());
    key.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metadata in, headers out (but those of every delivery), `!name` for what is left out.
    fn check(metadata: &[(&str, &str)], traceparent: Option<&str>, expected: &[&str]) {
        let delivery = Delivery {
            metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            traceparent: traceparent.map(str::to_owned),
            ..Delivery::default()
        };
        let mut got = Vec::new();
        let headers = of(&delivery, None, |name| got.push(format!("!{name}")));
        assert_eq!(headers["content-type"], "application/cloudevents+json");
        assert_eq!(headers["accept-encoding"], "gzip");
        let of_all = [CONTENT_TYPE, ACCEPT_ENCODING];
        for (name, value) in headers.iter().filter(|(name, _)| !of_all.contains(name)) {
            got.push(format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
        got.sort();
        assert_eq!(got, expected, "{metadata:?}");
    }

    #[test]
    fn metadata_becomes_headers() {
        check(
            &[("pubsubName", "p"), ("Mixed-Case", "C"), ("empty", "")],
            None,
            &["empty: ", "mixed-case: C", "pubsubname: p"],
        );
        check(&[("a", " blanks around \t"), ("b", " ")], None, &["a: blanks around", "b: "]);
        check(
            &[("a", "å"), ("cloudevent.id", "i"), ("ttlInSeconds", "5")],
            None,
            &["a: å", "cloudevent.id: i", "ttlinseconds: 5"],
        );
        check(&[("a", " b\tc "), ("d", "\t"), ("e", "\u{a0}")], None, &["a: b\tc", "d: ", "e: \u{a0}"]);
        check(&[("baggage", "a=1"), ("dapr-api-token", "t")], None, &["baggage: a=1", "dapr-api-token: t"]);
    }

    #[test]
    fn what_belongs_to_the_connection_is_not_taken() {
        for name in NEVER {
            check(&[(name, "x")], None, &[]);
            check(&[(&name.to_uppercase(), "x")], None, &[]);
        }
        check(&[("x-bin", "y"), ("X-BIN", "y"), ("-bin", "z")], None, &[]);
        check(&[("Connection", "a, B"), ("A", "1"), ("b", "2"), ("c", "3")], None, &["c: 3"]);
    }

    #[test]
    fn names_of_grpc_are_renamed() {
        check(
            &[("grpc-timeout", "1S"), (":path", "/x"), (":authority", "y"), ("GRPC-x", "z")],
            None,
            &["dapr-authority: y", "dapr-grpc-timeout: 1S", "dapr-grpc-x: z", "dapr-path: /x"],
        );
    }

    #[test]
    fn what_cannot_be_a_header_is_left_out() {
        check(
            &[("a b", "c"), ("", "c"), ("n", "b\nc"), ("z", "b\0"), ("ä", "c"), (":x", "c"), ("ok", "1")],
            None,
            &["!", "!:x", "!a b", "!n", "!z", "!ä", "ok: 1"],
        );
    }

    #[test]
    fn the_trace_of_the_event_comes_before_that_of_the_metadata() {
        check(&[("traceparent", "m")], Some("e"), &["traceparent: e"]);
        check(&[("traceparent", "m"), ("tracestate", "a=b")], None, &["traceparent: m", "tracestate: a=b"]);
        check(&[("tracestate", "a=b")], Some("e"), &["traceparent: e"]);
        check(&[], Some("not\na header"), &[]);
        let none = format!("traceparent: {NO_TRACE}");
        let nonsense = [("TraceParent", "nonsense"), ("tracestate", "a=b")];
        let kept = ["traceparent: nonsense", "tracestate: a=b"];
        check(&nonsense, None, &kept);
        check(&nonsense, Some(NO_TRACE), &kept);
        check(&[], Some(NO_TRACE), &[&none]);
        check(&[("traceparent", "")], Some(NO_TRACE), &[&none]);
        check(&[("traceparent", ""), ("tracestate", "a=b")], None, &[]);
    }

    #[test]
    fn the_token_of_the_app_wins() {
        let delivery =
            Delivery { metadata: [("dapr-api-token".to_owned(), "t".to_owned())].into(), ..Delivery::default() };
        let token = HeaderValue::from_static("secret");
        assert_eq!(of(&delivery, Some(&token), |_| ())["dapr-api-token"], "secret");
    }
}
