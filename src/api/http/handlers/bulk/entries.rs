//! The body of a bulk publish: a JSON list, whose events are slices of the body and not rebuilt
//! (tests/spec/http-api.md, "6.1 Request", "6.2 Entry conversion").

use std::borrow::Cow;
use std::fmt;

use base64::DecodeError;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::api::error::parser_text;
use crate::json::{members, text_of, utf8};
use crate::message::Metadata;
use crate::publish::bulk::{Entries, Entry, EntryIdError};

/// The reason why nothing of the body is published.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntriesError {
    /// There is no body.
    #[error("EOF")]
    Empty,
    /// It is not a list of entries, in the words of the parser.
    #[error("{0}")]
    Unreadable(String),
    /// An event does not have its content type.
    #[error("{0}")]
    Content(#[from] ContentError),
    /// Two entries have the same id, or one has none.
    #[error("{0}")]
    Ids(#[from] EntryIdError),
}

/// An event that does not have its content type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContentError {
    /// It should be a text, or the type is unknown.
    #[error("error: mismatch between contentType and event")]
    Mismatch,
    /// It should be base64. The misspelling is daprd's.
    #[error("error: unable to decode base64 application/octect-stream data: illegal base64 data at input byte {0}")]
    Base64(usize),
}

/// The entries of a body. `null` is an empty list. Bytes behind the list are an error, because they would be lost (D7).
pub(super) fn parse(body: &Bytes) -> Result<Entries, EntriesError> {
    if body.is_empty() {
        return Err(EntriesError::Empty);
    }
    let text = utf8(body).map_err(|error| EntriesError::Unreadable(error.to_string()))?;
    let written: Option<Vec<Written<'_>>> =
        serde_json::from_str(text).map_err(|error| EntriesError::Unreadable(parser_text(&error)))?;
    let mut entries = Entries::default();
    for entry in written.unwrap_or_default() {
        let event = payload(body, &entry)?;
        entries.push(Entry {
            id: entry.id.into_owned(),
            event,
            content_type: entry.content_type.into_owned(),
            metadata: entry.metadata,
        })?;
    }
    Ok(entries)
}

/// The payload of an entry.
fn payload(body: &Bytes, entry: &Written<'_>) -> Result<Bytes, ContentError> {
    // No trimming, as for a single publish.
    let essence = entry.content_type.split(';').next().unwrap_or_default();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    if is("application/json") || is("application/cloudevents+json") {
        let json = |event: &RawValue| body.slice_ref(event.get().as_bytes());
        return Ok(entry.event.map_or_else(|| Bytes::from_static(b"null"), json));
    }
    let is_binary = is("application/octet-stream");
    let is_text = essence.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    if !(is_binary || is_text || is("application/xml")) {
        return Err(ContentError::Mismatch);
    }
    let text = entry.event.and_then(|event| text_of(event.get()));
    let text = text.ok_or(ContentError::Mismatch)?;
    if is_binary {
        return decoded(&text);
    }
    Ok(text.into_owned().into())
}

/// Decodes base64 as Go does: with padding, line ends anywhere, and any value in the unused bits at the end.
fn decoded(text: &str) -> Result<Bytes, ContentError> {
    const BASE64: GeneralPurpose =
        GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
    let digits = text.replace(['\r', '\n'], "");
    let bytes = BASE64.decode(&digits).map_err(|error| match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => ContentError::Base64(at),
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => ContentError::Base64(digits.len()),
    })?;
    Ok(bytes.into())
}

/// An entry as it is written. No member is required, and `null` is the same as no member.
#[derive(Default)]
struct Written<'a> {
    id: Cow<'a, str>,
    event: Option<&'a RawValue>,
    content_type: Cow<'a, str>,
    metadata: Option<Metadata>,
}

impl<'de> Deserialize<'de> for Written<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry with entryId, event and contentType")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Written::default())
    }

    /// Names match in any case: the JavaScript SDK writes `entryID`. Of equal ones the last counts.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entry = Written::default();
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            let value = map.next_value::<&'de RawValue>()?;
            let name = text_of(name.get()).unwrap_or_default();
            if name.eq_ignore_ascii_case("entryId") {
                entry.id = text("entryId", value.get())?;
            } else if name.eq_ignore_ascii_case("event") {
                entry.event = Some(value);
            } else if name.eq_ignore_ascii_case("contentType") {
                entry.content_type = text("contentType", value.get())?;
            } else if name.eq_ignore_ascii_case("metadata") {
                entry.metadata = metadata(value.get())?;
            }
        }
        Ok(entry)
    }
}

fn text<'a, E: Error>(name: &str, value: &'a str) -> Result<Cow<'a, str>, E> {
    if value == "null" {
        return Ok("".into());
    }
    text_of(value).ok_or_else(|| E::custom(format_args!("{name} must be a string")))
}

