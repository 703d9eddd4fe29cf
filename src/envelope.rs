//! Stand-in for the envelope of the api room: the agreed names, the least that delivery needs. Replaced at the merge.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::message::Metadata;

/// An event.
pub struct Event<'a> {
    fields: Map<String, Value>,
    _data: &'a Bytes,
}

/// The bytes are no event.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EventError(String);

/// `rawPayload` is no boolean.
#[derive(Debug, thiserror::Error)]
#[error("rawPayload value must be a valid boolean: actual is '{0}'")]
pub struct RawFlagError(String);

impl<'a> Event<'a> {
    /// Read an event.
    ///
    /// # Errors
    /// If it is no JSON object.
    pub fn parse(data: &'a Bytes) -> Result<Self, EventError> {
        let text = String::from_utf8_lossy(data);
        let fields = serde_json::from_str(&text).map_err(|error| EventError(error.to_string()))?;
        Ok(Self {
            fields,
            _data: data,
        })
    }

    /// A text attribute.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.fields.get(name)?.as_str().map(Cow::Borrowed)
    }

    /// Is there this attribute?
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Has it expired?
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.text("expiration")
            .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
            .is_some_and(|time| time < now)
    }

    /// As a tree.
    ///
    /// # Errors
    /// If a part of it is no JSON.
    pub fn to_json_value(&self) -> Result<Value, EventError> {
        Ok(Value::Object(self.fields.clone()))
    }
}

/// The wrapper around a raw payload.
pub fn raw_event(data: &Bytes, pubsub: &str, topic: &str, metadata: &Metadata) -> Bytes {
    let mut event = serde_json::json!({
        "data_base64": BASE64_STANDARD.encode(data), "datacontenttype": "application/octet-stream",
        "id": uuid::Uuid::new_v4().to_string(), "pubsubname": pubsub, "source": "Dapr", "specversion": "1.0", "topic": topic,
        "type": "com.dapr.event.sent"
    });
    for name in ["traceid", "traceparent", "tracestate"] {
        if let Some(value) = metadata.get(name) {
            event[name] = Value::from(value.as_str());
        }
    }
    Bytes::from(event.to_string())
}

/// `rawPayload` of a subscription or a publish.
///
/// # Errors
/// If it is no boolean of Go.
pub fn is_raw(metadata: &Metadata) -> Result<bool, RawFlagError> {
    match metadata.get("rawPayload").map(String::as_str) {
        None | Some("" | "0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some(other) => Err(RawFlagError(other.to_owned())),
    }
}
