//! The tables of tests/spec/delivery.md, "Part A. Publish side" and "Part C. Exact JSON of delivered
//! events", and the entries of tests/spec/redis.md, "17. Byte-exact examples".

use chrono::DateTime;
use cloudevents::{AttributesReader, Event};

use super::*;
use crate::envelope::PublishOptions;
use crate::json::push_map;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const ID: &str = "5b8c5a0e-1d5f-4f6b-9c64-9a3b6a0c1d2e";
const EVENT: &str = "application/cloudevents+json";
const JSON: &str = "application/json";

/// App id, component, topic, time and id of the examples in tests/spec/redis.md, "17. Byte-exact examples".
fn publication<'a>(content_type: &'a str, metadata: &'a Metadata, parent: &'a str) -> Publication<'a> {
    Publication {
        app_id: "pub-app",
        pubsub: "pubsub",
        topic: "orders",
        content_type,
        metadata,
        lifetime: PublishOptions::default().for_entry(metadata).lifetime,
        trace: Trace { parent, state: "" },
        id: ID.parse().unwrap(),
        now: Moment::at(&DateTime::from_timestamp(1_787_306_400, 400_000_000).unwrap()),
    }
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn wrapped(body: &[u8], content_type: &str, pairs: &[(&str, &str)]) -> String {
    let metadata = metadata(pairs);
    let event = wrap(body, &publication(content_type, &metadata, "")).unwrap().bytes;
    String::from_utf8(event.into()).unwrap()
}

/// A new event without trace and overrides, with this beginning.
fn new(data: &str, content_type: &str) -> String {
    format!(
        r#"{{{data},"datacontenttype":"{content_type}","id":"{ID}","pubsubname":"pubsub","source":"pub-app","specversion":"1.0","time":"2026-08-21T10:00:00Z","topic":"orders","traceid":"","traceparent":"","tracestate":"","type":"com.dapr.event.sent"}}"#
    )
}

fn attribute(event: &str, name: &str) -> Option<String> {
    json::members(event).unwrap().get(name).map(|value| (*value).to_owned())
}

