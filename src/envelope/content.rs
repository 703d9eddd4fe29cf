//! The form in which a body becomes the data of an event, by its content type (tests/spec/delivery.md, "A2. Content
//! type classes").

use crate::envelope::protobuf;
use crate::json::{self, NotUtf8};

/// A body by the form that it takes in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// An event already.
    Event(&'a str),
    /// A JSON value, or text if it is not one.
    Json(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// Text.
    Text(&'a str),
}

impl<'a> Content<'a> {
    /// The form of a body with this content type as it was sent; empty if none was.
    ///
    /// # Errors
    /// If the type is that of JSON or of an event, and the body is not UTF-8.
    pub(super) fn of(content_type: &str, body: &'a [u8]) -> Result<Self, NotUtf8> {
        // Not trimmed: with a blank before the semicolon it is another type.
        let essence = content_type.split(';').next().unwrap_or_default();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        Ok(if is("application/json") {
            Self::Json(json::utf8(body)?)
        } else if is("application/cloudevents+json") {
            Self::Event(json::utf8(body)?)
        } else if is("application/octet-stream")
            || is("application/cloudevents+protobuf")
            || (is("application/x-protobuf") && protobuf::is_event(body))
        {
            Self::Binary(body)
        } else {
            // As text, a body that is not UTF-8 would lose bytes, whatever its type says (D28).
            std::str::from_utf8(body).map_or(Self::Binary(body), Self::Text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form of an ASCII body, and of one that is not UTF-8.
    fn check(content_type: &str, ascii: Content<'_>, other: Result<Content<'_>, NotUtf8>) {
        assert_eq!(Content::of(content_type, b"a"), Ok(ascii), "{content_type}");
        assert_eq!(Content::of(content_type, b"\xff"), other, "{content_type}");
    }

    #[test]
    fn the_part_before_the_semicolon_decides_in_any_case_and_untrimmed() {
        for content_type in
            ["application/json", "APPLICATION/JSON", "application/json;charset=utf-8", "application/json;"]
        {
            check(content_type, Content::Json("a"), Err(NotUtf8 { offset: 0 }));
        }
        check("application/cloudevents+json; x", Content::Event("a"), Err(NotUtf8 { offset: 0 }));
        for content_type in ["Application/Octet-Stream; x=1", "application/cloudevents+protobuf"] {
            check(content_type, Content::Binary(b"a"), Ok(Content::Binary(b"\xff")));
        }
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
            check(content_type, Content::Text("a"), Ok(Content::Binary(b"\xff")));
        }
    }

    #[test]
    fn x_protobuf_is_binary_if_it_is_an_event() {
        assert_eq!(Content::of("application/x-protobuf", b""), Ok(Content::Binary(b"")));
    }
}
