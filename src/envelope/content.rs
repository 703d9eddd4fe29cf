//! What a content type means for wrapping (tests/spec/delivery.md, "A2. Content type classes").

use crate::envelope::protobuf;

/// How a body goes into an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Is an event already.
    Event,
    /// A JSON value, if it is one.
    Json,
    /// Bytes.
    Binary,
    /// Text.
    Text,
}

impl Content {
    /// The class of a content type as it was sent; empty if none was.
    pub(super) fn of(content_type: &str, body: &[u8]) -> Self {
        // No trimming: with a blank before the semicolon it is another type.
        let essence = content_type.split(';').next().unwrap_or_default();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/json") {
            Self::Json
        } else if is("application/cloudevents+json") {
            Self::Event
        } else if is("application/octet-stream")
            || is("application/cloudevents+protobuf")
            || (is("application/x-protobuf") && protobuf::is_event(body))
        {
            Self::Binary
        } else if std::str::from_utf8(body).is_err() {
            // As text it would lose bytes, whatever its type says (D28).
            Self::Binary
        } else {
            Self::Text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_before_the_semicolon_decides_in_any_case_and_untrimmed() {
        let check = |content_type: &str, expected: Content| {
            assert_eq!(Content::of(content_type, b"\xff"), expected, "{content_type}");
        };
        for content_type in
            ["application/json", "APPLICATION/JSON", "application/json;charset=utf-8", "application/json;"]
        {
            check(content_type, Content::Json);
        }
        check("application/cloudevents+json; x", Content::Event);
        check("Application/Octet-Stream; x=1", Content::Binary);
        check("application/cloudevents+protobuf", Content::Binary);
        for content_type in [
            "",
            "text/plain",
            "application/json ;x",
            "application/jsonx",
            "application/json,text/plain",
            "application/vnd.api+json",
            "text/json",
            "application/cloudevents-batch+json",
            "application/x-protobuf",
            "image/png",
        ] {
            assert_eq!(Content::of(content_type, b"a"), Content::Text);
            check(content_type, Content::Binary);
        }
    }

    #[test]
    fn x_protobuf_is_binary_if_it_is_an_event() {
        assert_eq!(Content::of("application/x-protobuf", b""), Content::Binary);
    }
}
