//! The options in the metadata of a publish, read once.

use std::time::Duration;

use crate::envelope::lifetime::lifetime;
use crate::message::Metadata;

/// The options in the metadata of a publish, beside the attributes that it overrides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// `rawPayload`: the payload is stored as it is.
    pub is_raw: bool,
    /// `ttl` or `ttlInSeconds`: the lifetime of the event.
    pub lifetime: Option<Duration>,
}

impl PublishOptions {
    /// Read the metadata of a request.
    ///
    /// # Errors
    /// If `rawPayload` is not a boolean. A lifetime that cannot be read counts as none.
    pub fn read(metadata: &Metadata) -> Result<Self, NotABoolean> {
        Ok(Self { is_raw: is_raw(metadata)?, lifetime: lifetime(metadata) })
    }

    /// The options of one entry of a bulk request. Whether payloads are raw is decided by the request alone.
    #[must_use]
    pub fn for_entry(self, metadata: &Metadata) -> Self {
        Self { lifetime: lifetime(metadata), ..self }
    }
}

/// The value of `rawPayload` in publish or subscription metadata: payloads are stored without an event around them
/// (tests/spec/redis.md, "2.6 Helpers used around pub/sub").
///
/// # Errors
/// If the value is not a boolean as Go reads them.
pub fn is_raw(metadata: &Metadata) -> Result<bool, NotABoolean> {
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
