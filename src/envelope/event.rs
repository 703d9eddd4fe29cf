//! A stored event, parsed one level deep (tests/spec/delivery.md, "B7. Inbound handling of one message", "A8. TTL /
//! `expiration`").
//!
//! The bytes go to the app as they are. Expiry, routing and tracing read the attributes here.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Number};

use crate::envelope::lifetime;
use crate::json;
use crate::message::Metadata;

/// The trace attributes that message metadata can supply.
const TRACE_ATTRIBUTES: [&str; 3] = ["traceid", "traceparent", "tracestate"];

/// The attributes of a stored event. A clone shares the text.
#[derive(Clone, Debug, Default)]
pub struct Event {
    text: Bytes,
    /// In the order of the text; of equal names the last counts.
    attributes: Vec<(Name, Attribute)>,
}

#[derive(Clone, Debug)]
enum Name {
    /// A part of the text.
    Plain(Range<usize>),
    /// A name that the text holds only with escapes, or not at all.
    Text(String),
}

#[derive(Clone, Debug)]
enum Attribute {
    /// JSON, as a part of the text.
    Json(Range<usize>),
    /// A string that is not in the text.
    Text(String),
}

/// A payload that cannot be read as an event.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct EventError(#[from] serde_json::Error);

impl Event {
    /// The payload as an event: any JSON object; `null` is an event without attributes.
    ///
    /// # Errors
    /// If the payload is anything else.
    pub fn parse(data: &Bytes) -> Result<Self, EventError> {
        match json::valid_text(data) {
            Cow::Borrowed(text) => Self::of(text, data),
            Cow::Owned(mended) => Self::of(&mended, &Bytes::copy_from_slice(mended.as_bytes())),
        }
    }

    /// `bytes` are the bytes of `text`.
    fn of(text: &str, bytes: &Bytes) -> Result<Self, EventError> {
        if json::trimmed(text.as_bytes()) == b"null" {
            return Ok(Self::default());
        }
        let attributes = json::fields(text)?
            .into_iter()
            .map(|(name, value)| {
                let name = match name {
                    Cow::Borrowed(name) => Name::Plain(range_within(text, name)),
                    Cow::Owned(name) => Name::Text(name),
                };
                (name, Attribute::Json(range_within(text, value)))
            })
            .collect();
        Ok(Self { text: bytes.clone(), attributes })
    }

    /// An event in binary mode: the attributes are `ce_*` metadata, the payload is `data`.
    pub fn binary(data: &[u8], content_type: &str, metadata: &Metadata) -> Self {
        let mut event = Self::default();
        for (name, value) in metadata {
            let name = name.to_lowercase();
            if let Some(name) = name.strip_prefix("ce_") {
                event.set_text(name, value);
            }
        }
        event.set_text("data", &json::valid_text(data));
        event.set_text("datacontenttype", content_type);
        event
    }

    /// Fill missing trace attributes from the message's metadata; `traceparent` sets `traceid`, too.
    pub fn fill_trace(&mut self, metadata: &Metadata) {
        for name in TRACE_ATTRIBUTES {
            let Some(value) = metadata.get(name) else {
                continue;
            };
            if self.attribute(name).is_some() {
                continue;
            }
            if name == "traceparent" {
                self.set_text("traceid", value);
            }
            self.set_text(name, value);
        }
    }

