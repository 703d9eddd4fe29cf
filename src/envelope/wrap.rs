//! Making an event: payload and request in, the bytes of a CloudEvent out, in one pass (tests/spec/delivery.md, "A3.
//! New envelope: fields" to "A8. TTL / `expiration`").
//!
//! Not built on the CloudEvents SDK: the SDK refuses or reorders events that daprd passes on (objects and fractions as
//! extensions, a missing id, unusual times), and published bytes must stay as they are (D6).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::envelope::clock::Moment;
use crate::envelope::content::Content;
use crate::envelope::defaults;
use crate::envelope::lifetime;
use crate::json::{self, NotUtf8, push_str};
use crate::message::{Metadata, value};

/// Bytes to reserve for the attributes of an event, beside its data.
const ATTRIBUTES: usize = 512;

/// The facts of a publish that become attributes.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    /// The publishing app.
    pub app_id: &'a str,
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without namespace prefix.
    pub topic: &'a str,
    /// The content type of the payload as it was sent; empty if none was.
    pub content_type: &'a str,
    /// The publish metadata, for the attributes that it overrides.
    pub metadata: &'a Metadata,
    /// The lifetime of the event, for its `expiration`.
    pub lifetime: Option<Duration>,
    /// The trace of the publish.
    pub trace: Trace<'a>,
    /// `id`, unless overridden.
    pub id: Uuid,
    /// `time`.
    pub now: Moment,
}

/// The trace attributes of an event; empty if there is no trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace<'a> {
    /// `traceid` and `traceparent`.
    pub parent: &'a str,
    /// `tracestate`.
    pub state: &'a str,
}

/// A payload that does not fit its content type.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// By its type an event, and not a JSON object.
    #[error("not a JSON object: {0}")]
    NotAnObject(#[from] serde_json::Error),
    /// By its type JSON, and not UTF-8: bytes would be lost (D28).
    #[error(transparent)]
    NotUtf8(#[from] NotUtf8),
}

/// A new or completed event.
#[derive(Clone, Debug)]
pub struct Wrapped<'a> {
    /// The event as JSON.
    pub bytes: Bytes,
    /// Its attribute `id`, if there is one.
    pub id: Option<EventId<'a>>,
}

/// The id of an event.
#[derive(Clone, Debug)]
pub enum EventId<'a> {
    /// A new UUID, as text.
    New([u8; Hyphenated::LENGTH]),
    /// Chosen by the publisher.
    Given(Cow<'a, str>),
}

impl EventId<'_> {
    fn new(uuid: Uuid) -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        uuid.hyphenated().encode_lower(&mut text);
        Self::New(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        match self {
            // The digits and dashes of a UUID are ASCII.
            Self::New(text) => std::str::from_utf8(text).unwrap_or_default(),
            Self::Given(text) => text,
        }
    }
}

/// The event of a publish.
///
/// # Errors
/// If the content type is that of an event, and the payload is not one JSON object; if it is that of JSON, and the
/// bytes are not UTF-8.
pub fn wrap<'a>(body: &'a [u8], publication: &Publication<'_>) -> Result<Wrapped<'a>, WrapError> {
    let content = Content::of(publication.content_type, body)?;
    if let Content::Event(text) = content {
        return complete(text, publication);
    }
    let mut out = Vec::with_capacity(body.len() + body.len() / 8 + ATTRIBUTES);
    push_data(&mut out, content);
    let id = push_attributes(&mut out, publication);
    Ok(Wrapped { bytes: out.into(), id: Some(id) })
}

