//! JSON as text: written as Go writes it, validated without a tree, split one level deep.
//!
//! Nothing here recurses or converts numbers: any JSON passes with its digits (D6).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use memchr::memchr;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

/// The characters that JSON allows between its tokens.
pub const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Write a string with its quotes, escaped as Go does (tests/spec/delivery.md, "A5. JSON encoding of the envelope").
/// Invalid UTF-8 becomes `\ufffd`, byte by byte.
pub fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    if let Ok(text) = std::str::from_utf8(text) {
        push_str(out, text);
        return;
    }
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        push_escaped(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(br"\ufffd");
        }
    }
    out.push(b'"');
}

/// As [`push_text`], for bytes that are known to be UTF-8.
pub fn push_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Write a map of strings as an object, as Go does: the `metadata` of a stream entry (tests/spec/redis.md, "7.1
/// Writer").
pub fn push_map(out: &mut Vec<u8>, map: &BTreeMap<String, String>) {
    out.push(b'{');
    for (at, (name, value)) in map.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_text(out, name.as_bytes());
        out.push(b':');
        push_text(out, value.as_bytes());
    }
    out.push(b'}');
}

/// A value as compact JSON with Go's escapes.
pub fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    // Writing to memory cannot fail, and all keys here are strings.
    let _ = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, GoEscapes));
    out
}

/// The JSON value that a text consists of, without the blanks around it; `None` if it is anything else.
pub fn one_value(text: &str) -> Option<&str> {
    let value = text.trim_matches(BLANKS);
    serde_json::from_str::<IgnoredAny>(value).ok()?;
    Some(value)
}

/// The text of the first JSON value, whatever follows it, as Go's decoder reads it. `None`: there are only blanks.
///
/// # Errors
/// If the text does not begin with a JSON value.
pub fn first_value(text: &str) -> Result<Option<&str>, serde_json::Error> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    Ok(values.next().transpose()?.map(RawValue::get))
}

/// The members of an object: decoded names with the text of their values. Of equal names the last counts.
///
/// # Errors
/// If the text is not one JSON object.
pub fn members(object: &str) -> Result<BTreeMap<Cow<'_, str>, &str>, serde_json::Error> {
    serde_json::from_str::<Members<_>>(object).map(|members| members.0)
}

/// All members of an object in their order, equal names included, for readers that compare names in any case.
///
/// # Errors
/// If the text is not one JSON object.
pub fn fields(object: &str) -> Result<Vec<(Cow<'_, str>, &str)>, serde_json::Error> {
    serde_json::from_str::<Members<_>>(object).map(|members| members.0)
}

/// The texts of the values in a list.
///
/// # Errors
/// If the text is not one JSON list.
pub fn items(list: &str) -> Result<Vec<&str>, serde_json::Error> {
    let items: Vec<&RawValue> = serde_json::from_str(list)?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

/// The content of a JSON string. `None`: the value is not a string. A lone surrogate becomes U+FFFD.
pub fn text_of(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    let Some(mut at) = memchr(b'\\', inner.as_bytes()) else {
        return Some(inner.into());
    };
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    loop {
        text.push_str(&rest[..at]);
        let (letter, length) = escape(&rest[at..]);
        text.push(letter);
        rest = &rest[at + length..];
        match memchr(b'\\', rest.as_bytes()) {
            Some(next) => at = next,
            None => break,
        }
    }
    text.push_str(rest);
    Some(text.into())
}

/// JSON with every lone surrogate replaced, which strict parsers refuse.
pub fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let mut mended = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(at) = json[from..].find('\\').map(|at| from + at) {
        let (letter, length) = escape(&json[at..]);
        from = at + length;
        if letter == char::REPLACEMENT_CHARACTER {
            mended.push_str(&json[copied..at]);
            mended.push(letter);
            copied = from;
        }
    }
    if copied == 0 {
        return json.into();
    }
    mended.push_str(&json[copied..]);
    mended.into()
}

/// Bytes as text. Invalid UTF-8 becomes U+FFFD, byte by byte as in Go.
pub fn valid_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for _ in chunk.invalid() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text.into()
}

/// A JSON text that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "JSON must be UTF-8, and the byte at offset {offset} is not; encode the body as UTF-8, or send other bytes as application/octet-stream"
)]
pub struct NotUtf8 {
    /// The offset of the first byte that is not UTF-8.
    pub offset: usize,
}

