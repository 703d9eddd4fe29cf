//! Properties of every publish and delivery: the data that was published comes back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use super::*;
use crate::json::arbitrary::{blank, cases, in_time, metadata, object, string, text, value, wounded};
use crate::json::{self, members, one_value, text_of};
use crate::message::Metadata;

/// The event around a body, as text that every parser of JSON takes.
fn wrapped(body: &[u8], content_type: &str, topic: &str, metadata: &Metadata) -> Option<String> {
    let publication = Publication {
        app_id: "app",
        pubsub: "pubsub",
        topic,
        content_type,
        metadata,
        lifetime: PublishOptions::default().for_entry(metadata).lifetime,
        trace: Trace::default(),
        id: Uuid::nil(),
        now: Clock::default().now(),
    };
    let event = in_time(|| wrap(body, &publication)).ok()?.bytes;
    let length = |(name, value): (&String, &String)| name.len() + value.len();
    let given = body.len() + content_type.len() + topic.len() + metadata.iter().map(length).sum::<usize>();
    assert!(event.len() <= 6 * given + 1024, "{} bytes from {given}", event.len());
    let event = String::from_utf8(event.into()).unwrap();
    assert!(one_value(&event).is_some(), "{event}");
    Some(event)
}

/// An attribute of an event that is a text.
fn attribute(event: &str, name: &str) -> String {
    text_of(members(event).unwrap()[name]).unwrap().into_owned()
}

fn content_type() -> impl Strategy<Value = String> {
    let known = select(vec![
        "",
        "text/plain",
        "application/json",
        "application/json; charset=utf-8",
        "application/octet-stream",
        "APPLICATION/XML",
        "application/cloudevents+protobuf",
        "application/x-protobuf",
        "application/x-www-form-urlencoded",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => text()]
}

proptest! {
    #![proptest_config(cases())]

    /// D6: numbers of any length, blanks, equal names, escapes, depth.
    #[test]
    fn published_json_comes_back_byte_for_byte(
        data in value(), blanks in (blank(), blank()), metadata in metadata(), topic in text(),
    ) {
        let body = format!("{}{data}{}", blanks.0, blanks.1);
        let event = wrapped(body.as_bytes(), "application/json", &topic, &metadata).unwrap();
        prop_assert_eq!(members(&event).unwrap()["data"], &data);
        prop_assert_eq!(attribute(&event, "topic"), topic);
        let read = Event::parse(&Bytes::from(event)).unwrap();
        prop_assert_eq!(read.text("data"), text_of(&data));
    }

    #[test]
    fn any_body_of_any_type_comes_back(
        body in prop_oneof![wounded(value()), vec(any::<u8>(), 0..64)], content_type in content_type(), metadata in metadata(),
    ) {
        let event = wrapped(&body, &content_type, "t", &metadata);
        // Only what says that it is an event, or JSON, can be refused.
        let Some(event) = event else {
            let kind = content_type.to_lowercase();
            let is_broken_json = kind.starts_with("application/json") && json::utf8(&body).is_err();
            prop_assert!(is_broken_json || kind.starts_with("application/cloudevents+json"));
            return Ok(());
        };
        let members = members(&event).unwrap();
        match members.get("data_base64") {
            Some(data) => prop_assert_eq!(STANDARD.decode(text_of(data).unwrap().as_bytes()).unwrap(), body),
            None => {
                let data = members["data"];
                let is_json = std::str::from_utf8(&body).is_ok_and(|body| one_value(body) == Some(data));
                prop_assert!(is_json || text_of(data).unwrap().as_bytes() == body, "{event}");
            }
        }
    }

    #[test]
    fn overrides_come_back_whatever_they_are(value in text(), name in select(vec!["id", "source", "type", "subject"])) {
        let metadata = [(format!("cloudevent.{name}"), value.clone())].into();
        let event = wrapped(b"{}", "application/json", "t", &metadata).unwrap();
        if !value.is_empty() {
            prop_assert_eq!(attribute(&event, name), value);
        }
    }

    #[test]
    fn events_of_publishers_keep_what_they_say(
        said in vec((string(), value()), 0..5), data in value(), blank in blank(), metadata in metadata(),
    ) {
        let mut said = said;
        said.push(("\"data\"".to_owned(), data));
        let body = object(&said, blank);
        let event = wrapped(body.as_bytes(), "application/cloudevents+json", "t", &metadata).unwrap();
        let (before, after) = (members(&body).unwrap(), members(&event).unwrap());
        let ours = ["topic", "pubsubname", "expiration", "traceparent", "source", "type", "specversion"];
        for (name, value) in &before {
            if !ours.contains(&&**name) {
                prop_assert_eq!(after[name], *value, "{}", name);
            }
        }
    }

    #[test]
    fn no_body_that_says_it_is_an_event_breaks_it(body in wounded(value()), metadata in metadata()) {
        let event = wrapped(&body, "application/cloudevents+json", "t", &metadata);
        let is_object = json::utf8(json::trimmed(&body)).is_ok_and(|text| members(text).is_ok());
        prop_assert_eq!(event.is_some(), is_object);
    }

    #[test]
    fn whatever_is_delivered_is_read_or_refused(payload in wounded(value()), metadata in metadata(), name in text()) {
        let payload = Bytes::from(payload);
        in_time(|| {
            if let Ok(mut event) = Event::parse(&payload) {
                event.fill_trace(&metadata);
                let _ = (event.id(), event.text(&name), event.has(&name), event.to_json_value());
                event.is_expired(Clock::default().now().utc);
            }
            let binary = Event::binary(&payload, &name, &metadata);
            assert!(binary.to_json_value().is_ok());
            let raw = raw_event(&payload, &name, &name, &metadata);
            let raw = String::from_utf8(raw.into()).unwrap();
            assert_eq!(STANDARD.decode(attribute(&raw, "data_base64")).unwrap(), payload);
            assert_eq!(attribute(&raw, "topic"), name);
        });
    }

    #[test]
    fn expiration_times_are_read_as_they_are_written(text in text()) {
        let metadata = [("ttl".to_owned(), text)].into();
        let event = wrapped(b"", "", "t", &metadata).unwrap();
        if members(&event).unwrap().contains_key("expiration") {
            prop_assert!(lifetime::time(&attribute(&event, "expiration")).is_some(), "{event}");
        }
    }
}
