//! Properties of all paths, queries and heads.

use proptest::collection::vec;
use proptest::prelude::*;

use http::HeaderValue;

use super::extract::path;
use super::steps::cors::Origins;
use crate::json::arbitrary::{cases, in_time, text};
use crate::server::is_well_escaped;

/// Escapes a text as a client may: letters as they are, unless `all`, a blank as `+`, other bytes as `%XX`.
fn escaped(text: &str, all: bool) -> String {
    let escape = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'a'..=b'z' if !all => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn names_in_a_path_arrive_as_they_are_meant(pubsub in text(), topic in text(), all: bool) {
        let path = format!("/v1.0/publish/{}/{}", escaped(&pubsub, all), escaped(&topic, all));
        prop_assert!(is_well_escaped(&path));
        prop_assert_eq!(path::pubsub_and_topic(&path, 2), (pubsub.into(), topic.into()));
    }

    #[test]
    fn metadata_in_a_query_arrives_as_it_is_meant(pairs in vec((text(), text()), 0..5), noise in "[a-z=;%&.+]{0,12}", all: bool) {
        let query: String = pairs.iter().map(|(name, value)| format!("metadata.{}={}&", escaped(name, all), escaped(value, all))).collect();
        let metadata = path::metadata(Some(&(query + &noise)));
        for (name, _) in &pairs {
            let first = pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value);
            prop_assert_eq!(metadata.get(name), first);
        }
    }

    #[test]
    fn every_path_is_cleaned_for_good(path in "/[/.%a-f0-9?&=+;]{0,24}") {
        let uri: http::Uri = path.parse().unwrap();
        let clean = in_time(|| path::cleaned(&uri)).unwrap_or(uri);
        let again = path::cleaned(&clean).unwrap_or_else(|| clean.clone());
        prop_assert_eq!(&again, &clean);
        let _ = (path::decoded_path(clean.path()), path::metadata(clean.query()), path::segment(clean.path(), 3));
    }

    #[test]
    fn every_origin_is_allowed_or_not(allowed in text(), origin in text(), method in text(), asked in text()) {
        let mut request = http::Request::builder().method("OPTIONS");
        for (name, value) in [
            ("origin", origin), ("access-control-request-method", method), ("access-control-request-headers", asked),
        ] {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                request = request.header(name, value);
            }
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        if let Some(origins) = Origins::parse(&allowed) {
            in_time(|| {
                let _ = origins.preflight(&head);
                origins.add_headers(&head, &mut http::HeaderMap::new());
            });
        }
    }
}
