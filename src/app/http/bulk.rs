//! The body of a request that carries several events (tests/spec/delivery.md, "B15. Bulk subscribe"). JSON of events is
//! copied, never rebuilt (D6).

use bytes::Bytes;

use crate::app::channel::{BulkDelivery, BulkEntry, BulkEvent};
use crate::envelope::push_base64;
use crate::json::{self, push_map, push_text};

/// Bytes of an entry beside its event and metadata, roughly.
const AROUND: usize = 160;

/// The body, keys in the order of daprd.
pub(super) fn body(delivery: &BulkDelivery<'_>) -> Bytes {
    let mut out = Vec::with_capacity(AROUND + delivery.entries.iter().map(size).sum::<usize>());
    out.extend_from_slice(br#"{"entries":["#);
    for (at, entry) in delivery.entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_entry(&mut out, entry);
    }
    out.extend_from_slice(br#"],"id":"#);
    push_text(&mut out, delivery.id.as_bytes());
    out.extend_from_slice(br#","metadata":{"pubsubName":"#);
    push_text(&mut out, delivery.pubsub.as_bytes());
    out.extend_from_slice(br#"},"pubsubname":"#);
    push_text(&mut out, delivery.pubsub.as_bytes());
    out.extend_from_slice(br#","topic":"#);
    push_text(&mut out, delivery.topic.as_bytes());
    out.extend_from_slice(br#","type":"com.dapr.event.sent.bulk"}"#);
    out.into()
}

fn push_entry(out: &mut Vec<u8>, entry: &BulkEntry<'_>) {
    out.extend_from_slice(br#"{"entryId":"#);
    push_text(out, entry.id.as_bytes());
    out.extend_from_slice(br#","event":"#);
    let content_type: &[u8] = match entry.event {
        BulkEvent::Json(text) => {
            out.extend_from_slice(json::valid_text(json::trimmed(text)).as_bytes());
            b"application/cloudevents+json"
        }
        BulkEvent::Raw(bytes) => {
            out.push(b'"');
            push_base64(out, bytes);
            out.push(b'"');
            b"application/octet-stream"
        }
    };
    out.extend_from_slice(br#","metadata":"#);
    match entry.metadata {
        Some(metadata) => push_map(out, metadata),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(br#","contentType":"#);
    push_text(out, content_type);
    out.push(b'}');
}

fn size(entry: &BulkEntry<'_>) -> usize {
    let event = match entry.event {
        BulkEvent::Json(text) => text.len(),
        BulkEvent::Raw(bytes) => bytes.len().div_ceil(3) * 4,
    };
    let metadata = entry.metadata.into_iter().flatten();
    event + AROUND + metadata.map(|(k, v)| k.len() + v.len() + 6).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_that_of_daprd_but_for_the_bytes_of_events() {
        let metadata = [("a".to_owned(), "<b>".to_owned())].into();
        let empty = crate::message::Metadata::new();
        let entry = |id: &str, event, metadata| BulkEntry { id: id.to_owned(), event, metadata };
        let delivery = BulkDelivery {
            id: "U".to_owned(),
            path: "/x".into(),
            pubsub: "p",
            topic: "t\"",
            entries: vec![
                entry("1", BulkEvent::Json(b" {\"z\":1.0,\"a\":12345678901234567890}\n"), Some(&metadata)),
                entry("2", BulkEvent::Raw(b"\x00\x01\xff"), None),
                entry("3", BulkEvent::Json(b"null"), Some(&empty)),
                entry("4", BulkEvent::Json(b"{\"a\":\"\xff\"}"), None),
            ],
            traceparent: None,
        };
        let expected = concat!(
            r#"{"entries":[{"entryId":"1","event":{"z":1.0,"a":12345678901234567890},"metadata":{"a":"\u003cb\u003e"},"contentType":"application/cloudevents+json"},"#,
            r#"{"entryId":"2","event":"AAH/","metadata":null,"contentType":"application/octet-stream"},"#,
            r#"{"entryId":"3","event":null,"metadata":{},"contentType":"application/cloudevents+json"},"#,
            "{\"entryId\":\"4\",\"event\":{\"a\":\"\u{fffd}\"},\"metadata\":null,\"contentType\":\"application/cloudevents+json\"}],",
            r#""id":"U","metadata":{"pubsubName":"p"},"pubsubname":"p","topic":"t\"","type":"com.dapr.event.sent.bulk"}"#
        );
        assert_eq!(String::from_utf8_lossy(&body(&delivery)), expected);
    }
}