    /// The value of an attribute, if it is a string.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.attribute(name)? {
            Attribute::Text(text) => Some(text.into()),
            Attribute::Json(range) => json::text_of(self.json(range)),
        }
    }

    /// Whether there is an attribute of this name that is not null.
    pub fn has(&self, name: &str) -> bool {
        match self.attribute(name) {
            None => false,
            Some(Attribute::Text(_)) => true,
            Some(Attribute::Json(range)) => self.json(range) != "null",
        }
    }

    /// `id`, empty if there is none.
    pub fn id(&self) -> Cow<'_, str> {
        self.text("id").unwrap_or_default()
    }

    /// Whether its `expiration` has passed. A value that is not an RFC 3339 time never passes.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.text("expiration").and_then(|text| lifetime::time(&text)).is_some_and(|expiration| expiration < now)
    }

    /// The event as a value for expressions: every number is a double.
    ///
    /// # Errors
    /// If a number is too large for a double, or the nesting too deep.
    pub fn to_json_value(&self) -> Result<serde_json::Value, EventError> {
        let mut object = Map::new();
        for (name, attribute) in &self.attributes {
            let value = match attribute {
                Attribute::Text(text) => text.as_str().into(),
                Attribute::Json(range) => {
                    let json = json::without_lone_surrogates(self.json(range));
                    with_doubles(serde_json::from_str(&json)?)
                }
            };
            object.insert(self.name(name).to_owned(), value);
        }
        Ok(object.into())
    }

    fn attribute(&self, name: &str) -> Option<&Attribute> {
        let mut attributes = self.attributes.iter().rev();
        let found = attributes.find(|(known, _)| match known {
            Name::Plain(range) => self.text.get(range.clone()) == Some(name.as_bytes()),
            Name::Text(text) => text == name,
        });
        found.map(|(_, attribute)| attribute)
    }

    fn name<'a>(&'a self, name: &'a Name) -> &'a str {
        match name {
            Name::Plain(range) => self.json(range),
            Name::Text(text) => text,
        }
    }

    fn json(&self, range: &Range<usize>) -> &str {
        // Ranges come from `parse`, which has checked that the text is UTF-8.
        let bytes = self.text.get(range.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    fn set_text(&mut self, name: &str, value: &str) {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.attributes.push((Name::Text(name), Attribute::Text(value)));
    }
}

/// The place of a part that was sliced from this text. Ranges instead of `Bytes::slice_ref`: they count no references.
fn range_within(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// A value with every number as a double, which is how daprd's expressions see it.
fn with_doubles(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => {
            number.as_f64().and_then(Number::from_f64).map_or(Value::Number(number), Value::Number)
        }
        Value::Array(items) => items.into_iter().map(with_doubles).collect(),
        Value::Object(members) => {
            let member = |(name, value)| (name, with_doubles(value));
            Value::Object(members.into_iter().map(member).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(text: &'static str) -> Event {
        Event::parse(&Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn any_object_is_an_event_and_nothing_else_but_null() {
        let check = |payload: &'static [u8], expected: bool| {
            let parsed = Event::parse(&Bytes::from_static(payload));
            assert_eq!(parsed.is_ok(), expected, "{payload:?}");
        };
        for payload in [&b"{}"[..], b"{\"orderId\":1}", b" {\"a\":\"\xff\"} ", b"null", b" null\n"] {
            check(payload, true);
        }
        for payload in [&b""[..], b"[1]", b"1", b"\"x\"", b"not json", b"{} x", b"{\"a\":", b"\xef\xbb\xbf{}"] {
            check(payload, false);
        }
    }

    #[test]
    fn attributes_are_read_as_text() {
        let event = event(r#"{"id":"å<b","t":"\u0041\ud800","n":5,"z":null,"o":{},"id2":""}"#);
        let check = |name: &str, expected: Option<&str>| assert_eq!(event.text(name).as_deref(), expected, "{name}");
        check("id", Some("å<b"));
        check("t", Some("A\u{fffd}"));
        check("id2", Some(""));
        check("n", None);
        check("z", None);
        check("o", None);
        check("x", None);
        assert!(event.has("n") && !event.has("z") && !event.has("x"));
        assert_eq!(event.id(), "å<b");
        let broken = Event::parse(&Bytes::from_static(b"{\"x\":\"\xff\",\"id\":\"1\"}")).unwrap();
        assert_eq!(broken.id(), "1");
    }

    #[test]
    fn an_event_is_expired_strictly_after_a_valid_time() {
        let now = DateTime::from_timestamp(1_714_564_800, 0).unwrap(); // 2024-05-01T12:00:00Z
        let check = |text: &'static str, expected: bool| assert_eq!(event(text).is_expired(now), expected, "{text}");
        check(r#"{"expiration":"2024-05-01T11:59:59Z"}"#, true);
        check(r#"{"expiration":"2024-05-01T13:59:59+02:00"}"#, true);
        check(r#"{"expiration":"2024-05-01T12:00:00Z"}"#, false);
        check(r#"{"expiration":"2099-01-01T00:00:00Z"}"#, false);
        for text in [
            "{}",
            r#"{"expiration":"soon"}"#,
            r#"{"expiration":""}"#,
            r#"{"expiration":"2020-01-01"}"#,
            r#"{"expiration":"2020-01-01 00:00:00Z"}"#,
            r#"{"expiration":"2020-01-01t00:00:00Z"}"#,
            r#"{"expiration":"2020-01-01T00:00:00z"}"#,
            r#"{"expiration":5}"#,
            r#"{"expiration":null}"#,
        ] {
            check(text, false);
        }
    }

    #[test]
    fn values_for_expressions_have_doubles_for_numbers() {
        let event = event(r#"{"n":1,"big":12345678901234567890123,"a":[1,{"x":-0.5}],"s":"\ud800","t":"x"}"#);
        let expected = json!({"n":1.0,"big":12345678901234567890123.0,"a":[1.0,{"x":-0.5}],"s":"\u{fffd}","t":"x"});
        assert_eq!(event.to_json_value().unwrap(), expected);
    }

    #[test]
    fn what_no_double_can_hold_is_an_error() {
        event(r#"{"n":1e400}"#).to_json_value().unwrap_err();
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let deep = Event::parse(&deep.into()).unwrap();
        deep.to_json_value().unwrap_err();
    }

    #[test]
    fn trace_attributes_are_filled_from_metadata_if_they_are_missing() {
        let metadata = [("traceparent".to_owned(), "P".to_owned()), ("tracestate".to_owned(), "S".to_owned())].into();
        let mut bare = event("{}");
        bare.fill_trace(&metadata);
        assert_eq!(bare.to_json_value().unwrap(), json!({"traceid":"P","traceparent":"P","tracestate":"S"}));
        let mut own = event(r#"{"traceparent":"own","tracestate":""}"#);
        own.fill_trace(&metadata);
        assert_eq!(own.to_json_value().unwrap(), json!({"traceparent":"own","tracestate":""}));
    }

    #[test]
    fn binary_mode_takes_attributes_from_metadata() {
        let metadata = [("CE_Type".to_owned(), "t".to_owned()), ("other".to_owned(), "x".to_owned())].into();
        let event = Event::binary(b"ab", "application/octet-stream", &metadata);
        let expected = json!({"data":"ab","datacontenttype":"application/octet-stream","type":"t"});
        assert_eq!(event.to_json_value().unwrap(), expected);
    }
}
