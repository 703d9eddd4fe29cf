//! What holds for every route that an app or a file names, and all metadata that a message carries.

use http::uri::PathAndQuery;
use proptest::prelude::*;

use super::*;
use crate::json::arbitrary::{cases, in_time, metadata, text};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_route_can_be_requested_or_is_refused(route in prop_oneof![text(), "[/.%a-f0-9?#é+ ]{0,24}"]) {
        let Ok(clean) = in_time(|| path::clean(&route)) else {
            prop_assert!(route.contains('%') || route.contains(char::is_control), "{}", route);
            return Ok(());
        };
        prop_assert!(clean.starts_with('/'), "{}", clean);
        prop_assert!(clean.parse::<PathAndQuery>().is_ok(), "{}", clean);
    }

    #[test]
    fn all_metadata_becomes_headers_or_is_left_out(metadata in metadata(), trace in text()) {
        let delivery = Delivery {
            metadata,
            traceparent: Some(trace),
            ..Delivery::default()
        };
        let mut left_out = 0;
        let headers = in_time(|| headers::of(&delivery, None, |_| left_out += 1));
        prop_assert_eq!(&headers[CONTENT_TYPE], "application/cloudevents+json");
        prop_assert!(headers.len() + left_out <= delivery.metadata.len() + 3);
    }
}