fn metadata<E: Error>(value: &str) -> Result<Option<Metadata>, E> {
    if value == "null" {
        return Ok(None);
    }
    let members = members(value).map_err(|_| E::custom("metadata must be an object of strings"))?;
    let pairs = members.into_iter().map(|(name, value)| {
        let value = text("a value of metadata", value)?;
        Ok((name.into_owned(), value.into_owned()))
    });
    pairs.collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries as id, payload, content type and metadata; or the beginning of the error.
    fn check(body: &str, expected: Result<&str, &str>) {
        let parsed = parse(&Bytes::copy_from_slice(body.as_bytes()));
        match (parsed, expected) {
            (Ok(entries), Ok(expected)) => assert_eq!(format!("{entries:?}"), expected, "{body}"),
            (Err(error), Err(expected)) => {
                let text = error.to_string();
                assert!(text.starts_with(expected), "{body}: {text}");
            }
            (parsed, _) => panic!("{body}: {parsed:?}, expected {expected:?}"),
        }
    }

    fn event(kind: &str, event: &str) -> Result<Bytes, ContentError> {
        let body = Bytes::from(format!(r#"{{"contentType":"{kind}","event":{event}}}"#));
        let written = serde_json::from_slice(&body).unwrap();
        payload(&body, &written)
    }

    #[test]
    fn bodies_that_are_no_lists_of_entries_are_refused() {
        for nothing in ["[]", "null", " [ ] \n"] {
            check(nothing, Ok("Entries { all: [], ids: {} }"));
        }
        check("", Err("EOF"));
        let latin = b"[{\"entryId\":\"1\",\"event\":\"caf\xe9\",\"contentType\":\"text/plain\"}]";
        let error = parse(&Bytes::from_static(latin)).unwrap_err().to_string();
        assert!(error.starts_with("JSON must be UTF-8, and the byte at offset 28 is not"), "{error}");
        for (body, error) in [
            ("{}", "invalid type: map, expected a sequence"),
            ("nonsense", "expected"),
            (r#""x""#, "invalid type: string 'x', expected a sequence"),
            (r#"[{"entryId":"1""#, "EOF while parsing"),
            ("[1]", "invalid type: integer `1`, expected an entry"),
            (r#"[{"entryId":1}]"#, "entryId must be a string"),
            (r#"[{"contentType":5}]"#, "contentType must be a string"),
            (r#"[{"metadata":[]}]"#, "metadata must be an object"),
            (r#"[{"metadata":{"a":1}}]"#, "a value of metadata must be a string"),
            ("[] x", "trailing characters"),
            ("[null]", "error: mismatch"),
        ] {
            check(body, Err(error));
        }
    }

    #[test]
    fn names_match_in_any_case_and_the_last_counts() {
        let body = r#"[{"ENTRYID":"1","entryID":"2","event":2,"Event":"x","contenttype":"text/plain","METADATA":{"k":"v","n":null},"more":[1]}]"#;
        let entries = parse(&Bytes::from(body)).unwrap();
        let expected = concat!(
            r#"Entries { all: [Entry { id: "2", event: b"x", content_type: "text/plain", "#,
            r#"metadata: Some({"k": "v", "n": ""}) }], ids: {"2"} }"#
        );
        assert_eq!(format!("{entries:?}"), expected);
    }

    #[test]
    fn entries_are_checked_one_after_the_other() {
        let good = r#"{"entryId":"1","event":1,"contentType":"application/json","metadata":null}"#;
        let mismatch = r#"{"entryId":"2","event":1,"contentType":"text/plain"}"#;
        check(
            &format!("[{good}]"),
            Ok(
                r#"Entries { all: [Entry { id: "1", event: b"1", content_type: "application/json", metadata: None }], ids: {"1"} }"#,
            ),
        );
        check(&format!("[{good},{good},{mismatch}]"), Err("entryId is"));
        check(&format!("[{good},{mismatch},{good}]"), Err("error: mism"));
    }

    #[test]
    fn the_content_type_says_what_the_event_must_be() {
        let check = |kind: &str, written: &str, expected: Result<&[u8], ContentError>| {
            let expected = expected.map(Bytes::copy_from_slice);
            assert_eq!(event(kind, written), expected, "{kind} {written}");
        };
        let mismatch = || Err(ContentError::Mismatch);
        check(
            "application/json",
            r#"{"b":1.0, "a":12345678901234567890}"#,
            Ok(br#"{"b":1.0, "a":12345678901234567890}"#),
        );
        check("Application/JSON;x", r#""text""#, Ok(br#""text""#));
        check("application/cloudevents+json", "null", Ok(b"null"));
        check("text/x", r#""a\nb""#, Ok(b"a\nb"));
        check("TEXT/plain; x", r#""""#, Ok(b""));
        check("application/xml", r#""<a/>""#, Ok(b"<a/>"));
        check("application/octet-stream", r#""AA\r\nH/""#, Ok(b"\0\x01\xff"));
        check("application/octet-stream", r#""AB==""#, Ok(b"\0"));
        for (kind, written) in [
            ("text/plain", "5"),
            ("text/plain", "null"),
            ("application/xml", "{}"),
            ("application/octet-stream", "5"),
            ("", r#""x""#),
            ("image/png", r#""x""#),
            ("application/vnd.api+json", "{}"),
            ("application/json ; x", "{}"),
        ] {
            check(kind, written, mismatch());
        }
        for (written, at) in [(r#""a$b""#, 1), (r#""AAE""#, 3), (r#""_-8=""#, 0)] {
            check("application/octet-stream", written, Err(ContentError::Base64(at)));
        }
    }

    #[test]
    fn an_entry_without_event_is_null() {
        let body = Bytes::from(r#"{"contentType":"application/json"}"#);
        let written = serde_json::from_slice(&body).unwrap();
        assert_eq!(payload(&body, &written).unwrap(), "null");
    }
}
