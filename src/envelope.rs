//! CloudEvents: what is in an event, and how one is made and read. Knows nothing of brokers or HTTP.
//!
//! The publish path makes events with [`wrap()`]; the delivery path reads them back as [`Event`]
//! (tests/spec/delivery.md, "Part A. Publish side", "B7. Inbound handling of one message"). JSON that an app published is checked and copied, never rebuilt (D6).

mod clock;
mod content;
mod lifetime;
mod protobuf;
mod unwrap;
mod wrap;

pub use self::clock::{Clock, Moment};
pub use self::lifetime::lifetime;
pub use self::unwrap::{Event, EventError, raw_event};
pub use self::wrap::{EventId, Publication, Trace, WrapError, Wrapped, push_base64, wrap};

/// The version of CloudEvents that new events say.
const SPEC_VERSION: &str = "1.0";

/// `type` of an event whose publisher names none.
const DEFAULT_TYPE: &str = "com.dapr.event.sent";

/// `source` of an event that has no publisher to name.
const DEFAULT_SOURCE: &str = "Dapr";

/// What kind of publish or subscription metadata says about wrapping: `rawPayload` (tests/spec/redis.md, "2.6 Helpers
/// used around pub/sub").
///
/// # Errors
/// If the value is not a boolean as Go reads them.
pub fn is_raw(metadata: &crate::message::Metadata) -> Result<bool, NotABoolean> {
    match metadata.get("rawPayload").map_or("", String::as_str) {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        other => Err(NotABoolean(other.to_owned())),
    }
}

/// A `rawPayload` that is neither true nor false.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rawPayload value must be a valid boolean: actual is '{0}'")]
pub struct NotABoolean(pub String);

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_payload_is_a_boolean_of_go_in_one_spelling_of_its_name() {
        let check = |name: &str, value: &str, expected: Result<bool, &str>| {
            let metadata = [(name.to_owned(), value.to_owned())].into();
            let expected = expected.map_err(|text| NotABoolean(text.to_owned()));
            assert_eq!(is_raw(&metadata), expected, "{name}={value}");
        };
        for value in ["1", "t", "T", "true", "TRUE", "True"] {
            check("rawPayload", value, Ok(true));
        }
        for value in ["", "0", "f", "F", "false", "FALSE", "False"] {
            check("rawPayload", value, Ok(false));
        }
        for value in ["yes", "tRue", "100", " true", "null"] {
            check("rawPayload", value, Err(value));
        }
        check("rawpayload", "true", Ok(false));
        check("RawPayload", "yes", Ok(false));
    }
}
