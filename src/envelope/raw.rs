//! The event around a payload that was stored without one (`rawPayload`).

use bytes::Bytes;
use uuid::Uuid;

use crate::envelope::defaults;
use crate::envelope::wrap::push_base64;
use crate::json::push_str;
use crate::message::Metadata;

/// The event around a stored payload, for subscriptions with `rawPayload` (tests/spec/delivery.md, "B7. Inbound
/// handling of one message", step 3). Each call makes a new id.
pub fn raw_event(data: &[u8], pubsub: &str, topic: &str, metadata: &Metadata) -> Bytes {
    let mut out = Vec::with_capacity(data.len() / 3 * 4 + 320);
    let mut id = Uuid::encode_buffer();
    let id = Uuid::new_v4().hyphenated().encode_lower(&mut id);
    out.extend_from_slice(br#"{"data_base64":""#);
    push_base64(&mut out, data);
    out.extend_from_slice(br#"","datacontenttype":"application/octet-stream""#);
    let trace_parent = metadata.get("traceparent");
    let trace_id = trace_parent.or_else(|| metadata.get("traceid"));
    for (name, value) in [
        ("id", Some(&*id)),
        ("pubsubname", Some(pubsub)),
        ("source", Some(defaults::SOURCE)),
        ("specversion", Some(defaults::SPEC_VERSION)),
        ("topic", Some(topic)),
        ("traceid", trace_id.map(String::as_str)),
        ("traceparent", trace_parent.map(String::as_str)),
        ("tracestate", metadata.get("tracestate").map(String::as_str)),
        ("type", Some(defaults::TYPE)),
    ] {
        if let Some(value) = value {
            out.push(b',');
            push_str(&mut out, name);
            out.push(b':');
            push_str(&mut out, value);
        }
    }
    out.push(b'}');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::event::Event;

    #[test]
    fn raw_payloads_get_an_event_of_their_own_with_a_new_id_each_time() {
        let raw = |pairs: &[(&str, &str)]| {
            let metadata = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            String::from_utf8(raw_event(br#"{"orderId":1}"#, "pubsub", "orders", &metadata).into()).unwrap()
        };
        let without_id = |event: &str| {
            let id = Event::parse(&Bytes::copy_from_slice(event.as_bytes())).unwrap().id().into_owned();
            event.replace(&id, "U")
        };
        assert_eq!(
            without_id(&raw(&[("rawPayload", "true")])),
            r#"{"data_base64":"eyJvcmRlcklkIjoxfQ==","datacontenttype":"application/octet-stream","id":"U","pubsubname":"pubsub","source":"Dapr","specversion":"1.0","topic":"orders","type":"com.dapr.event.sent"}"#
        );
        let traced = raw(&[("traceid", ""), ("tracestate", "")]);
        assert!(traced.contains(r#""topic":"orders","traceid":"","tracestate":"","type""#));
        let traced = raw(&[("traceid", "I"), ("traceparent", "P")]);
        assert!(traced.contains(r#""traceid":"P","traceparent":"P","type""#));
        assert_ne!(raw(&[]), raw(&[]));
    }
}