/// The text of a body that must be UTF-8.
///
/// # Errors
/// If it is not.
pub fn utf8(body: &[u8]) -> Result<&str, NotUtf8> {
    std::str::from_utf8(body).map_err(|error| NotUtf8 { offset: error.valid_up_to() })
}

/// Bytes without JSON's blanks around them.
pub fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(|byte| !is_blank(byte));
    let Some(start) = start else {
        return &[];
    };
    let end = bytes.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if !NEEDS_A_LOOK[usize::from(byte)] {
            continue;
        }
        // U+2028 and U+2029 are e2 80 a8 and e2 80 a9.
        let (escape, length): (&[u8], usize) = match byte {
            b'"' => (br#"\""#, 1),
            b'\\' => (br"\\", 1),
            b'\n' => (br"\n", 1),
            b'\r' => (br"\r", 1),
            b'\t' => (br"\t", 1),
            0x08 => (br"\b", 1),
            0x0c => (br"\f", 1),
            b'<' => (br"\u003c", 1),
            b'>' => (br"\u003e", 1),
            b'&' => (br"\u0026", 1),
            0xe2 => match bytes.get(at + 1..at + 3) {
                Some([0x80, 0xa8]) => (br"\u2028", 3),
                Some([0x80, 0xa9]) => (br"\u2029", 3),
                _ => continue,
            },
            _ => (b"", 1),
        };
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + length;
        if escape.is_empty() {
            out.extend_from_slice(br"\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        } else {
            out.extend_from_slice(escape);
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes strings with Go's escapes.
struct GoEscapes;

impl Formatter for GoEscapes {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut escaped = Vec::with_capacity(fragment.len());
        push_escaped(&mut escaped, fragment);
        writer.write_all(&escaped)
    }
}

/// Bytes that may need an escape.
const NEEDS_A_LOOK: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[b'<' as usize] = true;
    table[b'>' as usize] = true;
    table[b'&' as usize] = true;
    table[0xe2] = true;
    table
};

/// The character of the escape at the start of `text`, and the length of the escape. The text has passed a JSON parser.
fn escape(text: &str) -> (char, usize) {
    let bytes = text.as_bytes();
    let letter = match bytes.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(bytes),
        _ => {
            let mut letters = text.chars().skip(1);
            return letters.next().map_or(('\\', 1), |letter| (letter, 1 + letter.len_utf8()));
        }
    };
    (letter, 2)
}

fn unicode_escape(bytes: &[u8]) -> (char, usize) {
    let Some(first) = code_unit(bytes) else {
        return (char::REPLACEMENT_CHARACTER, 2);
    };
    let second = match first {
        0xd800..=0xdbff => bytes.get(6..).and_then(code_unit),
        _ => None,
    };
    match second {
        Some(second @ 0xdc00..=0xdfff) => {
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            (char::from_u32(code).unwrap_or_default(), 12)
        }
        _ => {
            let letter = char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER);
            (letter, 6)
        }
    }
}