#[test]
fn payloads_of_every_kind_are_wrapped() {
    let check = |body: &[u8], content_type: &str, data: &str, kind: &str| {
        let event = wrapped(body, content_type, &[]);
        assert_eq!(event, new(data, kind), "{content_type}: {body:?}");
        // The SDK knows JSON by its name in small letters only.
        if kind == kind.to_lowercase() {
            let read: Event = serde_json::from_str(&event).expect("well-formed by the SDK");
            assert_eq!(read.id(), ID);
        }
    };
    check(br#"{"orderId": 1}"#, JSON, r#""data":{"orderId": 1}"#, JSON);
    check(br#"{"orderId":1}"#, "", r#""data":"{\"orderId\":1}""#, "text/plain");
    let xml = r#""data":"\u003ca\u003e1\u00262\u003c/a\u003e""#;
    check(b"<a>1&2</a>", "application/xml", xml, "application/xml");
    let binary = "application/octet-stream";
    check(b"\x01\x02\xff", binary, r#""data_base64":"AQL/""#, binary);
    check(b"", binary, r#""data_base64":"""#, binary);
    let utf8 = "application/json; charset=utf-8";
    check(b"{bad", utf8, r#""data":"{bad""#, utf8);
    check(b"[1]", utf8, r#""data":[1]"#, utf8);
    check(b"", JSON, r#""data":"""#, JSON);
    check(b"", "", r#""data":"""#, "text/plain");
    check(b"null", JSON, r#""data":null"#, JSON);
    check(b"{}", "APPLICATION/JSON", r#""data":{}"#, "APPLICATION/JSON");
    check(b"{}", "application/json ;x", r#""data":"{}""#, "application/json ;x");
    // D28: daprd puts U+FFFD in the place of these bytes.
    for kind in [
        "image/png",
        "application/x-protobuf",
        "text/plain; charset=iso-8859-1",
        "application/xml",
        "application/vnd.api+json",
        "application/cloudevents-batch+json",
        "application/json ;x",
        "nonsense",
    ] {
        check(b"caf\xe9", kind, r#""data_base64":"Y2Fm6Q==""#, kind);
    }
    check(b"\xff", "", r#""data_base64":"/w==""#, "text/plain");
    let half = "text/plain; charset=utf-16";
    check(b"\xc3", half, r#""data_base64":"ww==""#, half);
    let number = br#"{"n":12345678901234567890.10}"#;
    check(number, JSON, r#""data":{"n":12345678901234567890.10}"#, JSON);
}

/// D28: daprd puts U+FFFD in the place of these bytes.
#[test]
fn json_that_is_not_utf8_is_refused() {
    let none = metadata(&[]);
    for content_type in [JSON, "Application/JSON; charset=iso-8859-1", EVENT] {
        for (body, offset) in [
            (&b"{\"id\":\"1\",\"data\":\"\xe9\"}"[..], 18),
            (b"\xff\xfe{\0}\0", 0),
            (b"{}\xff", 2),
            (b"not JSON \xc3", 9),
        ] {
            let error = wrap(body, &publication(content_type, &none, "")).unwrap_err();
            let expected = format!("JSON must be UTF-8, and the byte at offset {offset} is not; ");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
}

/// D7: daprd cuts everything behind the first value.
#[test]
fn bytes_after_the_first_json_value_make_the_whole_body_text() {
    for (body, data) in
        [(r#"{"a":1} x"#, r#""data":"{\"a\":1} x""#), (r#"{"a":1}{"b":2}"#, r#""data":"{\"a\":1}{\"b\":2}""#)]
    {
        assert_eq!(wrapped(body.as_bytes(), JSON, &[]), new(data, JSON));
    }
    let event = metadata(&[]);
    wrap(br#"{"a":1} x"#, &publication(EVENT, &event, "")).unwrap_err();
}

#[test]
fn overrides_replace_attributes() {
    let check = |pairs: &[(&str, &str)], name: &str, expected: Option<&str>| {
        let event = wrapped(b"x", "", pairs);
        assert_eq!(attribute(&event, name).as_deref(), expected, "{pairs:?}");
    };
    check(&[("cloudevent.id", "X")], "id", Some(r#""X""#));
    check(&[("cloudevent.id", "")], "id", Some(&format!("\"{ID}\"")));
    check(&[("CLOUDEVENT.ID", "A"), ("cloudevent.id", "B")], "id", Some(r#""B""#));
    check(&[("CLOUDEVENT.SOURCE", "Y")], "source", Some(r#""Y""#));
    check(&[("cloudevent.source", "")], "source", Some(r#""Dapr""#));
    check(&[("CloudEvent.Type", "t")], "type", Some(r#""t""#));
    check(&[("cloudevent.type", "")], "type", Some(r#""com.dapr.event.sent""#));
    check(&[("cloudevent.subject", "s")], "subject", Some(r#""s""#));
    check(&[("cloudevent.subject", "")], "subject", None);
    check(&[("cloudevent.tracestate", "a=b")], "tracestate", Some(r#""a=b""#));
    for name in ["traceid", "traceparent"] {
        let both = [("cloudevent.traceid", "A"), ("cloudevent.traceparent", "B")];
        check(&both, name, Some(r#""B""#));
        check(&both[..1], name, Some(r#""A""#));
    }
    for name in ["topic", "pubsubname", "datacontenttype", "data", "time", "specversion"] {
        let overriding = format!("cloudevent.{name}");
        let event = wrapped(b"x", "", &[(&overriding, "Z")]);
        assert_eq!(event, new(r#""data":"x""#, "text/plain"), "{name}");
    }
    // daprd puts the value of this key in place of the data; not copied.
    assert_eq!(wrapped(b"x", "", &[("-", "Z")]), new(r#""data":"x""#, "text/plain"));
}

#[test]
fn a_lifetime_becomes_an_expiration() {
    let check = |content_type: &str, body: &[u8], pairs: &[(&str, &str)], expected: Option<&str>| {
        let event = wrapped(body, content_type, pairs);
        assert_eq!(attribute(&event, "expiration").as_deref(), expected, "{pairs:?}");
    };
    let minute = Some(r#""2026-08-21T10:01:00Z""#);
    check("", b"x", &[("ttlInSeconds", "60")], minute);
    check("", b"x", &[("ttl", "-5s")], Some(r#""2026-08-21T10:00:00Z""#));
    check("", b"x", &[("ttlInSeconds", "-5")], None);
    check(EVENT, br#"{"expiration":"soon"}"#, &[("ttl", "1m")], minute);
    check(EVENT, br#"{"expiration":"soon"}"#, &[], Some(r#""soon""#));
}

#[test]
fn structured_events_get_what_they_lack() {
    let check = |body: &str, expected: &str| assert_eq!(wrapped(body.as_bytes(), EVENT, &[]), expected, "{body}");
    check(
        r#"{"specversion":"1.0","id":"e1","source":"/shop","type":"order.v1","datacontenttype":"application/json","data":{"b":2,"a":1},"prio":5}"#,
        r#"{"data":{"b":2,"a":1},"datacontenttype":"application/json","id":"e1","prio":5,"pubsubname":"pubsub","source":"/shop","specversion":"1.0","time":"2026-08-21T10:00:00Z","topic":"orders","traceid":"","traceparent":"","tracestate":"","type":"order.v1"}"#,
    );
    check(
        r#" {"data":"x","topic":"mine","pubsubname":1,"source":null,"traceparent":"lost"} "#,
        r#"{"data":"x","pubsubname":"pubsub","source":"Dapr","specversion":"1.0","time":"2026-08-21T10:00:00Z","topic":"orders","traceid":"","traceparent":"","tracestate":"","type":"com.dapr.event.sent"}"#,
    );
    check(
        r#"{"time":null,"traceid":7,"tracestate":null,"type":"","specversion":"0.3","source":{},"a<":1.50,"id":1,"id":2}"#,
        r#"{"a\u003c":1.50,"id":2,"pubsubname":"pubsub","source":{},"specversion":"0.3","time":null,"topic":"orders","traceid":7,"tracestate":null,"type":""}"#,
    );
}

#[test]
fn overrides_mean_nothing_to_structured_events() {
    let event = wrapped(b"{}", EVENT, &[("cloudevent.id", "x"), ("cloudevent.source", "y")]);
    assert_eq!(event, wrapped(b"{}", EVENT, &[]));
}

#[test]
fn what_is_no_object_is_no_event() {
    let none = metadata(&[]);
    for body in ["[1]", "\"x\"", "1", "", "null", "nope", "{\"", "{'a':1}", "\u{feff}{}", "null_"] {
        let publication = publication("application/cloudevents+json; charset=utf-8", &none, "");
        assert!(wrap(body.as_bytes(), &publication).is_err(), "{body}");
    }
}

/// As tests/spec/redis.md, "17. Byte-exact examples", except for one thing: `data` of example 1 is kept as it was
/// published (D6), where daprd sorts keys, drops blanks and escapes `<` and `&`. Its length differs with it.
#[test]
fn entries_are_those_of_the_specification_byte_for_byte() {
    let rest = |kind: &str, expiration: &str, subject: &str| {
        format!(
            r#","datacontenttype":"{kind}",{expiration}"id":"{ID}","pubsubname":"pubsub","source":"pub-app","specversion":"1.0",{subject}"time":"2026-08-21T10:00:00Z","topic":"orders","traceid":"{TRACE}","traceparent":"{TRACE}","tracestate":"","type":"com.dapr.event.sent"}}"#
        )
    };
    let check = |body: &[u8], kind: &str, pairs: &[(&str, &str)], length: usize, data: &str, entry: &str| {
        let metadata = metadata(pairs);
        let event = wrap(body, &publication(kind, &metadata, TRACE)).unwrap().bytes;
        assert_eq!(std::str::from_utf8(&event).unwrap(), data);
        assert_eq!(event.len(), length);
        let mut written = Vec::new();
        push_map(&mut written, &metadata);
        assert_eq!(String::from_utf8(written).unwrap(), entry);
    };
    // 1
    let body = r#"{"orderId":12345678901234567890,"note":"a<b & c", "z":1.0,"a":[ 1 ]}"#;
    let data = format!("{{\"data\":{body}{}", rest(JSON, "", ""));
    check(body.as_bytes(), JSON, &[], data.len(), &data, "{}");
    // 2
    let text = "text/plain";
    let data = format!(r#"{{"data":"hello \u003cworld\u003e\n"{}"#, rest(text, "", ""));
    check(b"hello <world>\n", text, &[], 404, &data, "{}");
    let binary = "application/octet-stream";
    let data = format!(r#"{{"data_base64":"AP8K"{}"#, rest(binary, "", ""));
    check(b"\x00\xff\n", binary, &[], 404, &data, "{}");
    // 4
    let pairs = [("ttlInSeconds", "60"), ("foo", "a&b"), ("cloudevent.subject", "s1")];
    let after = rest(JSON, r#""expiration":"2026-08-21T10:01:00Z","#, r#""subject":"s1","#);
    let data = format!(r#"{{"data":{{"k":1}}{after}"#);
    let entry = r#"{"cloudevent.subject":"s1","foo":"a\u0026b","ttlInSeconds":"60"}"#;
    check(br#"{"k":1}"#, JSON, &pairs, 441, &data, entry);
    // 5, as single publishes: only the id differs
    let data = format!(r#"{{"data":"first"{}"#, rest(text, "", ""));
    check(b"first", text, &[("m", "1")], 384, &data, r#"{"m":"1"}"#);
    let data = format!(r#"{{"data":{{"k":2}}{}"#, rest(JSON, "", ""));
    check(br#"{"k":2}"#, JSON, &[("rawPayload", "true")], 390, &data, r#"{"rawPayload":"true"}"#);
    // 6
    let body = br#"{"specversion":"1.0","type":"com.ex.ordered","source":"/ex","id":"abc","datacontenttype":"application/json","data":{"a":1},"myext":"v"}"#;
    let data = format!(
        r#"{{"data":{{"a":1}},"datacontenttype":"application/json","id":"abc","myext":"v","pubsubname":"pubsub","source":"/ex","specversion":"1.0","time":"2026-08-21T10:00:00Z","topic":"orders","traceid":"{TRACE}","traceparent":"{TRACE}","tracestate":"","type":"com.ex.ordered"}}"#
    );
    check(body, EVENT, &[], 360, &data, "{}");
    // 7
    let data = format!(r#"{{"data":"hi"{}"#, rest(text, "", ""));
    check(b"hi", text, &[], 381, &data, "{}");
}