/// `{"data":...` or `{"data_base64":...`: the first member of every new event.
fn push_data(out: &mut Vec<u8>, content: Content<'_>) {
    let text = match content {
        Content::Binary(bytes) => {
            out.extend_from_slice(br#"{"data_base64":""#);
            push_base64(out, bytes);
            out.push(b'"');
            return;
        }
        Content::Event(text) | Content::Json(text) | Content::Text(text) => text,
    };
    out.extend_from_slice(br#"{"data":"#);
    let value = if matches!(content, Content::Json(_)) { json::one_value(text) } else { None };
    match value {
        Some(value) => out.extend_from_slice(value.as_bytes()),
        None => push_str(out, text),
    }
}

/// All attributes but the data, sorted by name, and the end of the object.
fn push_attributes(out: &mut Vec<u8>, publication: &Publication<'_>) -> EventId<'static> {
    let metadata = publication.metadata;
    let overridden = Overrides::of(metadata);
    let content_type = or_default(publication.content_type, "text/plain");
    push_member(out, "datacontenttype", content_type);
    if let Some(lifetime) = publication.lifetime {
        let expiration = lifetime::expiration(publication.now.utc, lifetime);
        push_member(out, "expiration", &expiration);
    }
    let id = match overridden.id {
        "" => EventId::new(publication.id),
        id => EventId::Given(id.to_owned().into()),
    };
    push_member(out, "id", id.as_str());
    push_member(out, "pubsubname", publication.pubsub);
    let source = overridden.source.unwrap_or(publication.app_id);
    push_member(out, "source", or_default(source, defaults::SOURCE));
    push_member(out, "specversion", defaults::SPEC_VERSION);
    if !overridden.subject.is_empty() {
        push_member(out, "subject", overridden.subject);
    }
    push_member(out, "time", &publication.now.text);
    push_member(out, "topic", publication.topic);
    let parent = or_default(overridden.trace_parent, publication.trace.parent);
    push_member(out, "traceid", parent);
    push_member(out, "traceparent", parent);
    let state = or_default(overridden.trace_state, publication.trace.state);
    push_member(out, "tracestate", state);
    push_member(out, "type", or_default(overridden.kind, defaults::TYPE));
    out.push(b'}');
    id
}

fn push_member(out: &mut Vec<u8>, name: &str, text: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_str(out, text);
}

/// Write bytes as padded base64.
pub fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The buffer has exactly the length of padded base64, so this cannot fail.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

fn or_default<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

/// Attributes from `cloudevent.*` metadata (tests/spec/delivery.md, "A7. Metadata overrides and trace values"). An
/// empty value counts as absent, except for the source.
#[derive(Default)]
struct Overrides<'a> {
    id: &'a str,
    source: Option<&'a str>,
    kind: &'a str,
    subject: &'a str,
    trace_parent: &'a str,
    trace_state: &'a str,
}

impl<'a> Overrides<'a> {
    fn of(metadata: &'a Metadata) -> Self {
        if metadata.is_empty() {
            return Self::default();
        }
        let text = |name: &str| value(metadata, name).unwrap_or_default();
        Self {
            id: text("cloudevent.id"),
            source: value(metadata, "cloudevent.source"),
            kind: text("cloudevent.type"),
            subject: text("cloudevent.subject"),
            trace_parent: or_default(text("cloudevent.traceparent"), text("cloudevent.traceid")),
            trace_state: text("cloudevent.tracestate"),
        }
    }
}

/// An event of the publisher, completed by the attributes that it lacks (tests/spec/delivery.md, "A6. Structured CE
/// input (content type `application/cloudevents+json`, with or without parameters)"). Values of the publisher are
/// copied as they are.
fn complete<'a>(text: &'a str, publication: &Publication<'_>) -> Result<Wrapped<'a>, WrapError> {
    let members = json::members(text.trim_matches(json::BLANKS))?;
    let id = members.get("id").and_then(|id| json::text_of(id)).map(EventId::Given);
    let mut event: BTreeMap<_, _> = members.into_iter().map(|(name, value)| (name, Value::Raw(value))).collect();
    let expiration = publication.lifetime.map(|lifetime| lifetime::expiration(publication.now.utc, lifetime));
    if let Some(expiration) = &expiration {
        event.insert("expiration".into(), Value::Text(expiration));
    }
    event.insert("topic".into(), Value::Text(publication.topic));
    event.insert("pubsubname".into(), Value::Text(publication.pubsub));
    for (name, default) in
        [("source", defaults::SOURCE), ("type", defaults::TYPE), ("specversion", defaults::SPEC_VERSION)]
    {
        if matches!(event.get(name), None | Some(Value::Raw("null"))) {
            event.insert(name.into(), Value::Text(default));
        }
    }
    // As in daprd, a `traceparent` without a `traceid` is overwritten.
    if !event.contains_key("traceid") {
        for name in ["traceid", "traceparent"] {
            event.insert(name.into(), Value::Text(publication.trace.parent));
        }
    }
    for (name, default) in [("time", &*publication.now.text), ("tracestate", publication.trace.state)] {
        event.entry(name.into()).or_insert(Value::Text(default));
    }
    Ok(Wrapped { bytes: written(&event, text.len()), id })
}

/// The value of an attribute: JSON of the publisher, or a text to be escaped.
enum Value<'a> {
    Raw(&'a str),
    Text(&'a str),
}

fn written(event: &BTreeMap<Cow<'_, str>, Value<'_>>, body: usize) -> Bytes {
    let mut out = Vec::with_capacity(body + ATTRIBUTES);
    for (name, value) in event {
        out.push(if out.is_empty() { b'{' } else { b',' });
        push_str(&mut out, name);
        out.push(b':');
        match value {
            Value::Raw(json) => out.extend_from_slice(json.as_bytes()),
            Value::Text(text) => push_str(&mut out, text),
        }
    }
    out.push(b'}');
    out.into()
}

#[cfg(test)]
mod tests;