/// The code unit of `\uXXXX` at the start.
fn code_unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.get(..6)?.strip_prefix(br"\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The members of an object in a map or a list.
struct Members<C>(C);

impl<'de, C> Deserialize<'de> for Members<C>
where
    C: Default + Extend<(Cow<'de, str>, &'de str)>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<C>(PhantomData<C>);

impl<'de, C> Visitor<'de> for MembersVisitor<C>
where
    C: Default + Extend<(Cow<'de, str>, &'de str)>,
{
    type Value = Members<C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = C::default();
        // Names are read raw, too: a strict parser refuses lone surrogates in them.
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            let value = map.next_value::<&'de RawValue>()?;
            members.extend([(text_of(name.get()).unwrap_or_default(), value.get())]);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_go_does() {
        let check = |text: &[u8], expected: &str| {
            let mut out = Vec::new();
            push_text(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(b"", r#""""#);
        check(b"a<b>&c", r#""a\u003cb\u003e\u0026c""#);
        check(b"\"\\/'\x7f", "\"\\\"\\\\/'\x7f\"");
        check(b"\n\r\t\x08\x0c\x00\x1f", r#""\n\r\t\b\f\u0000\u001f""#);
        check("å\u{2028}\u{2029}€😀".as_bytes(), "\"å\\u2028\\u2029€😀\"");
        check(b"a\xfe\xff\x00b", r#""a\ufffd\ufffd\u0000b""#);
        check(b"\xe2\x80", r#""\ufffd\ufffd""#);
        check(b"\xe2\x82(", r#""\ufffd\ufffd(""#);
    }

    #[test]
    fn values_are_written_with_the_same_escapes() {
        let value = ["a<b>\u{2028}&\n\u{1}\"", "å"];
        assert_eq!(String::from_utf8(to_vec(&value)).unwrap(), r#"["a\u003cb\u003e\u2028\u0026\n\u0001\"","å"]"#);
    }

    #[test]
    fn one_value_is_taken_as_it_is_without_blanks_around() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(one_value(text), expected, "{text:?}");
        };
        for same in [
            r#"{"b":1 , "a":[ 1 ],"b":2}"#,
            "1e400",
            "-0.0",
            "12345678901234567890.10",
            r#""\ud800""#,
            r#"{"\udc00":1}"#,
            "null",
            "\"<&\u{2028}\"",
        ] {
            check(same, Some(same));
        }
        check(" \r\n\t{ \"a\" : 1 }\n\n", Some("{ \"a\" : 1 }"));
        for none in [
            "",
            "  ",
            "{bad",
            "{\"a\":1",
            "nope",
            "{'a':1}",
            "{\"a\":1} x",
            "1 2",
            "\u{feff}{}",
            "\u{ff}",
            "01",
            "\"a\nb\"",
        ] {
            check(none, None);
        }
    }

    #[test]
    fn nesting_does_not_overflow() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        assert!(one_value(&deep).is_some());
        let object = format!("{{\"a\":{deep}}}");
        assert_eq!(members(&object).unwrap()["a"], deep);
    }

    #[test]
    fn members_are_sorted_and_the_last_of_equal_ones_wins() {
        let all = members(r#" {"b":{"x":[1, 2]},"a":1.0,"a":2.50,"\u0063\ud800":null} "#).unwrap();
        let all: Vec<_> = all.iter().map(|(name, value)| (&**name, *value)).collect();
        assert_eq!(all, [("a", "2.50"), ("b", r#"{"x":[1, 2]}"#), ("c\u{fffd}", "null")]);
        for none in ["[1]", "null", "1", "", "{", "{} x", "{1:2}"] {
            assert!(members(none).is_err(), "{none}");
        }
    }

    #[test]
    fn fields_keep_their_order_and_items_their_text() {
        let fields = fields(r#"{"b":1,"a":[2, 3],"B":"x","b":null}"#).unwrap();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, *value)).collect();
        assert_eq!(fields, [("b", "1"), ("a", "[2, 3]"), ("B", "\"x\""), ("b", "null")]);
        assert_eq!(items(" [1.0, \"\\ud800\" ,[ 2 ]] ").unwrap(), ["1.0", "\"\\ud800\"", "[ 2 ]"]);
        for none in ["{}", "", "[1", "[1] 2"] {
            assert!(items(none).is_err(), "{none}");
        }
    }

    #[test]
    fn the_first_value_counts_whatever_follows() {
        for (text, expected) in [
            (" {\"a\" : 1} x", Some("{\"a\" : 1}")),
            ("[1][2", Some("[1]")),
            ("1e999 ", Some("1e999")),
            (" \n", None),
            ("", None),
        ] {
            assert_eq!(first_value(text).unwrap(), expected, "{text}");
        }
        for broken in ["{", "nope", "\u{feff}{}", "01"] {
            assert!(first_value(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn strings_are_decoded() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(text_of(value).as_deref(), expected, "{value}");
        };
        check(r#""plain å""#, Some("plain å"));
        check(r#""\"\\\/\b\f\n\r\t\u00e5\ud83d\ude00!""#, Some("\"\\/\u{8}\u{c}\n\r\tå😀!"));
        check(r#""\ud800x\udc00""#, Some("\u{fffd}x\u{fffd}"));
        check(r#""\ud800\ud83d\ude00""#, Some("\u{fffd}😀"));
        // Not JSON, and no panic.
        check("\"\\\u{fffd}å\\\"", Some("\u{fffd}å\\"));
        check("1", None);
        check("null", None);
    }

    #[test]
    fn lone_surrogates_are_mended_and_nothing_else() {
        let check = |json: &str, expected: &str| assert_eq!(without_lone_surrogates(json), expected);
        check(r#"{"a":"\ud83d\ude00\\ud800\n"}"#, r#"{"a":"\ud83d\ude00\\ud800\n"}"#);
        check(r#"["\ud800","\udc00b"]"#, "[\"\u{fffd}\",\"\u{fffd}b\"]");
    }
}
