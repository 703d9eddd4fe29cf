//! Properties of all bodies of a bulk publish.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::entries;
use crate::json::arbitrary::{blank, cases, in_time, object, string, value, wounded};
use crate::json::valid_text;

/// An entry as a client may write it, with noise.
fn entry() -> impl Strategy<Value = (String, String)> + Clone {
    let kind = select(vec![
        "application/json",
        "application/cloudevents+json",
        "APPLICATION/JSON;x",
        "text/plain",
        "application/octet-stream",
    ]);
    let noise = vec((string().prop_map(|name| format!("\"x{}", &name[1..])), value()), 0..2);
    (value(), kind, noise, blank()).prop_map(|(event, kind, noise, blank)| {
        let mut members = noise;
        members.push((r#""entryID""#.to_owned(), "\"ID\"".to_owned()));
        members.push((r#""event""#.to_owned(), event.clone()));
        members.push((r#""ContentType""#.to_owned(), format!("\"{kind}\"")));
        (object(&members, blank), event)
    })
}

fn list(entries: &[(String, String)]) -> String {
    let entry = |(n, (entry, _)): (usize, &(String, String))| entry.replacen("\"ID\"", &format!("\"{n}\""), 1);
    let entries: Vec<_> = entries.iter().enumerate().map(entry).collect();
    format!("[{}]", entries.join(","))
}

proptest! {
    #![proptest_config(cases())]

    /// The bytes of each event are kept (D6).
    #[test]
    fn json_events_are_taken_byte_for_byte(events in vec(value(), 0..6), blank in blank()) {
        let entries: Vec<_> = events.iter().enumerate().map(|(n, event)| format!(
            r#"{{"entryId":"{n}",{blank}"contentType":"application/json","event":{blank}{event}{blank}}}"#
        )).collect();
        let body = Bytes::from(format!("[{}]", entries.join(",")));
        let taken = in_time(|| entries::parse(&body)).unwrap();
        let taken: Vec<_> = taken.iter().map(|entry| entry.event.clone()).collect();
        prop_assert_eq!(taken, events);
    }

    #[test]
    fn any_body_is_taken_whole_or_refused(body in wounded(vec(entry(), 0..4).prop_map(|entries| list(&entries)))) {
        let body = Bytes::from(body);
        if let Ok(entries) = in_time(|| entries::parse(&body)) {
            let text = valid_text(&body);
            let written: Option<Vec<&serde_json::value::RawValue>> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(entries.iter().count(), written.unwrap_or_default().len());
            prop_assert!(entries.iter().all(|entry| !entry.id.is_empty()));
        }
    }
}
